//! A trainer put where a saved run was.

use std::collections::HashMap;
use std::time::Duration;

use candle_core::Tensor;

use crate::checkpoint::{Progress, TrainingState};
use crate::data::ensure_countable;
use crate::error::{Error, Result, ensure};
use crate::train::average::restore_weights;
use crate::train::spikes;
use crate::train::trainer::{Losses, Trainer, state_name};

impl Trainer {
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
        if self.average.is_on() {
            restore_weights(&self.vars, &tensors)?;
        }
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
        self.clock = self.clock.at(Duration::from_secs_f64(record.elapsed_seconds));
        Ok(())
    }

    /// Takes over the losses that the checkpoint has, which the next ones repeat until an evaluation.
    pub(super) fn recall(&mut self, progress: &Progress) {
        self.losses = Losses { train: progress.train_loss, val: progress.val_loss };
    }
}
