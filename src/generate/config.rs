//! Settings of sampling.

use crate::error::{Error, Result, ensure};

/// How freely to choose. The settings apply in the order in which they stand here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplingConfig {
    /// Divides the logits; 0 takes the likeliest id.
    pub temperature: f32,
    /// Only the k likeliest ids; None for all.
    pub top_k: Option<usize>,
    /// Only the likeliest ids that together reach this probability, in (0, 1]; 1 for all. A share of
    /// what `top_k` leaves.
    pub top_p: f32,
    /// Only ids that are at least this share as likely as the likeliest, in [0, 1]; 0 for all.
    pub min_p: f32,
}

impl Default for SamplingConfig {
    fn default() -> Self {
        Self {
            // A little below 1: a small model's rare characters are mostly its mistakes.
            temperature: 0.8,
            top_k: None,
            top_p: 1.0,
            min_p: 0.0,
        }
    }
}

impl SamplingConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Setting`] for one outside its range.
    pub fn validate(&self) -> Result<()> {
        ensure!(
            self.temperature.is_finite() && (0.0..=100.0).contains(&self.temperature),
            Error::out_of_range(
                "temperature",
                self.temperature,
                "give a number from 0 (always the likeliest) to 100; 0.8 is usual"
            )
        );
        ensure!(
            self.top_k != Some(0),
            Error::out_of_range("top_k", 0, "give a number from 1, or leave it out for no limit")
        );
        ensure!(
            self.top_p > 0.0 && self.top_p <= 1.0,
            Error::out_of_range(
                "top_p",
                self.top_p,
                "give a number above 0 and at most 1 (1 is no limit)"
            )
        );
        ensure!(
            (0.0..=1.0).contains(&self.min_p),
            Error::out_of_range(
                "min_p",
                self.min_p,
                "give a number from 0 (no limit) to 1; 0.05 is usual"
            )
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(temperature: f32, top_k: Option<usize>, top_p: f32) -> SamplingConfig {
        SamplingConfig { temperature, top_k, top_p, min_p: 0.0 }
    }

    #[test]
    fn nonsense_settings_are_refused() {
        for (temperature, top_k, top_p) in [
            (-1.0, None, 1.0),
            (f32::NAN, None, 1.0),
            (1.0, Some(0), 1.0),
            (1.0, None, 0.0),
            (1.0, None, 1.5),
            (1.0, None, f32::NAN),
        ] {
            let config = config(temperature, top_k, top_p);
            assert!(config.validate().is_err(), "{config:?}");
        }
        for min_p in [-0.1, 1.1, f32::NAN] {
            assert!(SamplingConfig { min_p, ..config(1.0, None, 1.0) }.validate().is_err());
        }
    }
}
