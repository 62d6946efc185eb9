//! The figures of a comparison: what compare.json holds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::checkpoint::Metrics;
use crate::data::CorpusRecord;
use crate::model::Cell;
use crate::runtime::threads;
use crate::text::Units;
use crate::train::{StopReason, TrainConfig, Trainer};

/// Version of compare.json.
pub(super) const FORMAT: u32 = 1;

/// A comparison. Losses are nats per id; the time of a cell is that of its steps alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// 1: raised when the meaning of a field changes.
    pub format: u32,
    /// Version of the program that wrote it.
    pub chargru: String,
    /// What it was measured on.
    pub machine: Machine,
    /// The text.
    pub corpus: CorpusRecord,
    /// Ids of the part that trains, and of the one that validates.
    pub train_ids: usize,
    /// See `train_ids`.
    pub validation_ids: usize,
    /// Trained numbers that each network was to have; None if the sizes were given.
    pub parameters: Option<u64>,
    /// The settings of every cell's training, the budget among them.
    pub training: TrainConfig,
    /// The losses whose times are told, falling. Chosen by the results if none were given.
    pub losses: Vec<f64>,
    /// Whether they were given.
    pub losses_given: bool,
    /// One a cell, in the order of the plan.
    pub cells: Vec<CellResult>,
    /// What the figures say, in sentences.
    pub conclusion: Vec<String>,
}

/// What a comparison was measured on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Threads that the arithmetic shared.
    pub threads: usize,
    /// Instruction set of the kernels: `avx512`, `avx2`, `neon`, `portable` or `bf16`; None on another device
    /// than a CPU.
    pub instructions: Option<String>,
    /// Operating system and architecture, such as `linux x86_64`.
    pub system: String,
}

/// How far a cell's training has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum State {
    /// Its budget is not spent.
    Unfinished,
    /// Its steps are taken or its time is up.
    Finished,
    /// Its validation loss had not fallen for `patience` evaluations.
    Patience,
    /// A figure became infinite or NaN; what was measured before counts.
    Diverged,
}

/// The figures of one cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellResult {
    /// The cell. Its run is in the folder of this name.
    pub cell: Cell,
    /// H.
    pub hidden: usize,
    /// L.
    pub layers: usize,
    /// E.
    pub embedding: usize,
    /// Trained numbers.
    pub parameters: u64,
    /// How far it has come.
    pub state: State,
    /// What diverged.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
    /// Steps taken.
    pub step: u64,
    /// Characters trained on.
    pub characters: u64,
    /// Time of the steps.
    pub seconds: f64,
    /// The two divided; None before the first step.
    pub chars_per_second: Option<f64>,
    /// The evaluation with the lowest validation loss.
    pub best: Option<Point>,
    /// The times of [`Results::losses`].
    pub reached: Vec<Reached>,
    /// Every evaluation.
    pub curve: Vec<Point>,
}

/// One evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Steps taken.
    pub step: u64,
    /// Characters trained on.
    pub characters: u64,
    /// Time of the steps.
    pub seconds: f64,
    /// Mean over the steps since the evaluation before.
    pub train_loss: f64,
    /// Over the whole validation text.
    pub val_loss: f64,
    /// The learning rate of the last step.
    pub lr: f64,
}

/// When a validation loss was reached.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reached {
    /// The loss.
    pub loss: f64,
    /// After so many seconds of steps; between two evaluations, along the line that joins them. None if it
    /// was not.
    pub seconds: Option<f64>,
}

impl Machine {
    /// What this trainer runs on.
    pub(super) fn of(trainer: &Trainer) -> Self {
        let on_cpu = trainer.network().device().is_cpu();
        let instructions = trainer.config().precision.instructions().filter(|_| on_cpu);
        Self {
            threads: threads(),
            instructions: instructions.map(Into::into),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        }
    }
}

impl Results {
    /// The results of these trainers, as far as they have come; there is at least one.
    pub(super) fn of(
        trainers: &[&Trainer],
        parameters: Option<u64>,
        losses: Vec<f64>,
    ) -> Option<Self> {
        let first = trainers.first()?;
        let data = first.data();
        Some(Self {
            format: FORMAT,
            chargru: env!("CARGO_PKG_VERSION").into(),
            machine: Machine::of(first),
            corpus: data.record.clone(),
            train_ids: data.train_ids,
            validation_ids: data.validation_ids,
            parameters,
            training: first.config().clone(),
            losses_given: !losses.is_empty(),
            losses,
            cells: trainers.iter().map(|trainer| CellResult::of(trainer)).collect(),
            conclusion: Vec::new(),
        })
    }
}

impl Results {
    /// What one id stands for: a character or a byte.
    pub fn unit(&self) -> &'static str {
        match self.corpus.units {
            Units::Chars => "character",
            Units::Bytes => "byte",
        }
    }
}

impl CellResult {
    /// Of a trainer, without its curve.
    pub(super) fn of(trainer: &Trainer) -> Self {
        let model = trainer.model();
        let mut result = Self {
            cell: model.cell,
            hidden: model.hidden,
            layers: model.layers,
            embedding: model.embedding,
            parameters: model.parameter_count() as u64,
            state: State::Unfinished,
            note: None,
            step: 0,
            characters: 0,
            seconds: 0.0,
            chars_per_second: None,
            best: None,
            reached: Vec::new(),
            curve: Vec::new(),
        };
        result.take_over(trainer);
        result
    }

    /// Of a trainer that goes on after these evaluations.
    pub(super) fn after(trainer: &Trainer, evaluations: &[Metrics]) -> Self {
        let mut result = Self::of(trainer);
        evaluations.iter().for_each(|metrics| result.add(metrics, trainer.config()));
        result
    }

    /// Takes over how far the trainer has come.
    pub(super) fn take_over(&mut self, trainer: &Trainer) {
        self.step = trainer.step();
        self.characters = characters(trainer.config(), self.step);
        self.seconds = trainer.elapsed().as_secs_f64();
        self.chars_per_second =
            (self.step > 0).then(|| self.characters as f64 / self.seconds.max(1e-9));
    }

    /// Adds an evaluation.
    pub(super) fn add(&mut self, metrics: &Metrics, config: &TrainConfig) {
        let Some(val_loss) = metrics.val_loss else { return };
        let point = Point {
            step: metrics.step,
            characters: characters(config, metrics.step),
            seconds: metrics.elapsed_seconds,
            train_loss: metrics.train_loss,
            val_loss,
            lr: metrics.lr,
        };
        self.curve.push(point);
        if self.best.is_none_or(|best| val_loss < best.val_loss) {
            self.best = Some(point);
        }
    }

    /// Notes that the training has ended.
    pub(super) fn end(&mut self, reason: StopReason) {
        self.state = match reason {
            StopReason::Patience => State::Patience,
            StopReason::Stopped => State::Unfinished,
            StopReason::Finished | StopReason::TimeUp => State::Finished,
        };
    }

    /// The time of its steps.
    pub fn elapsed(&self) -> Duration {
        Duration::try_from_secs_f64(self.seconds).unwrap_or_default()
    }
}

/// Characters of so many steps: every window is full.
fn characters(config: &TrainConfig, step: u64) -> u64 {
    step.saturating_mul((config.batch * config.seq_len) as u64)
}

#[cfg(test)]
#[path = "results_tests.rs"]
pub(super) mod tests;
