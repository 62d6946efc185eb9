//! What a training run reports while it trains, and how it ended.

use std::time::Duration;

use crate::checkpoint::{Metrics, RunFolder};
use crate::model::Network;
use crate::text::Tokenizer;

/// Something that happened in a training run.
#[non_exhaustive]
pub enum Event<'a> {
    /// A step was taken.
    Step(StepReport),
    /// The network was evaluated on the whole validation text.
    Evaluated {
        /// The losses.
        metrics: &'a Metrics,
        /// The validation loss is the lowest so far.
        improved: bool,
        /// Share of the run that is done, in [0, 1].
        progress: f64,
        /// The network that was evaluated; of a bidirectional one the forward half.
        network: &'a Network,
        /// Its tokenizer.
        tokenizer: &'a Tokenizer,
        /// Where the run is saved.
        folder: Option<&'a RunFolder>,
    },
    /// `sample_every` steps have passed: a time to show what the network writes.
    SampleDue {
        /// Steps taken.
        step: u64,
        /// The network as it is now.
        network: &'a Network,
        /// Its tokenizer.
        tokenizer: &'a Tokenizer,
    },
}

/// The figures of one step.
#[derive(Clone, Copy, Debug)]
pub struct StepReport {
    /// Steps taken so far.
    pub step: u64,
    /// The last step of the run; None if only time limits it.
    pub total_steps: Option<u64>,
    /// Epochs completed.
    pub epoch: u64,
    /// Share of the run that is done, in [0, 1].
    pub progress: f64,
    /// Loss of this step's window, nats per id.
    pub loss: f64,
    /// Learning rate of this step.
    pub lr: f64,
    /// Norm of the gradient before it is clipped.
    pub gradient_norm: f64,
    /// The norm was far above those of the steps before: the step changed no weight.
    pub is_skipped: bool,
    /// Speed of the steps since the run was started or resumed, without evaluations.
    pub chars_per_second: f64,
    /// Time to the end of the run, at the speed so far.
    pub remaining: Duration,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// All its steps are taken.
    Finished,
    /// The time limit is reached.
    TimeUp,
    /// The validation loss has not fallen for `patience` evaluations.
    Patience,
    /// The callback of [`Trainer::run`](crate::train::Trainer::run) stopped it.
    Stopped,
}

/// How a run ended.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// Why it ended.
    pub reason: StopReason,
    /// Steps taken.
    pub step: u64,
    /// Validation loss of the last evaluation, nats per id.
    pub val_loss: Option<f64>,
    /// The lowest validation loss, nats per id.
    pub best_val_loss: Option<f64>,
    /// Steps of the run that changed no weight, because the gradient was far larger than usual.
    pub skipped_steps: u64,
    /// Time that the run has taken, without interruptions.
    pub elapsed: Duration,
}
