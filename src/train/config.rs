//! The settings of a training run, each default with its reason.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, ensure};
use crate::model::Precision;
use crate::train::adamw::AdamWConfig;
use crate::train::schedule::Schedule;

/// Everything that decides how a run trains; kept in `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// B: parallel streams of text.
    pub batch: usize,
    /// T: characters in one truncated-BPTT window.
    pub seq_len: usize,
    /// Where the run ends; whichever of the three comes first.
    pub steps: Option<u64>,
    pub epochs: Option<u64>,
    pub time_limit: Option<Duration>,
    /// The peak of the learning rate.
    pub lr: f64,
    pub weight_decay: f64,
    /// Largest global norm of the gradient; 0 switches clipping off.
    pub clip: f64,
    /// Steps over which the learning rate rises; see [`TrainConfig::warmup_steps`] if not given.
    pub warmup: Option<u64>,
    pub schedule: Schedule,
    /// Steps between two evaluations; an epoch if not given.
    pub eval_every: Option<u64>,
    /// Stop after this many evaluations without a better validation loss.
    pub patience: Option<u64>,
    /// Steps between two samples shown while training.
    pub sample_every: Option<u64>,
    pub seed: u64,
    /// Of the matrix products.
    pub precision: Precision,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            // Enough rows to keep the matrix products of two cores busy.
            batch: 32,
            // Two to three lines of verse: what the state has to learn to carry.
            seq_len: 128,
            steps: None,
            epochs: None,
            time_limit: None,
            lr: AdamWConfig::default().lr,
            weight_decay: AdamWConfig::default().weight_decay,
            // Recurrent gradients explode now and then (Pascanu et al. 2013).
            clip: 1.0,
            warmup: None,
            schedule: Schedule::default(),
            eval_every: None,
            patience: None,
            sample_every: None,
            seed: 1,
            precision: Precision::default(),
        }
    }
}

impl TrainConfig {
    /// Where a run ends that names no end: after 15 readings of a book, but a page needs more to learn
    /// anything, and a library would take days.
    fn usual_steps(steps_per_epoch: u64) -> u64 {
        (15 * steps_per_epoch).clamp(1_000, 10_000)
    }

    /// # Errors
    /// A setting outside its range, each with the range.
    pub fn validate(&self) -> Result<()> {
        ensure!(
            (1..=65536).contains(&self.batch),
            Error::out_of_range("batch", self.batch, "give a number from 1 to 65536")
        );
        ensure!(
            (1..=1 << 20).contains(&self.seq_len),
            Error::out_of_range("seq_len", self.seq_len, "give a number from 1 to 1048576")
        );
        for (name, value) in [
            ("steps", self.steps),
            ("epochs", self.epochs),
            ("eval_every", self.eval_every),
            ("patience", self.patience),
            ("sample_every", self.sample_every),
        ] {
            ensure!(value != Some(0), Error::out_of_range(name, 0, "give a number from 1"));
        }
        ensure!(
            self.time_limit != Some(Duration::ZERO),
            Error::out_of_range("time_limit", 0, "give a time such as 10m")
        );
        ensure!(
            self.lr.is_finite() && self.lr > 0.0 && self.lr <= 10.0,
            Error::out_of_range(
                "lr",
                self.lr,
                "give a number above 0 and at most 10 (0.006 is usual)"
            )
        );
        ensure!(
            self.weight_decay.is_finite() && (0.0..=10.0).contains(&self.weight_decay),
            Error::out_of_range("weight_decay", self.weight_decay, "give a number from 0 to 10")
        );
        ensure!(
            self.clip.is_finite() && self.clip >= 0.0,
            Error::out_of_range("clip", self.clip, "give a number above 0, or 0 for no clipping")
        );
        Ok(())
    }

    /// The last step of the run, where one is known before it starts.
    pub fn total_steps(&self, steps_per_epoch: u64) -> Option<u64> {
        let by_epochs = match (self.epochs, self.steps, self.time_limit) {
            (Some(epochs), _, _) => Some(epochs.saturating_mul(steps_per_epoch)),
            (None, None, None) => Some(Self::usual_steps(steps_per_epoch)),
            _ => None,
        };
        match (self.steps, by_epochs) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Steps over which the learning rate rises: as asked, else as long as Adam's second moment
    /// needs to settle, but no more than a tenth of a short run.
    pub fn warmup_steps(&self, steps_per_epoch: u64) -> u64 {
        const USUAL: u64 = 100;
        let total = self.total_steps(steps_per_epoch).unwrap_or(u64::MAX);
        self.warmup.unwrap_or(USUAL.min(total / 10))
    }

    /// Steps from one evaluation to the next: as asked, else whole epochs, but on a small text so many
    /// that training is not outweighed by evaluating and saving, and on a large one no more than
    /// a few minutes' work.
    pub fn evaluation_interval(&self, steps_per_epoch: u64) -> u64 {
        const AT_LEAST: u64 = 25;
        const AT_MOST: u64 = 1_000;
        let epoch = steps_per_epoch.max(1);
        self.eval_every.unwrap_or_else(|| (epoch * AT_LEAST.div_ceil(epoch)).min(AT_MOST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_end_counts() {
        let with = |steps, epochs, time_limit| TrainConfig {
            steps,
            epochs,
            time_limit,
            ..TrainConfig::default()
        };
        let hour = Some(Duration::from_secs(3600));
        assert_eq!(with(None, None, None).total_steps(60), Some(1_000));
        assert_eq!(with(None, None, None).total_steps(100), Some(1_500));
        assert_eq!(with(None, None, None).total_steps(1_000_000), Some(10_000));
        assert_eq!(with(Some(70), Some(2), None).total_steps(60), Some(70));
        assert_eq!(with(Some(700), Some(2), hour).total_steps(60), Some(120));
        assert_eq!(with(None, None, hour).total_steps(60), None);
    }

    #[test]
    fn evaluations_are_whole_epochs_within_reason() {
        let config = TrainConfig::default();
        assert_eq!(config.evaluation_interval(60), 60);
        assert_eq!(config.evaluation_interval(9), 27);
        assert_eq!(config.evaluation_interval(1), 25);
        assert_eq!(config.evaluation_interval(30_000), 1_000);
    }
}
