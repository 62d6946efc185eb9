//! The checkpoints of a trainer.

use std::time::Instant;

use candle_core::Tensor;

use crate::checkpoint::{
    Checkpoint, Config, FORMAT, Progress, RunFolder, Snapshot, TrainingRecord, TrainingState,
};
use crate::error::{Error, Result};
use crate::proofread::Proofreader;
use crate::train::average::export_weights;
use crate::train::trainer::{Trainer, state_name};

impl Trainer {
    /// The current `config.json`.
    fn config_json(&self) -> Result<Config> {
        Ok(Config {
            format: FORMAT,
            chargru: env!("CARGO_PKG_VERSION").to_string(),
            model: self.model.clone(),
            corpus: self.data.record.clone(),
            training: serde_json::to_value(&self.config).map_err(|error| {
                Error::TrainingState(format!("the settings cannot be written: {error}"))
            })?,
            progress: Progress {
                step: self.step,
                epoch: self.data.batches.epoch(),
                train_loss: self.losses.train,
                val_loss: self.losses.val,
                best_val_loss: self.best_val_loss,
            },
            proofread: None,
        })
    }

    /// The weights that are evaluated: the average, if there is one.
    fn weights(&self) -> Vec<(String, Tensor)> {
        if self.average.is_on() {
            return self.average.tensors();
        }
        self.vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect()
    }

    fn training_state(&self) -> Result<TrainingState> {
        let mut tensors = self.optimizer.export()?;
        if self.average.is_on() {
            tensors.extend(export_weights(&self.vars));
        }
        for (index, layer) in self.state.layers.iter().enumerate() {
            tensors.push((state_name(index), layer.clone()));
        }
        Ok(TrainingState {
            record: TrainingRecord {
                step: self.step,
                cursor: self.data.batches.cursor(),
                optimizer_steps: self.optimizer.steps(),
                elapsed_seconds: self.elapsed().as_secs_f64(),
                best_val_loss: self.best_val_loss,
                evaluations_since_best: self.evaluations_since_best,
                loss_sum: self.loss_sum,
                loss_count: self.loss_count,
                gradient_norms: self.norms,
                // Of the save itself.
                fingerprint: String::new(),
            },
            tensors,
        })
    }

    /// Saves the first checkpoint of a new run: if the folder cannot be written, the run fails before it
    /// trains. [`Trainer::run`] and [`Trainer::advance`] begin with this.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] and [`Error::Run`] for a folder that cannot be written.
    pub fn begin(&mut self) -> Result<()> {
        // A run that is resumed, also from its first step, has its checkpoints.
        if self.folder.as_ref().is_some_and(|folder| !folder.is_begun()) {
            self.save_whole(RunFolder::begin)?;
            self.saved_last = Instant::now();
        }
        Ok(())
    }

    pub(super) fn save_last(&mut self) -> Result<()> {
        self.save_whole(RunFolder::save_last)?;
        self.saved_last = Instant::now();
        Ok(())
    }

    /// Passes `save` the checkpoint with all that a resumed run needs.
    fn save_whole(&self, save: impl FnOnce(&RunFolder, &Snapshot) -> Result<()>) -> Result<()> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        save(
            folder,
            &Snapshot {
                config: &self.config_json()?,
                tokenizer: &self.data.tokenizer,
                weights: self.weights(),
                training: Some(self.training_state()?),
            },
        )
    }

    /// Measures the thresholds of [`Proofreader`] on the validation text and saves `best` again with them, if it
    /// is of a bidirectional network and has none. A run that goes on and ends with the same `best` finds them
    /// there; a better one has none until that run ends.
    pub(super) fn measure_thresholds(&mut self) -> Result<()> {
        let (Some(folder), Some(text)) = (&self.folder, &self.data.validation) else {
            return Ok(());
        };
        let is_due = |config: Config| config.model.bidirectional && config.proofread.is_none();
        if !folder.best_config().is_some_and(is_due) {
            return Ok(());
        }
        let device = self.network.device();
        let best = Checkpoint::open(&folder.best(), device)?;
        let network = best.bidirectional(device)?;
        let measure = || Proofreader::measure(&network, &best.tokenizer, &text.text());
        let thresholds = self.rounds.run_other(measure)?;
        let mut weights: Vec<(String, Tensor)> =
            best.weights().iter().map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
        weights.sort_by(|a, b| a.0.cmp(&b.0));
        folder.save_best(&Snapshot {
            config: &Config { proofread: Some(thresholds), ..best.config.clone() },
            tokenizer: &best.tokenizer,
            weights,
            training: None,
        })
    }

    pub(super) fn save_best(&self) -> Result<()> {
        if let Some(folder) = &self.folder {
            folder.save_best(&Snapshot {
                config: &self.config_json()?,
                tokenizer: &self.data.tokenizer,
                weights: self.weights(),
                training: None,
            })?;
        }
        Ok(())
    }
}
