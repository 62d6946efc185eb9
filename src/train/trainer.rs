//! The training loop. Knows when to step, to evaluate, to save and to stop; how is in `step`, `validate` and
//! `saving`.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use candle_core::{Device, Var};
use candle_nn::{Optimizer, VarBuilder, VarMap};

use crate::checkpoint::{GradientNorms, RunFolder};
use crate::error::{Error, Result, ensure};
use crate::model::{AnyNetwork, ModelConfig, State, named_vars};
use crate::runtime::Rounds;
use crate::train::adamw::{AdamW, AdamWConfig};
use crate::train::average::Average;
use crate::train::clock::{Clock, Counts};
use crate::train::config::TrainConfig;
use crate::train::events::{Event, StopReason, Summary};
use crate::train::prepare::TrainingData;

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
    /// The network with the average of the weights; the same where nothing is averaged.
    pub(super) averaged: AnyNetwork,
    pub(super) average: Average,
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
    /// What that evaluation took.
    pub(super) evaluated_in: Option<Duration>,
    pub(super) loss_sum: f64,
    pub(super) loss_count: u64,
    pub(super) norms: GradientNorms,
    /// Time that the run has taken.
    pub(super) clock: Clock,
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
        let average = Average::new(&vars, &config)?;
        let averaged = match average.is_on() {
            true => network.with_weights(&average.var_builder(device))?,
            false => network.clone(),
        };
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
            averaged,
            average,
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
            evaluated_in: None,
            loss_sum: 0.0,
            loss_count: 0,
            norms: GradientNorms::default(),
            clock: Clock::default(),
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

    /// The run's time, and with it a time limit and the learning rate that falls by it, is that of its steps
    /// alone, without evaluations, saves and samples.
    #[must_use]
    pub fn count_steps_only(self) -> Self {
        Self { clock: self.clock.counting(Counts::Steps), ..self }
    }

    /// The same run by tensor operations in place of the kernels: what runs it on any device but a CPU.
    ///
    /// # Errors
    /// [`Error::Tensor`] for bf16, which only the kernels have.
    pub fn with_reference(mut self) -> Result<Self> {
        self.network = self.network.reference().with_precision(self.config.precision)?;
        self.averaged = self.averaged.reference();
        self.optimizer = self.optimizer.with_tensor_operations()?;
        Ok(self)
    }

    /// Trains to the end of the run, and tells `observe` what happens. A callback that returns
    /// [`ControlFlow::Break`] stops the run: an evaluation that this step has due is still made, so that
    /// a resumed run is the same to the bit, and the last checkpoint is saved.
    ///
    /// # Errors
    /// [`Error::Diverged`] for a loss that is infinite or NaN, or the gradients of many steps in a row (the
    /// checkpoints stay as they were before it), and [`Error::Checkpoint`] for one that cannot be written.
    pub fn run(&mut self, observe: impl FnMut(Event) -> ControlFlow<()>) -> Result<Summary> {
        match self.advance(observe)? {
            Some(summary) => Ok(summary),
            None => self.stop(),
        }
    }

    /// Trains as [`Trainer::run`] does, but a callback that breaks only pauses the run: nothing is saved
    /// for it, and the next call goes on from there. Between the calls the run's clock stands still.
    /// Returns how the run ended, or None if it was paused.
    ///
    /// # Errors
    /// Those of [`Trainer::run`].
    pub fn advance(
        &mut self,
        observe: impl FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Option<Summary>> {
        self.clock.start(Counts::Everything);
        let outcome = self.train_on(observe);
        self.clock.stop(Counts::Everything);
        outcome
    }

    /// Saves `last` of a run that is paused.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it cannot be written.
    pub fn stop(&mut self) -> Result<Summary> {
        self.save_last()?;
        Ok(self.summary(StopReason::Stopped))
    }

    fn train_on(
        &mut self,
        mut observe: impl FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Option<Summary>> {
        self.begin()?;
        let interval = self.config.evaluation_interval(self.steps_per_epoch());
        let mut paused = false;
        let reason = loop {
            if let Some(reason) = self.over() {
                break reason;
            }
            if paused {
                return Ok(None);
            }
            // Taken out, as the step needs the whole trainer.
            let mut rounds = std::mem::take(&mut self.rounds);
            self.clock.start(Counts::Steps);
            let report = rounds.run(|| self.train_step());
            self.clock.stop(Counts::Steps);
            self.rounds = rounds;
            let report = report?;
            paused |= observe(Event::Step(report)).is_break();
            let (after_evaluation, mut save_after) = self.save_intervals;
            if self.step.is_multiple_of(interval) && self.has_time_to_evaluate() {
                paused |= self.evaluate(report.lr, &mut observe)?.is_break();
                save_after = after_evaluation;
            }
            if self.saved_last.elapsed() >= save_after {
                self.save_last()?;
            }
            if !paused
                && self.config.sample_every.is_some_and(|every| self.step.is_multiple_of(every))
            {
                let (network, tokenizer) = (self.averaged.forward_half(), &self.data.tokenizer);
                paused |=
                    observe(Event::SampleDue { step: self.step, network, tokenizer }).is_break();
            }
        };
        if self.evaluated_at != Some(self.step) && self.loss_count > 0 {
            let lr = self.optimizer.learning_rate();
            // The run is over whatever the callback says now.
            let _ = self.evaluate(lr, &mut observe)?;
        }
        self.save_last()?;
        self.measure_thresholds()?;
        Ok(Some(self.summary(reason)))
    }

    fn summary(&self, reason: StopReason) -> Summary {
        Summary {
            reason,
            step: self.step,
            val_loss: self.losses.val,
            best_val_loss: self.newer_best.map(|(_, loss)| loss).or(self.best_val_loss),
            skipped_steps: self.norms.skipped,
            elapsed: self.elapsed(),
        }
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
