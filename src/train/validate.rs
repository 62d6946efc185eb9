//! The validation of a run, and what follows from its loss.

use std::ops::ControlFlow;

use crate::checkpoint::Metrics;
use crate::error::Result;
use crate::evaluate::evaluate_any;
use crate::model::Precision;
use crate::train::events::Event;
use crate::train::spikes::since_evaluation;
use crate::train::trainer::{Losses, Trainer};

impl Trainer {
    /// Reads the whole validation text from a zero state, reports the losses, and saves `best` if the
    /// validation loss is the lowest so far.
    pub(super) fn evaluate(
        &mut self,
        lr: f64,
        observe: &mut impl FnMut(Event) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        // In float32 whatever the training's precision: then `evaluate` gives the same loss later.
        let network = self.averaged.with_precision(Precision::F32)?;
        let result = match &self.data.validation {
            Some(text) => {
                let tokenizer = &self.data.tokenizer;
                Some(self.rounds.run_other(|| evaluate_any(&network, text, tokenizer))?)
            }
            None => None,
        };
        let val_loss = result.map(|result| result.nats_per_id());
        if let Some(loss) = val_loss {
            self.ensure_finite("validation loss", loss)?;
        }
        let (gradient_norm, gradient_norm_max) = since_evaluation(&mut self.norms);
        let metrics = Metrics {
            step: self.step,
            epoch: self.data.batches.epoch(),
            train_loss: self.loss_sum / self.loss_count.max(1) as f64,
            val_loss,
            lr,
            chars_per_second: self.chars_per_second(),
            elapsed_seconds: self.elapsed().as_secs_f64(),
            gradient_norm,
            gradient_norm_max,
            skipped_steps: self.norms.skipped,
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
        self.losses = Losses { train: Some(metrics.train_loss), val: val_loss };
        self.evaluated_at = Some(self.step);
        // A crash may have left a `best` that is newer than the state this run goes on from. No better
        // one is given up for it; on the same way the run comes to the same loss at the same step.
        let is_kept = self.newer_best.zip(val_loss).is_some_and(|((_, kept), loss)| kept < loss);
        if improved && !is_kept {
            self.save_best()?;
            self.newer_best = None;
        }
        if let Some(folder) = &self.folder {
            folder.append_metrics(&metrics)?;
        }
        Ok(observe(Event::Evaluated {
            metrics: &metrics,
            improved,
            progress: self.progress(),
            network: network.forward_half(),
            tokenizer: &self.data.tokenizer,
            folder: self.folder.as_ref(),
        }))
    }
}
