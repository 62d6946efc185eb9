//! What a training run tells its owner while it goes on, and how it ended.

use std::time::Duration;

use crate::checkpoint::Metrics;
use crate::model::Network;
use crate::text::Tokenizer;

/// Something that happened in the loop.
pub enum Event<'a> {
    /// A step was taken.
    Step(StepReport),
    /// The whole validation text was read.
    Evaluated {
        metrics: &'a Metrics,
        /// It is the lowest validation loss so far.
        improved: bool,
    },
    /// `sample_every` steps have passed: the network as it is, to write with.
    SampleDue { step: u64, network: &'a Network, tokenizer: &'a Tokenizer },
}

/// One step in figures.
#[derive(Clone, Copy, Debug)]
pub struct StepReport {
    /// Steps taken so far.
    pub step: u64,
    /// The step at which the run ends, where that is known.
    pub total_steps: Option<u64>,
    pub epoch: u64,
    /// Share of the run that is done, in [0, 1].
    pub progress: f64,
    /// Of this step's window, nats per id.
    pub loss: f64,
    pub lr: f64,
    /// Over the steps since the run was started or resumed, evaluation left out.
    pub chars_per_second: f64,
    /// At the pace so far.
    pub remaining: Duration,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// All its steps are done.
    Finished,
    /// The time limit is reached.
    TimeUp,
    /// The validation loss has not fallen for `patience` evaluations.
    Patience,
    /// Its owner asked it to stop.
    Stopped,
}

/// A run that ended.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    pub reason: StopReason,
    pub step: u64,
    pub val_loss: Option<f64>,
    pub best_val_loss: Option<f64>,
    pub elapsed: Duration,
}
