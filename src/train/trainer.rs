//! The loop: windows in, steps taken, checkpoints out. Emits events and never prints.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use candle_core::{Device, Tensor, Var};
use candle_nn::{Optimizer, VarBuilder, VarMap};

use crate::checkpoint::{Metrics, RunFolder, TrainingState};
use crate::evaluate::evaluate;
use crate::model::{Dropout, Gradients, ModelConfig, Network, Precision, State, named_vars};
use crate::runtime::on_pool;
use crate::train::adamw::{AdamW, AdamWConfig};
use crate::train::config::TrainConfig;
use crate::train::events::{Event, StepReport, StopReason, Summary};
use crate::train::prepare::TrainingData;

/// `last` is written at evaluations, but no oftener than this where they come thick and fast,
/// and between them when this many seconds have passed.
const SAVE_LAST_AT_MOST_EVERY: Duration = Duration::from_secs(10);
const SAVE_LAST_AT_LEAST_EVERY: Duration = Duration::from_secs(300);

/// A training run in progress.
pub struct Trainer {
    pub(super) network: Network,
    pub(super) vars: Vec<(String, Var)>,
    pub(super) optimizer: AdamW,
    pub(super) data: TrainingData,
    pub(super) model: ModelConfig,
    pub(super) config: TrainConfig,
    pub(super) folder: Option<RunFolder>,
    /// The carried state, detached.
    pub(super) state: State,
    pub(super) step: u64,
    pub(super) best_val_loss: Option<f64>,
    pub(super) evaluations_since_best: u64,
    /// The last evaluation of this process.
    pub(super) metrics: Option<Metrics>,
    pub(super) loss_sum: f64,
    pub(super) loss_count: u64,
    /// Time that the run had taken before this process.
    elapsed_before: Duration,
    started: Instant,
    pub(super) saved_last: Instant,
    /// Characters trained on by this process, and the time that took.
    trained: (u64, Duration),
}

impl Trainer {
    /// A run of `weights` on `data`, at its first step. Without a folder nothing is saved.
    ///
    /// # Errors
    /// Settings outside their range, or weights of another shape than `model` says.
    pub fn new(
        model: &ModelConfig,
        weights: &VarMap,
        data: TrainingData,
        config: TrainConfig,
        device: &Device,
        folder: Option<RunFolder>,
    ) -> Result<Self> {
        model.validate()?;
        config.validate()?;
        ensure!(
            model.vocab == data.tokenizer.vocab_size(),
            "the model has {} ids but the tokenizer {}",
            model.vocab,
            data.tokenizer.vocab_size()
        );
        let vb = VarBuilder::from_varmap(weights, candle_core::DType::F32, device);
        let network = Network::new(model, vb)?.with_precision(config.precision)?;
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
            folder,
            step: 0,
            best_val_loss: None,
            evaluations_since_best: 0,
            metrics: None,
            loss_sum: 0.0,
            loss_count: 0,
            elapsed_before: Duration::ZERO,
            started: Instant::now(),
            saved_last: Instant::now(),
            trained: (0, Duration::ZERO),
        })
    }

    /// Goes on from where `saved` was written: from here every bit is as if the run had not stopped.
    ///
    /// # Errors
    /// A training state that does not fit the model or the data.
    pub fn restore(&mut self, saved: TrainingState) -> Result<()> {
        let TrainingState { record, tensors } = saved;
        let tensors: HashMap<String, Tensor> = tensors.into_iter().collect();
        self.optimizer.restore(&tensors, record.optimizer_steps)?;
        for (index, layer) in self.state.layers.iter_mut().enumerate() {
            let name = state_name(index);
            let saved =
                tensors.get(&name).with_context(|| format!("the training state lacks {name}"))?;
            ensure!(
                saved.shape() == layer.shape(),
                "the training state's {name} has shape {:?} but this run needs {:?}",
                saved.shape(),
                layer.shape()
            );
            *layer = saved.clone();
        }
        self.data.batches.restore(record.cursor)?;
        self.step = record.step;
        self.best_val_loss = record.best_val_loss;
        self.evaluations_since_best = record.evaluations_since_best;
        self.loss_sum = record.loss_sum;
        self.loss_count = record.loss_count;
        ensure!(
            record.elapsed_seconds >= 0.0 && record.elapsed_seconds < 1e12,
            "the training state's elapsed time is {} seconds",
            record.elapsed_seconds
        );
        self.elapsed_before = Duration::from_secs_f64(record.elapsed_seconds);
        if let Some(folder) = &self.folder {
            folder.rewind_metrics(self.step)?;
        }
        Ok(())
    }

    pub fn network(&self) -> &Network {
        &self.network
    }

    pub fn data(&self) -> &TrainingData {
        &self.data
    }

    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    pub fn folder(&self) -> Option<&RunFolder> {
        self.folder.as_ref()
    }

    /// Steps taken.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Trains to the end of the run, or until `stop` says so between two steps.
    ///
    /// # Errors
    /// A loss or gradient that is no number any more (the checkpoints stay as they were before it),
    /// a checkpoint that cannot be written, or what `observe` returns.
    pub fn run(
        &mut self,
        mut observe: impl FnMut(Event) -> Result<()>,
        stop: impl Fn() -> bool,
    ) -> Result<Summary> {
        self.started = Instant::now();
        self.begin_folder()?;
        let interval = self.config.evaluation_interval(self.steps_per_epoch());
        let reason = loop {
            if let Some(reason) = self.over() {
                break reason;
            }
            if stop() {
                break StopReason::Stopped;
            }
            let report = on_pool(|| self.train_step())?;
            observe(Event::Step(report))?;
            if self.step.is_multiple_of(interval) {
                self.evaluate(report.lr, &mut observe)?;
                if self.saved_last.elapsed() >= SAVE_LAST_AT_MOST_EVERY {
                    self.save_last()?;
                }
            }
            if self.saved_last.elapsed() >= SAVE_LAST_AT_LEAST_EVERY {
                self.save_last()?;
            }
            if self.config.sample_every.is_some_and(|every| self.step.is_multiple_of(every)) {
                observe(Event::SampleDue {
                    step: self.step,
                    network: &self.network,
                    tokenizer: &self.data.tokenizer,
                })?;
            }
        };
        let already = self.metrics.as_ref().is_some_and(|m| m.step == self.step);
        if reason != StopReason::Stopped && !already && self.loss_count > 0 {
            let lr = self.optimizer.learning_rate();
            self.evaluate(lr, &mut observe)?;
        }
        self.save_last()?;
        Ok(Summary {
            reason,
            step: self.step,
            val_loss: self.metrics.as_ref().and_then(|m| m.val_loss),
            best_val_loss: self.best_val_loss,
            elapsed: self.elapsed(),
        })
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.elapsed_before + self.started.elapsed()
    }

    fn steps_per_epoch(&self) -> u64 {
        self.data.batches.steps_per_epoch() as u64
    }

    /// Share of the run that is done, by steps or by time, whichever is further.
    fn progress(&self) -> f64 {
        let by_steps = self
            .config
            .total_steps(self.steps_per_epoch())
            .map(|total| self.step as f64 / total as f64);
        let by_time =
            self.config.time_limit.map(|limit| self.elapsed().as_secs_f64() / limit.as_secs_f64());
        by_steps.unwrap_or(0.0).max(by_time.unwrap_or(0.0)).clamp(0.0, 1.0)
    }

    fn over(&self) -> Option<StopReason> {
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

    /// One window forward and backward, one step of the optimizer.
    fn train_step(&mut self) -> Result<StepReport> {
        let begun = Instant::now();
        let progress = self.progress();
        let device = self.network.device().clone();
        let batch = self.data.batches.next_batch();
        let shape = (batch.t, batch.b);
        if batch.fresh_state {
            self.state = State::zeros(&self.model, batch.b, &device)?;
        }
        let ids = Tensor::from_vec(batch.inputs, shape, &device)?;
        let targets = Tensor::from_vec(batch.targets, shape, &device)?;
        let resets = match batch.resets {
            Some(resets) => Some(Tensor::from_vec(resets, shape, &device)?),
            None => None,
        };
        let dropout = (self.model.dropout > 0.0).then_some(Dropout {
            probability: self.model.dropout,
            seed: self.config.seed,
            step: self.step,
        });
        let Gradients { loss, grads, state } =
            self.network.gradients(&ids, &targets, &self.state, resets.as_ref(), dropout)?;
        let nats = f64::from(loss);
        self.ensure_finite("loss", nats)?;
        let norm = self.optimizer.gradient_norm(&grads)?;
        self.ensure_finite("gradient's norm", norm)?;
        let clip = self.config.clip;
        let scale = if clip > 0.0 && norm > clip { clip / norm } else { 1.0 };
        let warmup = self.config.warmup_steps(self.steps_per_epoch());
        let lr = self.config.schedule.rate(self.config.lr, self.step, warmup, progress);
        self.optimizer.set_learning_rate(lr);
        self.optimizer.step_scaled(&grads, scale)?;
        self.state = state;
        self.step += 1;
        self.loss_sum += nats;
        self.loss_count += 1;
        self.trained.0 += (shape.0 * shape.1) as u64;
        self.trained.1 += begun.elapsed();
        let progress = self.progress();
        let remaining = if progress > 0.0 {
            self.elapsed().as_secs_f64() * (1.0 - progress) / progress
        } else {
            0.0
        };
        Ok(StepReport {
            step: self.step,
            total_steps: self.config.total_steps(self.steps_per_epoch()),
            epoch: self.data.batches.epoch(),
            progress,
            loss: nats,
            lr,
            chars_per_second: self.chars_per_second(),
            remaining: Duration::try_from_secs_f64(remaining).unwrap_or(Duration::MAX),
        })
    }

    fn ensure_finite(&self, what: &str, value: f64) -> Result<()> {
        if value.is_finite() {
            return Ok(());
        }
        bail!(
            "the {what} became {value} at step {}: train with a lower --lr (it was {}) or a lower --clip \
             (it was {}); the checkpoints from before are untouched",
            self.step + 1,
            self.config.lr,
            self.config.clip
        )
    }

    fn chars_per_second(&self) -> f64 {
        let (chars, time) = self.trained;
        chars as f64 / time.as_secs_f64().max(1e-9)
    }

    /// Reads the whole validation text from a state of its own; saves `best` if it is.
    fn evaluate(&mut self, lr: f64, observe: &mut impl FnMut(Event) -> Result<()>) -> Result<()> {
        // In full precision, whatever the training's: the figure is that of `eval` and of every reader.
        let network = self.network.with_precision(Precision::F32)?;
        let score = self
            .data
            .validation
            .as_ref()
            .map(|text| on_pool(|| evaluate(&network, text, &self.data.tokenizer)))
            .transpose();
        let val_loss = score?.map(|score| score.nats_per_id());
        if let Some(loss) = val_loss {
            self.ensure_finite("validation loss", loss)?;
        }
        let metrics = Metrics {
            step: self.step,
            epoch: self.data.batches.epoch(),
            train_loss: self.loss_sum / self.loss_count.max(1) as f64,
            val_loss,
            lr,
            chars_per_second: self.chars_per_second(),
            elapsed_seconds: self.elapsed().as_secs_f64(),
        };
        self.loss_sum = 0.0;
        self.loss_count = 0;
        // Without a validation text the newest is the best.
        let improved = match (val_loss, self.best_val_loss) {
            (Some(loss), Some(best)) => loss < best,
            _ => true,
        };
        if improved {
            self.best_val_loss = val_loss;
            self.evaluations_since_best = 0;
        } else {
            self.evaluations_since_best += 1;
        }
        self.metrics = Some(metrics.clone());
        if improved {
            self.save_best(&metrics)?;
        }
        if let Some(folder) = &self.folder {
            folder.append_metrics(&metrics)?;
        }
        observe(Event::Evaluated { metrics: &metrics, improved })
    }
}

pub(super) fn state_name(layer: usize) -> String {
    format!("state.l{layer}")
}
