//! Spikes of the gradient's norm. A step whose gradient is far larger than those before it changes no weight:
//! clipped, it would still be a full step in a direction that one odd window gave, and AdamW would remember its
//! square for a thousand steps.
//!
//! A norm is a spike if it is more than [`TIMES`] the running mean of the norms of steps that were taken. The
//! rule waits until the warm-up is over and the mean has [`LEAST_NORMS`] norms: early norms fall quickly. Later
//! ones were at most 3.3 times the mean between two evaluations in short trainings of every cell, with batches
//! down to 1, with learning rates up to 0.1, with and without clipping.
//!
//! A skipped step still counts as a step: its window is over, the schedule goes on, its loss is in the mean. The
//! state that the next window would begin with becomes zero: a state that has grown out of all proportion (the
//! cell of an LSTM has no bound) may be what made the gradient large, and the next one would be as large; the
//! price is the context of one window's first characters.
//!
//! After [`MOST_IN_ROW`] skipped steps in a row the next one is taken, clipped as any, and the mean begins anew
//! with it: the norms have changed for good, and a run does not stand still. A norm that is infinite or NaN,
//! at whatever step, can only be skipped; after as many in a row the training has diverged.

use crate::checkpoint::GradientNorms;
use crate::data::ensure_countable;
use crate::error::{Error, Result, ensure};

/// A norm of so many times the mean is a spike.
const TIMES: f64 = 10.0;
/// What the mean keeps of itself at each step; while it has fewer norms it is the mean of all.
const DECAY: f64 = 0.99;
/// So many norms make a mean.
const LEAST_NORMS: u64 = 100;
/// So many steps may be skipped in a row.
const MOST_IN_ROW: u64 = 10;

/// What becomes of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Take,
    Skip,
    /// The gradient is no number, as it was for many steps.
    Diverged,
}

/// Judges the step whose gradient has this norm, and counts it. `is_warm` tells that the warm-up is over.
pub(super) fn judge(norms: &mut GradientNorms, norm: f64, is_warm: bool) -> Verdict {
    let is_bounded = norms.skipped_in_row < MOST_IN_ROW;
    if norm.is_finite() {
        norms.sum += norm;
        norms.summed += 1;
        norms.largest = norms.largest.max(norm);
    } else if !is_bounded {
        return Verdict::Diverged;
    }
    let is_known = is_warm && norms.count >= LEAST_NORMS;
    let is_spike = !norm.is_finite() || (is_known && norm > TIMES * norms.mean);
    if is_spike && is_bounded {
        norms.skipped += 1;
        norms.skipped_in_row += 1;
        return Verdict::Skip;
    }
    if is_spike {
        norms.count = 0;
    }
    let decay = DECAY.min(norms.count as f64 / (norms.count + 1) as f64);
    norms.mean = decay * norms.mean + (1.0 - decay) * norm;
    norms.count += 1;
    norms.skipped_in_row = 0;
    Verdict::Take
}

/// Mean and largest norm since the last evaluation; then they begin anew.
pub(super) fn since_evaluation(norms: &mut GradientNorms) -> (Option<f64>, Option<f64>) {
    let any = norms.summed > 0;
    let found = (any.then(|| norms.sum / norms.summed as f64), any.then_some(norms.largest));
    (norms.sum, norms.summed, norms.largest) = (0.0, 0, 0.0);
    found
}

/// Refuses norms that no run has kept.
pub(super) fn check(norms: &GradientNorms) -> Result<()> {
    for (name, count) in
        [("count", norms.count), ("summed", norms.summed), ("skipped", norms.skipped)]
    {
        ensure_countable(name, count)?;
    }
    for (name, value) in [("mean", norms.mean), ("sum", norms.sum), ("largest", norms.largest)] {
        ensure!(
            value.is_finite() && value >= 0.0,
            Error::TrainingState(format!("the training state's {name} of the norms is {value}"))
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warm() -> GradientNorms {
        let mut norms = GradientNorms::default();
        for _ in 0..LEAST_NORMS {
            assert_eq!(judge(&mut norms, 2.0, false), Verdict::Take);
        }
        norms
    }

    #[test]
    fn a_norm_of_more_than_ten_times_the_mean_is_skipped_and_the_mean_stays() {
        let mut norms = warm();
        assert!((norms.mean - 2.0).abs() < 1e-12);
        assert_eq!(judge(&mut norms, 19.9, true), Verdict::Take);
        let mean = norms.mean;
        assert_eq!(judge(&mut norms, 10.1 * mean, true), Verdict::Skip);
        assert_eq!((norms.skipped, norms.mean), (1, mean));
        // The metrics show it.
        let (_, largest) = since_evaluation(&mut norms);
        assert_eq!(largest, Some(10.1 * mean));
        assert_eq!(since_evaluation(&mut norms), (None, None));
        assert_eq!(judge(&mut norms, 2.0, true), Verdict::Take);
        assert_eq!((norms.skipped, norms.skipped_in_row), (1, 0));
    }

    #[test]
    fn nothing_is_skipped_before_the_mean_is_one_and_the_warm_up_over() {
        let mut norms = GradientNorms::default();
        for norm in [1.0, 1e9, 1.0, 1e12] {
            assert_eq!(judge(&mut norms, norm, true), Verdict::Take);
        }
        assert_eq!(judge(&mut warm(), 1e9, false), Verdict::Take);
    }

    #[test]
    fn a_run_whose_norms_have_grown_for_good_goes_on() {
        let mut norms = warm();
        let verdicts: Vec<_> = (0..300).map(|_| judge(&mut norms, 50.0, true)).collect();
        assert!(verdicts[..10].iter().all(|&verdict| verdict == Verdict::Skip));
        assert!(verdicts[10..].iter().all(|&verdict| verdict == Verdict::Take), "{verdicts:?}");
        assert_eq!(norms.skipped, 10);
    }

    #[test]
    fn a_gradient_that_is_no_number_is_skipped_ten_times_then_the_training_has_diverged() {
        for nan in [f64::NAN, f64::INFINITY] {
            // From the first step on.
            let mut norms = GradientNorms::default();
            for _ in 0..10 {
                assert_eq!(judge(&mut norms, nan, false), Verdict::Skip);
            }
            assert_eq!(since_evaluation(&mut norms), (None, None));
            assert_eq!(judge(&mut norms, nan, false), Verdict::Diverged);
            // One that is a number ends the row.
            assert_eq!(judge(&mut norms, 1.0, false), Verdict::Take);
            assert_eq!(judge(&mut norms, nan, false), Verdict::Skip);
            check(&norms).unwrap();
        }
    }
}
