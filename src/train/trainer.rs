//! The training loop. Knows when to step, to evaluate, to save and to stop; how is in `step`, `validate` and
//! `saving`.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use candle_core::{Device, Tensor, Var};
use candle_nn::{Optimizer, VarBuilder, VarMap};

use crate::checkpoint::{GradientNorms, Progress, RunFolder, TrainingState};
use crate::data::ensure_countable;
use crate::error::{Error, Result, ensure};
use crate::model::{AnyNetwork, BidirectionalNetwork, ModelConfig, Network, State, named_vars};
use crate::runtime::Rounds;
use crate::train::adamw::{AdamW, AdamWConfig};
use crate::train::config::TrainConfig;
use crate::train::events::{Event, StopReason, Summary};
use crate::train::prepare::TrainingData;
use crate::train::requirements::Requirements;
use crate::train::spikes;

/// `last` is saved after an evaluation, but not within this time of the save before, where a small text
/// is evaluated every second.
const AFTER_EVALUATION: Duration = Duration::from_secs(10);
/// Between evaluations `last` is saved when this time has passed since the save before.
const BETWEEN_EVALUATIONS: Duration = Duration::from_secs(300);

/// The losses of one evaluation, nats per id.
#[derive(Clone, Copy, Default)]
pub(super) struct Losses {
    /// Over the steps before it.
    pub(super) train: Option<f64>,
    /// Over the validation text.
    pub(super) val: Option<f64>,
}

/// A training run.
pub struct Trainer {
    pub(super) network: AnyNetwork,
    pub(super) vars: Vec<(String, Var)>,
    pub(super) optimizer: AdamW,
    pub(super) data: TrainingData,
    pub(super) model: ModelConfig,
    pub(super) config: TrainConfig,
    pub(super) folder: Option<RunFolder>,
    /// The state after the last window.
    pub(super) state: State,
    pub(super) step: u64,
    pub(super) best_val_loss: Option<f64>,
    pub(super) evaluations_since_best: u64,
    /// The losses of the last evaluation, of this process or of one before it.
    pub(super) losses: Losses,
    /// The step of the last evaluation of this process.
    pub(super) evaluated_at: Option<u64>,
    pub(super) loss_sum: f64,
    pub(super) loss_count: u64,
    pub(super) norms: GradientNorms,
    /// Time that the run had taken before this process.
    elapsed_before: Duration,
    started: Instant,
    pub(super) saved_last: Instant,
    /// Least time from one save of `last` to the next: after an evaluation, and elsewhere.
    save_intervals: (Duration, Duration),
    /// Step and validation loss of a `best` that is newer than the state that was restored.
    pub(super) newer_best: Option<(u64, f64)>,
    /// Characters trained on by this process, and the time that took.
    pub(super) trained: (u64, Duration),
    /// The steps, on as many threads as pays.
    pub(super) rounds: Rounds,
}

impl Trainer {
    /// A run of `weights` on `data`, at its first step. It is not saved: see [`Trainer::save_in`].
    ///
    /// # Errors
    /// [`Error::Setting`] for settings outside their range; [`Error::Vocabulary`] and [`Error::Tensor`]
    /// if `model`, `weights` and `data` do not fit each other.
    pub fn new(
        model: &ModelConfig,
        weights: &VarMap,
        data: TrainingData,
        config: TrainConfig,
        device: &Device,
    ) -> Result<Self> {
        model.validate()?;
        config.validate()?;
        ensure!(
            model.vocab == data.tokenizer.vocab_size(),
            Error::vocabulary(format!(
                "the model has {} ids but the tokenizer {}",
                model.vocab,
                data.tokenizer.vocab_size()
            ))
        );
        let vb = VarBuilder::from_varmap(weights, candle_core::DType::F32, device);
        let network = AnyNetwork::new(model, vb)?.with_precision(config.precision)?;
        let vars = named_vars(weights)?;
        let optimizer = AdamW::named(
            vars.clone(),
            AdamWConfig {
                lr: config.lr,
                weight_decay: config.weight_decay,
                ..AdamWConfig::default()
            },
        )?;
        Ok(Self {
            state: State::zeros(model, data.batches.batch(), device)?,
            network,
            vars,
            optimizer,
            data,
            model: model.clone(),
            config,
            folder: None,
            step: 0,
            best_val_loss: None,
            evaluations_since_best: 0,
            losses: Losses::default(),
            evaluated_at: None,
            loss_sum: 0.0,
            loss_count: 0,
            norms: GradientNorms::default(),
            elapsed_before: Duration::ZERO,
            started: Instant::now(),
            saved_last: Instant::now(),
            save_intervals: (AFTER_EVALUATION, BETWEEN_EVALUATIONS),
            newer_best: None,
            trained: (0, Duration::ZERO),
            rounds: Rounds::default(),
        })
    }

    /// Saves the run in `folder`: `last` now and then and at the end, `best` at every evaluation that
    /// improves on the ones before, a line of metrics at every evaluation.
    #[must_use]
    pub fn save_in(self, folder: RunFolder) -> Self {
        Self { folder: Some(folder), ..self }
    }

    /// Saves `last` after the first step that ends so long after the save before: after every step where
    /// `interval` is zero. Without this, that is ten seconds after an evaluation and five minutes
    /// elsewhere.
    #[must_use]
    pub fn save_every(self, interval: Duration) -> Self {
        Self { save_intervals: (interval, interval), ..self }
    }

    /// The same run by tensor operations in place of the kernels: what runs it on any device but a CPU.
    ///
    /// # Errors
    /// [`Error::Tensor`] for bf16, which only the kernels have.
    pub fn with_reference(mut self) -> Result<Self> {
        self.network = self.network.reference().with_precision(self.config.precision)?;
        self.optimizer = self.optimizer.with_tensor_operations()?;
        Ok(self)
    }

    /// Goes on from where `saved` was written: every bit is then as if the run had not stopped.
    ///
    /// # Errors
    /// [`Error::TrainingState`] if it does not fit the model or the data.
    pub fn restore(&mut self, saved: TrainingState) -> Result<()> {
        let TrainingState { record, tensors } = saved;
        for (name, count) in [
            ("step", record.step),
            ("optimizer_steps", record.optimizer_steps),
            ("evaluations_since_best", record.evaluations_since_best),
            ("loss_count", record.loss_count),
        ] {
            ensure_countable(name, count)?;
        }
        let tensors: HashMap<String, Tensor> = tensors.into_iter().collect();
        self.optimizer.restore(&tensors, record.optimizer_steps)?;
        for (index, layer) in self.state.layers.iter_mut().enumerate() {
            let name = state_name(index);
            let saved = tensors
                .get(&name)
                .ok_or_else(|| Error::TrainingState(format!("the training state lacks {name}")))?;
            ensure!(
                saved.shape() == layer.shape(),
                Error::TrainingState(format!(
                    "the training state's {name} has shape {:?} but this run needs {:?}",
                    saved.shape(),
                    layer.shape()
                ))
            );
            *layer = saved.clone();
        }
        self.data.batches.restore(record.cursor)?;
        self.step = record.step;
        self.best_val_loss = record.best_val_loss;
        self.evaluations_since_best = record.evaluations_since_best;
        self.loss_sum = record.loss_sum;
        self.loss_count = record.loss_count;
        spikes::check(&record.gradient_norms)?;
        self.norms = record.gradient_norms;
        ensure!(
            record.elapsed_seconds >= 0.0 && record.elapsed_seconds < 1e12,
            Error::TrainingState(format!(
                "the training state's elapsed time is {} seconds",
                record.elapsed_seconds
            ))
        );
        self.elapsed_before = Duration::from_secs_f64(record.elapsed_seconds);
        Ok(())
    }

    /// Takes over the losses that the checkpoint has, which the next ones repeat until an evaluation.
    pub(super) fn recall(&mut self, progress: &Progress) {
        self.losses = Losses { train: progress.train_loss, val: progress.val_loss };
    }

    /// The network as it is now; of a bidirectional one the forward half.
    pub fn network(&self) -> &Network {
        self.network.forward_half()
    }

    /// The network as it is now, if it is bidirectional.
    pub fn bidirectional(&self) -> Option<&BidirectionalNetwork> {
        self.network.bidirectional()
    }

    /// The shape of the network.
    pub fn model(&self) -> &ModelConfig {
        &self.model
    }

    /// The text, encoded and split.
    pub fn data(&self) -> &TrainingData {
        &self.data
    }

    /// The settings, with the batch that the text can fill.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// The memory and the disk that the run takes.
    pub fn requirements(&self) -> Requirements {
        Requirements::new(&self.model, &self.config, self.data.sizes())
    }

    /// Where the run is saved.
    pub fn folder(&self) -> Option<&RunFolder> {
        self.folder.as_ref()
    }

    /// Step and validation loss of a `best` in the folder that was saved after the state that this run was
    /// resumed from. It stays until the run does as well.
    pub fn newer_best(&self) -> Option<(u64, f64)> {
        self.newer_best
    }

    /// Steps taken.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Trains to the end of the run, and tells `observe` what happens. A callback that returns
    /// [`ControlFlow::Break`] stops the run: an evaluation that this step has due is still made, so that
    /// a resumed run is the same to the bit, and the last checkpoint is saved.
    ///
    /// # Errors
    /// [`Error::Diverged`] for a loss that is infinite or NaN, or the gradients of many steps in a row (the
    /// checkpoints stay as they were before it), and [`Error::Checkpoint`] for one that cannot be written.
    pub fn run(&mut self, mut observe: impl FnMut(Event) -> ControlFlow<()>) -> Result<Summary> {
        self.started = Instant::now();
        self.begin_folder()?;
        let interval = self.config.evaluation_interval(self.steps_per_epoch());
        let mut stopped = false;
        let reason = loop {
            if let Some(reason) = self.over() {
                break reason;
            }
            if stopped {
                break StopReason::Stopped;
            }
            // Taken out, as the step needs the whole trainer.
            let mut rounds = std::mem::take(&mut self.rounds);
            let report = rounds.run(|| self.train_step());
            self.rounds = rounds;
            let report = report?;
            stopped |= observe(Event::Step(report)).is_break();
            let (after_evaluation, mut save_after) = self.save_intervals;
            if self.step.is_multiple_of(interval) {
                stopped |= self.evaluate(report.lr, &mut observe)?.is_break();
                save_after = after_evaluation;
            }
            if self.saved_last.elapsed() >= save_after {
                self.save_last()?;
            }
            if !stopped
                && self.config.sample_every.is_some_and(|every| self.step.is_multiple_of(every))
            {
                let (network, tokenizer) = (self.network.forward_half(), &self.data.tokenizer);
                stopped |=
                    observe(Event::SampleDue { step: self.step, network, tokenizer }).is_break();
            }
        };
        let already = self.evaluated_at == Some(self.step);
        if reason != StopReason::Stopped && !already && self.loss_count > 0 {
            let lr = self.optimizer.learning_rate();
            // The run is over whatever the callback says now.
            let _ = self.evaluate(lr, &mut observe)?;
        }
        self.save_last()?;
        if reason != StopReason::Stopped {
            self.measure_thresholds()?;
        }
        Ok(Summary {
            reason,
            step: self.step,
            val_loss: self.losses.val,
            best_val_loss: self.newer_best.map(|(_, loss)| loss).or(self.best_val_loss),
            skipped_steps: self.norms.skipped,
            elapsed: self.elapsed(),
        })
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.elapsed_before + self.started.elapsed()
    }

    pub(super) fn steps_per_epoch(&self) -> u64 {
        self.data.batches.steps_per_epoch() as u64
    }

    /// Why the run is over, if it is: [`Trainer::run`] then takes no further step.
    pub fn over(&self) -> Option<StopReason> {
        let total = self.config.total_steps(self.steps_per_epoch());
        if total.is_some_and(|total| self.step >= total) {
            return Some(StopReason::Finished);
        }
        if self.config.time_limit.is_some_and(|limit| self.elapsed() >= limit) {
            return Some(StopReason::TimeUp);
        }
        self.config
            .patience
            .is_some_and(|patience| self.evaluations_since_best >= patience)
            .then_some(StopReason::Patience)
    }
}

/// Name of a layer's state among the tensors of a checkpoint.
pub(super) fn state_name(layer: usize) -> String {
    format!("state.l{layer}")
}
