//! What others may see of a trainer.

use std::time::Duration;

use crate::checkpoint::RunFolder;
use crate::model::{BidirectionalNetwork, ModelConfig, Network};
use crate::train::config::TrainConfig;
use crate::train::prepare::TrainingData;
use crate::train::requirements::Requirements;
use crate::train::trainer::Trainer;

impl Trainer {
    /// The network as it is now, with the average of its weights; of a bidirectional one the forward half.
    pub fn network(&self) -> &Network {
        self.averaged.forward_half()
    }

    /// The same network, if it is bidirectional.
    pub fn bidirectional(&self) -> Option<&BidirectionalNetwork> {
        self.averaged.bidirectional()
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

    /// Time that the run has taken, in this process and before it.
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }
}
