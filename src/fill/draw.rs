//! Draws different combinations of choices, one choice from each of several lists. Knows nothing of text.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Draws up to `count` different combinations of one entry of each of `lists`, which hold the logarithm of
/// each entry's probability. A combination's probability is the product of its entries', raised to the power
/// 1 / `temperature`; with 0 the likeliest combinations are taken. The likeliest comes first.
///
/// Drawing without replacement is taking the largest of all combinations' logarithms after a Gumbel
/// variable was added to each. They need not be listed: a combination's sum is the largest of those that
/// begin alike, so that the variables can be drawn list by list (stochastic beam search, Kool et al. 2019).
pub(super) fn combinations(
    lists: &[Vec<f64>],
    count: usize,
    temperature: f64,
    rng: &mut ChaCha8Rng,
) -> Vec<Vec<usize>> {
    let mut drawn =
        vec![Partial { before: 0, choice: 0, likely: 0.0, power: 0.0, sum: 0.0, rank: 0 }];
    // Of the partial combinations of each length, where the beginning of each stands among those before, and
    // its last choice: all choices of every candidate would take far more memory and time.
    let mut levels: Vec<Vec<(usize, usize)>> = Vec::with_capacity(lists.len());
    for list in lists {
        let powers = if temperature > 0.0 { log_softmax(list, temperature) } else { list.clone() };
        let mut grown = Vec::new();
        for (before, partial) in drawn.iter().enumerate() {
            let mut sums: Vec<f64> = powers.iter().map(|power| partial.power + power).collect();
            if temperature > 0.0 {
                sums.iter_mut().for_each(|sum| *sum += gumbel(rng));
                let largest = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                sums.iter_mut().for_each(|sum| *sum = with_largest(*sum, largest, partial.sum));
            }
            for (choice, sum) in sums.into_iter().enumerate() {
                let (likely, power) =
                    (partial.likely + list[choice], partial.power + powers[choice]);
                grown.push(Partial { before, choice, likely, power, sum, rank: 0 });
            }
        }
        let by_choices = |one: &Partial| (drawn[one.before].rank, one.choice);
        let by_sum = |a: &Partial, b: &Partial| {
            b.sum.total_cmp(&a.sum).then_with(|| by_choices(a).cmp(&by_choices(b)))
        };
        if grown.len() > count {
            grown.select_nth_unstable_by(count, by_sum);
            grown.truncate(count);
        }
        grown.sort_unstable_by(by_sum);
        let mut order: Vec<usize> = (0..grown.len()).collect();
        order.sort_unstable_by_key(|&index| by_choices(&grown[index]));
        order.into_iter().enumerate().for_each(|(rank, index)| grown[index].rank = rank);
        levels.push(grown.iter().map(|partial| (partial.before, partial.choice)).collect());
        drawn = grown;
    }
    let mut order: Vec<usize> = (0..drawn.len()).collect();
    order.sort_unstable_by(|&a, &b| {
        let (a, b) = (&drawn[a], &drawn[b]);
        b.likely.total_cmp(&a.likely).then(a.rank.cmp(&b.rank))
    });
    let choices = |mut at: usize| {
        let back = levels.iter().rev().map(|level| {
            let (before, choice) = level[at];
            at = before;
            choice
        });
        let mut choices: Vec<usize> = back.collect();
        choices.reverse();
        choices
    };
    order.into_iter().map(choices).collect()
}

/// The first choices of a combination.
struct Partial {
    /// Where all but the last of them stand in the list of the length before.
    before: usize,
    /// The last.
    choice: usize,
    /// Logarithm of their probability.
    likely: f64,
    /// The same at the temperature.
    power: f64,
    /// The largest sum of `power` and a Gumbel variable among the combinations that begin so.
    sum: f64,
    /// Its place among those of its length, in the order of their choices.
    rank: usize,
}

/// `list` divided by `temperature` and normalised.
pub(super) fn log_softmax(list: &[f64], temperature: f64) -> Vec<f64> {
    let largest = list.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let shifted: Vec<f64> = list.iter().map(|value| (value - largest) / temperature).collect();
    let normaliser = shifted.iter().map(|value| value.exp()).sum::<f64>().ln();
    shifted.into_iter().map(|value| value - normaliser).collect()
}

fn gumbel(rng: &mut ChaCha8Rng) -> f64 {
    // In (0, 1), so that both logarithms are finite.
    let uniform = (rng.random::<u32>() as f64 + 0.5) / (f64::from(u32::MAX) + 1.0);
    -(-uniform.ln()).ln()
}

/// A Gumbel variable drawn under the condition that the largest of its list is `bound` instead of
/// `largest`; stable as in appendix B of the paper.
fn with_largest(sum: f64, largest: f64, bound: f64) -> f64 {
    let v = bound - sum + (-(sum - largest).exp()).ln_1p();
    bound - v.max(0.0) - (-v.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    fn logs(shares: &[f64]) -> Vec<f64> {
        shares.iter().map(|share| share.ln()).collect()
    }

    #[test]
    fn at_temperature_zero_the_likeliest_combinations_come_in_their_order() {
        let lists = [logs(&[0.5, 0.3, 0.2]), logs(&[0.9, 0.1])];
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let found = combinations(&lists, 4, 0.0, &mut rng);
        // 0.45, 0.27, 0.18, 0.05.
        assert_eq!(found, [[0, 0], [1, 0], [2, 0], [0, 1]]);
        assert_eq!(combinations(&lists, 99, 0.0, &mut rng).len(), 6);
    }

    /// All combinations of equal probability are ties.
    #[test]
    fn of_equal_combinations_the_ones_of_lower_choices_come_first() {
        let even = logs(&[0.25; 4]);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let found = combinations(&[even.clone(), even.clone(), even], 6, 0.0, &mut rng);
        let expected: [[usize; 3]; 6] =
            [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 0, 3], [0, 1, 0], [0, 1, 1]];
        assert_eq!(found, expected);
    }

    /// One draw of each seed, against the probabilities at temperatures 1 and 1/2.
    #[test]
    fn combinations_are_drawn_by_their_probabilities() {
        let lists = [logs(&[0.6, 0.4]), logs(&[0.7, 0.2, 0.1])];
        for (temperature, power) in [(1.0, 1), (0.5, 2)] {
            let mut counts = [[0.0f64; 3]; 2];
            let draws = 20_000;
            for seed in 0..draws {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                let found = combinations(&lists, 1, temperature, &mut rng);
                counts[found[0][0]][found[0][1]] += 1.0 / draws as f64;
            }
            let weight = |a: usize, b: usize| (lists[0][a] + lists[1][b]).exp().powi(power);
            let total: f64 = (0..6).map(|i| weight(i / 3, i % 3)).sum();
            for (a, row) in counts.iter().enumerate() {
                for (b, count) in row.iter().enumerate() {
                    let share = weight(a, b) / total;
                    assert!(
                        (count - share).abs() < 0.015,
                        "{temperature} {a} {b}: {count} {share}"
                    );
                }
            }
        }
    }

    /// The second of two draws without replacement: Σ p(a) · p(b) / (1 - p(a)).
    #[test]
    fn several_draws_are_without_replacement() {
        let shares = [0.6, 0.3, 0.1];
        let (mut with_last, draws) = (0.0, 20_000);
        for seed in 0..draws {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let found = combinations(&[logs(&shares)], 2, 1.0, &mut rng);
            assert!(found.len() == 2 && found[0] != found[1]);
            with_last += f64::from(u8::from(found.contains(&vec![2]))) / draws as f64;
        }
        let expected = 0.1 + 0.6 * 0.1 / 0.4 + 0.3 * 0.1 / 0.7;
        assert!((with_last - expected).abs() < 0.015, "{with_last} {expected}");
    }
}
