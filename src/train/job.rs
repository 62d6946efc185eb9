//! From a text and settings to a trainer, ready to run.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use candle_core::Device;
use candle_nn::VarMap;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::checkpoint::{Checkpoint, RunFolder};
use crate::data::DataConfig;
use crate::model::{ModelConfig, init};
use crate::text::{Corpus, Tokenizer};
use crate::train::config::TrainConfig;
use crate::train::extend_vocabulary::extend_vocabulary;
use crate::train::prepare::TrainingData;
use crate::train::trainer::Trainer;

/// Everything that decides a run but the text itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Job {
    /// Its `vocab` is not looked at: the text says it.
    pub model: ModelConfig,
    pub data: DataConfig,
    pub train: TrainConfig,
}

impl Job {
    /// A network for small texts that trains in seconds: one layer of 64.
    pub fn small() -> Self {
        Self {
            model: ModelConfig {
                hidden: 64,
                embedding: 16,
                layers: 1,
                dropout: 0.0,
                ..ModelConfig::default()
            },
            train: TrainConfig { batch: 8, ..TrainConfig::default() },
            ..Self::default()
        }
    }

    /// # Errors
    /// A setting outside its range.
    pub fn validate(&self) -> Result<()> {
        // The vocabulary is not known yet; any will do for the rest.
        ModelConfig { vocab: 1, ..self.model.clone() }.validate()?;
        self.data.validate()?;
        self.train.validate()
    }

    /// A run on `corpus` from fresh weights. Without a folder nothing is saved.
    ///
    /// # Errors
    /// A setting outside its range, or a text that cannot be trained on.
    pub fn start(
        &self,
        corpus: Corpus,
        device: &Device,
        folder: Option<RunFolder>,
    ) -> Result<Trainer> {
        self.validate()?;
        let (data, train) = TrainingData::prepare(corpus, &self.data, None, &self.train)?;
        let model = ModelConfig { vocab: data.tokenizer.vocab_size(), ..self.model.clone() };
        let weights = init(&model, &mut generator(train.seed), device)?;
        Trainer::new(&model, &weights, data, train, device, folder)
    }

    /// A run on `corpus` from the weights of `checkpoint`, whose shape and vocabulary are kept;
    /// with `extend` the vocabulary grows by what the text needs. Dropout is this job's.
    ///
    /// # Errors
    /// As [`Job::start`]; and characters that the vocabulary lacks, which the error names.
    pub fn fine_tune(
        &self,
        corpus: Corpus,
        checkpoint: &Checkpoint,
        extend: bool,
        device: &Device,
        folder: Option<RunFolder>,
    ) -> Result<Trainer> {
        self.validate()?;
        let (mut model, weights, tokenizer): (ModelConfig, VarMap, Tokenizer) = if extend {
            let mut rng = generator(self.train.seed);
            let options = &self.data.vocabulary;
            extend_vocabulary(checkpoint, corpus.text(), options, &mut rng, device)?
        } else {
            (checkpoint.config.model.clone(), checkpoint.var_map()?, checkpoint.tokenizer.clone())
        };
        model.dropout = self.model.dropout;
        let (data, train) = TrainingData::prepare(corpus, &self.data, Some(tokenizer), &self.train)
            .context("a model that goes on keeps its vocabulary: --extend-vocab makes it grow")?;
        Trainer::new(&model, &weights, data, train, device, folder)
    }
}

/// The run in `folder`, to go on to the bit from its last checkpoint.
///
/// `adjust` may change settings that do not alter what a step does: where the run ends, its
/// patience, its samples. `corpus` gives the text by what the checkpoint recorded of it.
///
/// # Errors
/// A checkpoint that cannot be read, or another text than the one the run was trained on.
pub fn resume(
    folder: RunFolder,
    device: &Device,
    adjust: impl FnOnce(&mut TrainConfig),
    corpus: impl FnOnce(&DataConfig) -> Result<Corpus>,
) -> Result<Trainer> {
    let checkpoint = Checkpoint::open(&folder.last(), device)?;
    let saved = checkpoint.training(device)?;
    let record = &checkpoint.config.corpus;
    let mut train: TrainConfig = serde_json::from_value(checkpoint.config.training.clone())
        .with_context(|| unusable(&checkpoint.folder))?;
    adjust(&mut train);
    train.validate()?;
    let data = DataConfig::of_record(record);
    let corpus = corpus(&data)?;
    ensure!(
        corpus.fingerprint() == record.sha256,
        "the text is not the one that the run was trained on ({} characters, sha256 {}): \
         name that one with --corpus, or train a copy on the new one with --init-from",
        record.characters,
        record.sha256
    );
    let (data, train) =
        TrainingData::prepare(corpus, &data, Some(checkpoint.tokenizer.clone()), &train)?;
    let model = &checkpoint.config.model;
    let weights = checkpoint.var_map()?;
    let root = folder.root().to_path_buf();
    let mut trainer = Trainer::new(model, &weights, data, train, device, Some(folder))?;
    trainer.restore(saved).with_context(|| unusable(&root))?;
    Ok(trainer)
}

fn unusable(folder: &Path) -> String {
    format!("{} cannot be resumed", folder.display())
}

/// The one generator that initial weights are drawn from.
fn generator(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}
