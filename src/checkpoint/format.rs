//! The contents of the files in a checkpoint folder.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::data::{CorpusRecord, Cursor};
use crate::error::{Cause, Error, ensure};
use crate::model::ModelConfig;
use crate::proofread::Thresholds;
use crate::text::Tokenizer;

/// [`Config`].
pub const CONFIG: &str = "config.json";
/// The tokenizer.
pub const TOKENIZER: &str = "tokenizer.json";
/// The weights, by PyTorch's names.
pub const WEIGHTS: &str = "model.safetensors";
/// Key of the metadata in both safetensors files: [`Config::fingerprint`] of the files beside it, so that a
/// mixture of two checkpoints is noticed. Older versions wrote none.
pub(super) const FINGERPRINT: &str = "chargru";
/// [`TrainingRecord`]; only in `last`.
pub const TRAINING: &str = "training.json";
/// The tensors of [`TrainingState`]; only in `last`.
pub const TRAINING_TENSORS: &str = "training.safetensors";

/// All of these. [`CONFIG`] is written first and removed last: a folder that holds another one without it
/// is not chargru's.
pub(super) const FILES: [&str; 5] = [CONFIG, TOKENIZER, WEIGHTS, TRAINING, TRAINING_TENSORS];

/// Version of the format. It is raised when the meaning of a file changes, so that older programs refuse
/// to read it.
pub const FORMAT: u32 = 1;

/// `config.json`: the shape of the network, the text it was trained on, and the settings of the training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// [`FORMAT`] of the program that wrote it.
    pub format: u32,
    /// Version of the program that wrote it.
    pub chargru: String,
    /// The shape of the network.
    pub model: ModelConfig,
    /// The text it was trained on.
    pub corpus: CorpusRecord,
    /// The settings of the training, as JSON: module `train` reads them.
    pub training: serde_json::Value,
    /// How far the weights in this folder were trained.
    pub progress: Progress,
    /// How much likelier than the text an edit must be, for few false alarms. Only in `best` of a bidirectional
    /// run that has ended and has a validation text.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub proofread: Option<Thresholds>,
}

/// The beginning of config.json.
#[derive(Deserialize)]
struct Versioned {
    format: u32,
    chargru: String,
}

impl Config {
    /// How config.json begins, as every version writes it: here the number of the format follows.
    const HEAD: &[u8] = b"{\n  \"format\": ";

    /// Whether the bytes are config.json of any version of chargru.
    pub(super) fn is_one(bytes: &[u8]) -> bool {
        serde_json::from_slice::<Versioned>(bytes).is_ok()
    }

    /// Whether the bytes can be the first part of one.
    pub(super) fn may_become_one(bytes: &[u8]) -> bool {
        bytes.starts_with(Self::HEAD) || Self::HEAD.starts_with(bytes)
    }

    /// Names the save that a file of a checkpoint belongs to: the SHA-256, in hexadecimal, of the tokenizer,
    /// the shape of the network, the text, and how far the weights were trained. Settings that say where
    /// files are or when a run ends do not count, so that the same run gives the same bytes anywhere.
    pub(super) fn fingerprint(&self, tokenizer: &[u8]) -> String {
        let Self { model, corpus, progress, .. } = self;
        let bidirectional = if model.bidirectional { " bidirectional" } else { "" };
        let residual = if model.residual { " residual" } else { "" };
        let text = format!(
            "{} {} {} {} {} {} {} {} {} {}{bidirectional}{residual}",
            model.cell,
            model.vocab,
            model.embedding,
            model.hidden,
            model.layers,
            model.tie_weights,
            corpus.sha256,
            progress.step,
            progress.epoch,
            sha256(tokenizer),
        );
        sha256(text.as_bytes())
    }

    /// # Errors
    /// JSON that is broken, another format, or a model whose settings are outside their range.
    pub(super) fn from_json(bytes: &[u8]) -> Result<Self, Cause> {
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
        if let Some(thresholds) = &config.proofread {
            thresholds.validate()?;
        }
        Ok(config)
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How far a run has come. Losses are nats per id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps taken.
    pub step: u64,
    /// Epochs completed.
    pub epoch: u64,
    /// Mean over the steps before the last evaluation.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub train_loss: Option<f64>,
    /// Validation loss of the last evaluation.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub val_loss: Option<f64>,
    /// The lowest validation loss of the run so far.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub best_val_loss: Option<f64>,
}

/// `training.json`: with the tensors, all that a run needs to continue exactly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// Steps taken.
    pub step: u64,
    /// The next window. All random numbers of a run are functions of its seed (in `config.json`), the
    /// step and this.
    pub cursor: Cursor,
    /// Steps of the optimizer.
    pub optimizer_steps: u64,
    /// Time that the run has taken.
    pub elapsed_seconds: f64,
    /// The lowest validation loss so far, nats per id.
    pub best_val_loss: Option<f64>,
    /// Evaluations since then.
    pub evaluations_since_best: u64,
    /// Sum of the losses of the steps since the last evaluation.
    pub loss_sum: f64,
    /// How many those are.
    pub loss_count: u64,
    /// The norms of the gradient. Empty in files of older versions.
    #[serde(default)]
    pub gradient_norms: GradientNorms,
    /// Names the save that it belongs to: that of the files beside it. Empty in files of older versions.
    #[serde(default)]
    pub fingerprint: String,
}

/// What a run keeps of the norms of its gradients, before they are clipped, and of the steps that it skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GradientNorms {
    /// Running mean over the steps that were not skipped.
    pub mean: f64,
    /// How many norms that mean has.
    pub count: u64,
    /// Skipped steps of the run.
    pub skipped: u64,
    /// Of these, the ones since the last step that was not skipped.
    pub skipped_in_row: u64,
    /// Sum of the norms that are finite since the last evaluation.
    pub sum: f64,
    /// How many those are.
    pub summed: u64,
    /// The largest of them.
    pub largest: f64,
}

/// One line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Steps taken.
    pub step: u64,
    /// Epochs completed.
    pub epoch: u64,
    /// Mean over the steps since the evaluation before, nats per id.
    pub train_loss: f64,
    /// Over the whole validation text, nats per id; null without one.
    pub val_loss: Option<f64>,
    /// Learning rate of the last step.
    pub lr: f64,
    /// Speed of the training steps alone, without evaluations.
    pub chars_per_second: f64,
    /// Time that the run has taken.
    pub elapsed_seconds: f64,
    /// Mean norm of the gradient before it is clipped, over the steps since the evaluation before. None in files
    /// of older versions, and where none of the norms was finite.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub gradient_norm: Option<f64>,
    /// The largest of these norms.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub gradient_norm_max: Option<f64>,
    /// Steps of the run so far that changed no weight, because the gradient was far larger than usual.
    #[serde(default)]
    pub skipped_steps: u64,
}

/// A checkpoint in memory, to be written.
pub struct Snapshot<'a> {
    /// config.json.
    pub config: &'a Config,
    /// tokenizer.json.
    pub tokenizer: &'a Tokenizer,
    /// By name, float32.
    pub weights: Vec<(String, Tensor)>,
    /// Only in `last`.
    pub training: Option<TrainingState>,
}

/// The training state of `last`.
pub struct TrainingState {
    /// training.json.
    pub record: TrainingRecord,
    /// The optimizer's moments and the state of the network, by name.
    pub tensors: Vec<(String, Tensor)>,
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;

    /// A loss, a sum of losses or a learning rate that is read back with another last bit would make a
    /// resumed run another one.
    #[test]
    fn numbers_come_back_to_the_bit() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for _ in 0..20_000 {
            let number: f64 = rng.random_range(0.0..1000.0) * rng.random::<f64>();
            let progress = Progress { train_loss: Some(number), ..Progress::default() };
            let json = serde_json::to_vec(&progress).unwrap();
            let back: Progress = serde_json::from_slice(&json).unwrap();
            assert_eq!(back.train_loss.map(f64::to_bits), Some(number.to_bits()), "{number:?}");
        }
    }
}
