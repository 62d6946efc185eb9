//! The gain above which clean text has few false alarms.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, ensure};

/// Rates of false alarms, per 10,000 characters, that a threshold is kept for.
const RATES: [f64; 7] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];

/// The usual rate of false alarms per 10,000 characters: near the best F1 on texts with errors in one percent
/// of their characters.
pub const FALSE_ALARMS: f64 = 10.0;

/// How large the gain of an edit must be for a stated rate of false alarms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// Characters of clean text that it was measured on.
    pub characters: u64,
    /// (false alarms per 10,000 characters, nats), the rates rising.
    pub nats: Vec<(f64, f64)>,
}

impl Thresholds {
    /// From the gains of all edits that `characters` of clean text were found to be better with.
    pub(super) fn measured(mut gains: Vec<f32>, characters: u64) -> Self {
        gains.sort_by(|a, b| b.total_cmp(a));
        let of_rate = |rate: f64| {
            let allowed = (rate * characters as f64 / 1e4) as usize;
            // One more than is allowed is at the threshold, and not above it. In hundredths, rounded up.
            let nats = f64::from(gains.get(allowed).copied().unwrap_or_default());
            (rate, (nats * 100.0).ceil() / 100.0)
        };
        Self { characters, nats: RATES.map(of_rate).to_vec() }
    }

    /// The threshold for `rate` false alarms per 10,000 characters: between two rates that were measured, the
    /// line between their thresholds over the logarithm of the rate.
    ///
    /// # Errors
    /// [`Error::Setting`] for a rate outside those that were measured.
    pub fn threshold(&self, rate: f64) -> Result<f64> {
        let above = self.nats.iter().position(|&(known, _)| known >= rate);
        let below = self.nats.iter().rposition(|&(known, _)| known <= rate);
        let (Some(below), Some(above)) = (below, above) else {
            let ends = self.nats.first().zip(self.nats.last());
            let (least, most) = ends.map_or((0.0, 0.0), |(least, most)| (least.0, most.0));
            return Err(Error::out_of_range(
                "false_alarms",
                rate,
                format!("give a number from {least} to {most}, for each 10,000 characters"),
            ));
        };
        let (from, to) = (self.nats[below], self.nats[above]);
        if from.0 == to.0 {
            return Ok(from.1);
        }
        let share = (rate / from.0).ln() / (to.0 / from.0).ln();
        Ok(from.1 + share * (to.1 - from.1))
    }

    /// # Errors
    /// [`Error::Setting`] for what no measurement gives: rates that do not rise, or numbers that are no
    /// thresholds.
    pub fn validate(&self) -> Result<()> {
        let numbers =
            self.nats.iter().all(|(rate, nats)| *rate > 0.0 && *nats >= 0.0 && *nats < 1e9);
        let rising = self.nats.windows(2).all(|pair| pair[0].0 < pair[1].0);
        ensure!(
            numbers && rising && !self.nats.is_empty(),
            Error::setting("proofread", "`proofread` holds no thresholds: leave it out")
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_stated_false_alarms_are_above_the_threshold() {
        let gains: Vec<f32> = (0..500).map(|n| (n * 7 % 500) as f32 / 30.0).collect();
        let thresholds = Thresholds::measured(gains.clone(), 20_000);
        thresholds.validate().unwrap();
        for (rate, nats) in &thresholds.nats {
            let alarms = gains.iter().filter(|&&gain| f64::from(gain) > *nats).count();
            assert!(alarms as f64 <= rate * 2.0, "{rate}: {alarms}");
            assert!(alarms as f64 > rate * 2.0 - 1.5, "{rate}: {alarms}");
            assert_eq!(thresholds.threshold(*rate).unwrap(), *nats);
        }
        let between = thresholds.threshold(7.0).unwrap();
        assert!(between < thresholds.threshold(5.0).unwrap());
        assert!(between > thresholds.threshold(10.0).unwrap());
        for wrong in [0.0, 0.9, 101.0, f64::NAN, -1.0] {
            let error = thresholds.threshold(wrong).unwrap_err().to_string();
            assert!(error.starts_with("`false_alarms` is ") && error.contains("from 1 to 100"));
        }
    }

    #[test]
    fn thresholds_that_nothing_measures_are_refused() {
        for nats in [vec![], vec![(1.0, f64::NAN)], vec![(2.0, 1.0), (1.0, 1.0)], vec![(0.0, 1.0)]]
        {
            assert!(Thresholds { characters: 1, nats }.validate().is_err());
        }
    }
}
