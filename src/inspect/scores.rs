//! How well the values of one unit follow a feature: exact, for one unit at a time.

/// The area under the ROC curve of `values` as a score for `holds`: how likely a value where it holds is
/// above one where it does not, ties counted half. 0.5 where it holds everywhere or nowhere.
pub(super) fn area_under_roc(values: &[f32], holds: &[bool]) -> f64 {
    let ranks = ranks(values);
    let positives = holds.iter().filter(|holds| **holds).count();
    let negatives = values.len() - positives;
    if positives == 0 || negatives == 0 {
        return 0.5;
    }
    let sum: f64 = ranks.iter().zip(holds).filter(|(_, holds)| **holds).map(|(rank, _)| rank).sum();
    let (p, n) = (positives as f64, negatives as f64);
    (sum - p * (p + 1.0) / 2.0) / (p * n)
}

/// Spearman's correlation of ranks: from -1 to 1, 0 where one of both is constant.
pub(super) fn spearman(a: &[f32], b: &[f32]) -> f64 {
    correlation(&ranks(a), &ranks(b))
}

/// Pearson's correlation; 0 where one of both is constant.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let count = a.len().max(1) as f64;
    let mean = |x: &[f64]| x.iter().sum::<f64>() / count;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - mean_a, b - mean_b);
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    if aa <= 0.0 || bb <= 0.0 { 0.0 } else { ab / (aa * bb).sqrt() }
}

/// Ranks from 1, ties sharing their mean.
pub(super) fn ranks(values: &[f32]) -> Vec<f64> {
    let mut order: Vec<u32> = (0..values.len() as u32).collect();
    let value = |at: u32| values[at as usize];
    // 0.0 and -0.0 are the same.
    order.sort_unstable_by(|&a, &b| (value(a) + 0.0).total_cmp(&(value(b) + 0.0)));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for same in order.chunk_by(|&a, &b| value(a) == value(b)) {
        let mean = first as f64 + (same.len() + 1) as f64 / 2.0;
        same.iter().for_each(|&at| ranks[at as usize] = mean);
        first += same.len();
    }
    ranks
}

/// The harmonic mean of precision and recall of "the value is on this side of the threshold".
pub(super) fn f1(values: &[f32], holds: &[bool], threshold: f32, above: bool) -> f64 {
    let (mut hits, mut said, mut there) = (0usize, 0usize, 0usize);
    for (&value, &holds) in values.iter().zip(holds) {
        let says = (value >= threshold) == above;
        hits += usize::from(says && holds);
        said += usize::from(says);
        there += usize::from(holds);
    }
    if said + there == 0 { 0.0 } else { 2.0 * hits as f64 / (said + there) as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{RngCore, SeedableRng};

    /// Every pair of a position where it holds and one where it does not.
    fn by_pairs(values: &[f32], holds: &[bool]) -> f64 {
        let (mut sum, mut pairs) = (0.0, 0.0);
        for (a, _) in values.iter().zip(holds).filter(|(_, holds)| **holds) {
            for (b, _) in values.iter().zip(holds).filter(|(_, holds)| !**holds) {
                sum += if a > b {
                    1.0
                } else if a == b {
                    0.5
                } else {
                    0.0
                };
                pairs += 1.0;
            }
        }
        sum / pairs
    }

    #[test]
    fn the_area_is_that_of_all_pairs() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for kinds in [2, 5, 1000] {
            let values: Vec<f32> =
                (0..200).map(|_| (rng.next_u32() % kinds) as f32 - 3.0).collect();
            let holds: Vec<bool> = (0..200).map(|_| rng.next_u32() % 4 == 0).collect();
            let (fast, slow) = (area_under_roc(&values, &holds), by_pairs(&values, &holds));
            assert!((fast - slow).abs() < 1e-12, "{fast} {slow}");
        }
        assert_eq!(area_under_roc(&[1.0, 2.0, 3.0], &[false, false, true]), 1.0);
        assert_eq!(area_under_roc(&[1.0, 2.0], &[true, true]), 0.5);
        assert_eq!(area_under_roc(&[0.0, -0.0], &[true, false]), 0.5);
        assert_eq!(area_under_roc(&[], &[]), 0.5);
    }

    #[test]
    fn ranks_correlate_whatever_the_scale_is() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
        let a = [0.1, 0.5, 0.2, 0.9];
        assert!((spearman(&a, &a.map(|v: f32| v.exp() * 100.0)) - 1.0).abs() < 1e-12);
        assert!((spearman(&a, &a.map(|v| -v)) + 1.0).abs() < 1e-12);
        assert_eq!(spearman(&a, &[7.0; 4]), 0.0);
        // 1 - 6 Σd² / (n (n² - 1)) with d = 0, 1, 1, 0.
        assert!((spearman(&[1.0, 2.0, 3.0, 4.0], &[1.0, 3.0, 2.0, 4.0]) - 0.8).abs() < 1e-12);
    }

    #[test]
    fn f1_counts_hits_on_one_side_of_the_threshold() {
        let holds = [true, true, false, false];
        assert_eq!(f1(&[0.9, 0.8, 0.1, 0.2], &holds, 0.5, true), 1.0);
        assert_eq!(f1(&[0.9, 0.8, 0.1, 0.2], &holds, 0.5, false), 0.0);
        // Two hits of three said, two there.
        assert_eq!(f1(&[0.9, 0.8, 0.7, 0.2], &holds, 0.5, true), 0.8);
        assert_eq!(f1(&[0.1], &[false], 0.5, true), 0.0);
    }
}
