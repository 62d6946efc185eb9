//! How many characters a unit keeps what it holds: the update gate as a memory.
//!
//! With a gate that keeps the share k of the state in each step, exp(-1) of it is left after -1 / ln(k)
//! steps. k is 1 - z in `gru` and `mingru`, z in `gru-reset-after`, and f in an `lstm`. A plain `rnn` has
//! no such gate.

use crate::model::{Cell, Gate};

/// Longer than this, in characters, is not told apart: there float32 has no digits for it.
const LONGEST: f32 = 1e6;

/// The gate that says how much of the state is kept, and whether it says how much is *not* kept.
pub const fn keeping_gate(cell: Cell) -> Option<(Gate, bool)> {
    match cell {
        Cell::Gru | Cell::MinGru => Some((Gate::Z, true)),
        Cell::GruResetAfter => Some((Gate::Z, false)),
        Cell::Lstm => Some((Gate::F, false)),
        Cell::Rnn => None,
    }
}

/// For each of H units the median over the text of how many characters it keeps what it holds, from 0 to
/// a million: `[H]`, of the values `[T, H]` of [`keeping_gate`], which is inverted if it says what is not kept.
pub(super) fn characters_kept(values: &[f32], units: usize, inverted: bool) -> Vec<f32> {
    let mut column = vec![0.0; values.len() / units.max(1)];
    (0..units)
        .map(|unit| {
            for (value, row) in column.iter_mut().zip(values.chunks_exact(units)) {
                *value = row[unit];
            }
            // What is kept rises or falls with the gate, so the median of one gives that of the other.
            let gate = median(&mut column);
            let log_kept = if inverted { (-gate).ln_1p() } else { gate.ln() };
            // What keeps all has a logarithm of 0.
            (1.0 / log_kept.abs()).min(LONGEST)
        })
        .collect()
}

/// The middle value; of an even number, the mean of the two in the middle.
fn median(values: &mut [f32]) -> f32 {
    let middle = values.len() / 2;
    if values.is_empty() {
        return 0.0;
    }
    let even = values.len().is_multiple_of(2);
    let (below, &mut upper, _) = values.select_nth_unstable_by(middle, f32::total_cmp);
    match below.iter().copied().max_by(f32::total_cmp) {
        Some(lower) if even => f32::midpoint(lower, upper),
        _ => upper,
    }
}

/// Units that keep from `from` up to, but not including, `to` characters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bin {
    /// Characters.
    pub from: f64,
    /// Characters.
    pub to: f64,
    /// How many units.
    pub units: usize,
}

/// Edges a factor of ten, from 0.1 to 100,000 characters.
const PER_DECADE: i32 = 4;
const DECADES: i32 = 6;

/// How many units keep how many characters: four bins a factor of ten, from 0.1 to 100,000 characters; what
/// is outside counts to the first or the last.
pub fn histogram(kept: &[f32]) -> Vec<Bin> {
    let edge = |index: i32| 10f64.powf(f64::from(index) / f64::from(PER_DECADE) - 1.0);
    let count = DECADES * PER_DECADE;
    let mut bins: Vec<Bin> =
        (0..count).map(|index| Bin { from: edge(index), to: edge(index + 1), units: 0 }).collect();
    let last = bins.len() - 1;
    for &value in kept {
        let bin = bins.iter().position(|bin| f64::from(value) < bin.to).unwrap_or(last);
        bins[bin].units += 1;
    }
    bins
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_gate_gives_the_characters() {
        // Unit 0 keeps half in each step, unit 1 all, unit 2 nothing; T = 3.
        let gate = [0.5, 0.0, 1.0, 0.9, 0.0, 1.0, 0.1, 0.0, 1.0];
        let half = std::f32::consts::LOG2_E;
        let kept = characters_kept(&gate, 3, true);
        assert!((kept[0] - half).abs() < 1e-5, "{kept:?}");
        assert_eq!(kept[1..], [LONGEST, 0.0]);
        let kept = characters_kept(&gate, 3, false);
        assert!((kept[0] - half).abs() < 1e-5, "{kept:?}");
        assert_eq!(kept[1..], [0.0, LONGEST]);
        // An even number of steps.
        let kept = characters_kept(&[0.2, 0.4], 1, true);
        assert!((kept[0] - -1.0 / 0.7f32.ln()).abs() < 1e-5, "{kept:?}");
    }

    #[test]
    fn every_unit_is_in_one_bin() {
        let bins = histogram(&[0.0, 0.05, 1.0, 1.7, 1.8, 20.0, 1e6]);
        assert_eq!(bins.len(), 24);
        assert_eq!(bins.iter().map(|bin| bin.units).sum::<usize>(), 7);
        assert_eq!((bins[0].units, bins[23].units), (2, 1));
        let one = bins.iter().find(|bin| bin.from <= 1.0 && bin.to > 1.0).unwrap();
        assert_eq!(one.units, 2, "1.0 and 1.7, below 1.78");
        for pair in bins.windows(2) {
            assert!((pair[0].to - pair[1].from).abs() < 1e-9);
        }
        assert!((bins[23].to - 1e5).abs() < 1e-6);
    }
}
