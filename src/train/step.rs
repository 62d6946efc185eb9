//! One step of the training: a window forward and backward, the gradient clipped, the optimizer's step.

use std::time::{Duration, Instant};

use candle_core::Tensor;
use candle_nn::Optimizer;

use crate::error::{Error, Result, ensure};
use crate::evaluate::right_of;
use crate::model::{Dropout, Gradients, State};
use crate::train::events::StepReport;
use crate::train::spikes::{Verdict, judge};
use crate::train::trainer::Trainer;

impl Trainer {
    /// One window forward and backward, one step of the optimizer.
    pub(super) fn train_step(&mut self) -> Result<StepReport> {
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
        let resets = batch.resets.map(|resets| Tensor::from_vec(resets, shape, &device));
        let right = batch.right.map(|right| right_of(right, shape, &device));
        let (resets, right) = (resets.transpose()?, right.transpose()?);
        let (resets, right) = (resets.as_ref(), right.as_ref());
        let (hidden, recurrent) = (self.model.dropout, self.config.weight_drop);
        let dropout = (hidden > 0.0 || recurrent > 0.0).then_some(Dropout {
            hidden,
            recurrent,
            seed: self.config.seed,
            step: self.step,
        });
        let Gradients { loss, grads, state } =
            self.network.gradients((&ids, &targets), &self.state, resets, right, dropout)?;
        let nats = f64::from(loss);
        self.ensure_finite("loss", nats)?;
        let norm = self.optimizer.gradient_norm(&grads)?;
        let warmup = self.config.warmup_steps(self.steps_per_epoch());
        let verdict = judge(&mut self.norms, norm, self.step >= warmup);
        if verdict == Verdict::Diverged {
            self.ensure_finite("gradient's norm", norm)?;
        }
        let is_skipped = verdict == Verdict::Skip;
        let clip = self.config.clip;
        let scale = if clip > 0.0 && norm > clip { clip / norm } else { 1.0 };
        let lr = self.config.schedule.rate(self.config.lr, self.step, warmup, progress);
        self.optimizer.set_learning_rate(lr);
        if is_skipped {
            self.state = State::zeros(&self.model, shape.1, &device)?;
        } else {
            self.optimizer.step_scaled(&grads, scale)?;
            self.average.update(&self.vars, self.config.average_decay(self.step))?;
            self.state = state;
        }
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
            gradient_norm: norm,
            is_skipped,
            chars_per_second: self.chars_per_second(),
            remaining: Duration::try_from_secs_f64(remaining).unwrap_or(Duration::MAX),
        })
    }

    pub(super) fn ensure_finite(&self, what: &'static str, value: f64) -> Result<()> {
        let (lr, clip) = (self.config.lr, self.config.clip);
        ensure!(value.is_finite(), Error::Diverged { what, value, step: self.step + 1, lr, clip });
        Ok(())
    }

    pub(super) fn chars_per_second(&self) -> f64 {
        let (chars, time) = self.trained;
        chars as f64 / time.as_secs_f64().max(1e-9)
    }

    /// Share of the run that is done, in [0, 1]: by steps or by time, whichever is further.
    pub fn progress(&self) -> f64 {
        let by_steps = self
            .config
            .total_steps(self.steps_per_epoch())
            .map(|total| self.step as f64 / total as f64);
        let by_time =
            self.config.time_limit.map(|limit| self.elapsed().as_secs_f64() / limit.as_secs_f64());
        by_steps.unwrap_or(0.0).max(by_time.unwrap_or(0.0)).clamp(0.0, 1.0)
    }
}
