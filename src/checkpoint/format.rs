//! What the files of a checkpoint folder hold.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::data::{CorpusRecord, Cursor};
use crate::error::{Cause, Error, ensure};
use crate::model::ModelConfig;
use crate::text::Tokenizer;

pub const CONFIG: &str = "config.json";
pub const TOKENIZER: &str = "tokenizer.json";
pub const WEIGHTS: &str = "model.safetensors";
pub const TRAINING: &str = "training.json";
pub const TRAINING_TENSORS: &str = "training.safetensors";

/// Raised when a file's meaning changes, so that an older program refuses what it would misread.
pub const FORMAT: u32 = 1;

/// `config.json`: what the weights are, what they were trained on and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    pub format: u32,
    /// Version of the program that wrote it.
    pub chargru: String,
    pub model: ModelConfig,
    pub corpus: CorpusRecord,
    /// The settings of `train`; that layer reads them back.
    pub training: serde_json::Value,
    /// How far the weights beside this file were trained.
    pub progress: Progress,
}

impl Config {
    /// # Errors
    /// Text that is no such JSON, a format of a later program, or a model that cannot be.
    pub(super) fn from_json(bytes: &[u8]) -> Result<Self, Cause> {
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
            chargru: String,
        }
        let found: Versioned = serde_json::from_slice(bytes)?;
        ensure!(
            found.format == FORMAT,
            Cause::from(format!(
                "format {} was written by chargru {}; this program reads format {FORMAT}: use that version",
                found.format, found.chargru
            ))
        );
        let config: Self = serde_json::from_slice(bytes)?;
        config.model.validate().map_err(|error| Error::Checkpoint {
            path: CONFIG.into(),
            message: "its model is impossible".into(),
            source: Some(error.into()),
        })?;
        Ok(config)
    }
}

/// How far a run has come. Losses are nats per id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub step: u64,
    pub epoch: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub train_loss: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub val_loss: Option<f64>,
    /// The best validation loss of the run so far.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub best_val_loss: Option<f64>,
}

/// `training.json`: what, besides the tensors, a run needs to continue to the bit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingRecord {
    pub step: u64,
    /// Where the next window begins. The random state is the seed (in `config.json`), the step and this:
    /// everything drawn is a pure function of the three.
    pub cursor: Cursor,
    pub optimizer_steps: u64,
    pub elapsed_seconds: f64,
    pub best_val_loss: Option<f64>,
    pub evaluations_since_best: u64,
    /// Sum and count of the step losses since the last evaluation.
    pub loss_sum: f64,
    pub loss_count: u64,
}

/// One line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    pub step: u64,
    pub epoch: u64,
    /// Mean over the steps since the line before, nats per id.
    pub train_loss: f64,
    /// Over the whole validation text, nats per id; null without one.
    pub val_loss: Option<f64>,
    pub lr: f64,
    /// Of training alone, evaluation left out.
    pub chars_per_second: f64,
    pub elapsed_seconds: f64,
}

/// A checkpoint in memory, to be written.
pub struct Snapshot<'a> {
    pub config: &'a Config,
    pub tokenizer: &'a Tokenizer,
    /// By name, float32.
    pub weights: Vec<(String, Tensor)>,
    /// Only in `last`.
    pub training: Option<TrainingState>,
}

/// The training state of `last`.
pub struct TrainingState {
    pub record: TrainingRecord,
    /// Optimizer moments and the carried hidden state.
    pub tensors: Vec<(String, Tensor)>,
}
