//! The settings of a training run. Each default has its reason beside it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, ensure};
use crate::model::Precision;
use crate::train::adamw::AdamWConfig;
use crate::train::schedule::Schedule;

/// The settings of a training run, which `config.json` records. The run ends at the first of `steps`,
/// `epochs` and `time_limit`; if none is given, after 15 epochs, but at least 1,000 and at most 10,000 steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// B: streams of text, or rows of documents, that are trained on side by side.
    pub batch: usize,
    /// T: characters in one truncated-BPTT window.
    pub seq_len: usize,
    /// M: characters to the right of a window that a bidirectional network reads first and does not
    /// predict. Other networks have no use for it.
    #[serde(default = "usual_margin", skip_serializing_if = "is_usual_margin")]
    pub margin: usize,
    /// Steps after which the run ends.
    pub steps: Option<u64>,
    /// Epochs after which the run ends.
    pub epochs: Option<u64>,
    /// Time after which the run ends. The learning rate falls so that it reaches its end by then.
    pub time_limit: Option<Duration>,
    /// The peak of the learning rate.
    pub lr: f64,
    /// [`AdamWConfig::weight_decay`].
    pub weight_decay: f64,
    /// Probability of zeroing a recurrent weight for a step ([`Dropout::recurrent`](crate::model::Dropout)).
    #[serde(default)]
    pub weight_drop: f64,
    /// Largest decay of the average of the weights, which is evaluated and saved as `best`; 0: the weights
    /// themselves are. See [`TrainConfig::average_decay`].
    #[serde(default)]
    pub average: f64,
    /// Largest global norm of the gradient; a larger gradient is scaled down to it. 0 for no clipping.
    pub clip: f64,
    /// Steps over which the learning rate rises; see [`TrainConfig::warmup_steps`] if not given.
    pub warmup: Option<u64>,
    /// How the learning rate falls after the warm-up.
    pub schedule: Schedule,
    /// Steps between two evaluations; see [`TrainConfig::evaluation_interval`] if not given.
    pub eval_every: Option<u64>,
    /// Evaluations without a lower validation loss after which the run ends.
    pub patience: Option<u64>,
    /// Steps between two [`Event::SampleDue`](crate::train::Event::SampleDue).
    pub sample_every: Option<u64>,
    /// Decides the initial weights, the order of the text and the dropout.
    pub seed: u64,
    /// Precision of the matrix products.
    pub precision: Precision,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            // Enough rows to keep the matrix products of two cores busy.
            batch: 32,
            // Two to three lines of verse: gradients reach back that far.
            seq_len: 128,
            margin: usual_margin(),
            steps: None,
            epochs: None,
            time_limit: None,
            lr: AdamWConfig::default().lr,
            weight_decay: AdamWConfig::default().weight_decay,
            weight_drop: 0.0,
            average: 0.999,
            // Gradients of recurrent networks explode occasionally (Pascanu et al. 2013).
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

/// A larger one gave no lower loss (benches/README.md), and takes longer.
const fn usual_margin() -> usize {
    8
}

fn is_usual_margin(margin: &usize) -> bool {
    *margin == usual_margin()
}

impl TrainConfig {
    /// The longest usual interval between evaluations.
    pub(super) const LONGEST_INTERVAL: u64 = 1_000;

    /// Steps of a run without an end of its own: 15 epochs, but more for a short text, which would learn
    /// nothing in so few steps, and fewer for a large one, which would take days.
    fn usual_steps(steps_per_epoch: u64) -> u64 {
        (15 * steps_per_epoch).clamp(1_000, 10_000)
    }

    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`Error::Setting`] for the first setting outside its range, and for bf16 on a processor without it.
    pub fn validate(&self) -> Result<()> {
        ensure!(
            (1..=65536).contains(&self.batch),
            Error::out_of_range("batch", self.batch, "give a number from 1 to 65536")
        );
        ensure!(
            (1..=1 << 20).contains(&self.seq_len),
            Error::out_of_range("seq_len", self.seq_len, "give a number from 1 to 1048576")
        );
        ensure!(
            self.margin <= 65536,
            Error::out_of_range("margin", self.margin, "give a number from 0 to 65536")
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
        // The decay of AdamW multiplies the weights by 1 - lr·decay in each step: at 1 it erases what was
        // learnt, above that it flips every sign, and above 2 the weights grow without end. What is left
        // of a step is at most about lr for each weight, whatever the gradient.
        let product = self.lr * self.weight_decay;
        ensure!(
            (0.0..1.0).contains(&product),
            Error::setting(
                "weight_decay",
                format!(
                    "`weight_decay` {} by `lr` {} is {product} but must be below 1, since each step \
                     multiplies the weights by 1 minus that: lower one of them",
                    self.weight_decay, self.lr
                )
            )
        );
        for (name, value) in [("weight_drop", self.weight_drop), ("average", self.average)] {
            ensure!(
                (0.0..1.0).contains(&value),
                Error::out_of_range(
                    name,
                    value,
                    "give a number from 0 up to, but not including, 1"
                )
            );
        }
        ensure!(
            self.clip.is_finite() && self.clip >= 0.0,
            Error::out_of_range("clip", self.clip, "give a number above 0, or 0 for no clipping")
        );
        ensure!(
            self.precision != Precision::Bf16 || Precision::bf16_supported(),
            Error::setting(
                "precision",
                "`precision` bf16 needs a processor with AVX512_BF16, and this one has none: give f32"
            )
        );
        Ok(())
    }

    /// The last step of the run; None if only time limits it.
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

    /// What the average of the weights keeps of itself in `step`, counted from 0: at first little, so that
    /// it is always one over about the last tenth of the steps, and at most [`TrainConfig::average`].
    pub fn average_decay(&self, step: u64) -> f64 {
        self.average.min((step + 1) as f64 / (step + 10) as f64)
    }

    /// Steps over which the learning rate rises: `warmup`, or else 100, in which Adam's second moment
    /// becomes reliable, but at most a tenth of the run.
    pub fn warmup_steps(&self, steps_per_epoch: u64) -> u64 {
        const USUAL: u64 = 100;
        let total = self.total_steps(steps_per_epoch).unwrap_or(u64::MAX);
        self.warmup.unwrap_or(USUAL.min(total / 10))
    }

    /// Steps from one evaluation to the next: `eval_every`, or else an epoch. If an epoch has fewer than 25
    /// steps, as many epochs as reach 25, so that evaluating does not take most of the time; at most
    /// 1,000 steps, which take a few minutes.
    pub fn evaluation_interval(&self, steps_per_epoch: u64) -> u64 {
        const AT_LEAST: u64 = 25;
        let epoch = steps_per_epoch.max(1);
        self.eval_every
            .unwrap_or_else(|| (epoch * AT_LEAST.div_ceil(epoch)).min(Self::LONGEST_INTERVAL))
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
    fn a_decay_that_would_flip_the_weights_is_refused() {
        let product = |lr, weight_decay| TrainConfig { lr, weight_decay, ..TrainConfig::default() };
        for (lr, weight_decay) in [(10.0, 10.0), (0.1, 10.0), (10.0, 0.1), (0.5, 2.0)] {
            let error = product(lr, weight_decay).validate().unwrap_err();
            assert!(matches!(error, Error::Setting { name: "weight_decay", .. }), "{error:?}");
            let says = format!("`weight_decay` {weight_decay} by `lr` {lr} is ");
            assert!(error.to_string().starts_with(&says), "{error}");
        }
        for (lr, weight_decay) in [(10.0, 0.0), (0.09, 10.0), (10.0, 0.09)] {
            product(lr, weight_decay).validate().unwrap();
        }
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
