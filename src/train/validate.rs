//! The validation of a run, and what follows from its loss.

use std::ops::ControlFlow;
use std::time::Instant;

use crate::checkpoint::Metrics;
use crate::data::Evaluation;
use crate::error::Result;
use crate::evaluate::evaluate_any;
use crate::model::Precision;
use crate::train::events::Event;
use crate::train::spikes::since_evaluation;
use crate::train::trainer::{Losses, Trainer};

/// Largest share of the time that is left for an evaluation; the last one comes after that time.
const SHARE_OF_TIME_LEFT: f64 = 0.1;

impl Trainer {
    /// Whether an evaluation leaves a run with a time limit most of the time that is left: the learning rate
    /// falls with the time, and a long text is read for a while.
    pub(super) fn has_time_to_evaluate(&self) -> bool {
        let (Some(limit), false) = (self.config.time_limit, self.clock.counts_only_steps()) else {
            return true;
        };
        let takes =
            self.evaluated_in.map_or_else(|| self.expected_seconds(), |time| time.as_secs_f64());
        takes <= SHARE_OF_TIME_LEFT * limit.saturating_sub(self.elapsed()).as_secs_f64()
    }

    /// What the first evaluation takes: reading takes a third of the time of training.
    fn expected_seconds(&self) -> f64 {
        let ids = self.data.validation.as_ref().map_or(0, Evaluation::predictions);
        ids as f64 / (3.0 * self.chars_per_second())
    }

    /// Reads the whole validation text from a zero state, reports the losses, and saves `best` if the
    /// validation loss is the lowest so far.
    pub(super) fn evaluate(
        &mut self,
        lr: f64,
        observe: &mut impl FnMut(Event) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        // In float32 whatever the training's precision: then `evaluate` gives the same loss later.
        let begun = Instant::now();
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
        self.evaluated_in = Some(begun.elapsed());
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
