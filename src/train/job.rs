//! A training run's settings, and the trainer for a text.

use candle_core::Device;
use candle_nn::VarMap;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::checkpoint::Checkpoint;
use crate::data::{CorpusRecord, DataConfig};
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::model::{ModelConfig, init};
use crate::text::{Corpus, Tokenizer, Units};
use crate::train::choice::{Fixed, TextFacts, choose};
use crate::train::config::TrainConfig;
use crate::train::extend_vocabulary::extend_vocabulary;
use crate::train::prepare::TrainingData;
use crate::train::requirements::Requirements;
use crate::train::trainer::Trainer;

/// All settings of a training run. The same job on the same text gives the same weights.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Job {
    /// The shape of the network. `vocab` is ignored: the vocabulary comes from the text.
    pub model: ModelConfig,
    /// How the text is read, encoded and split.
    pub data: DataConfig,
    /// How the network is trained.
    pub train: TrainConfig,
}

impl Job {
    /// For small texts: one layer of 64, windows of 32 characters; trains in seconds.
    pub fn small() -> Self {
        Self {
            model: ModelConfig {
                hidden: 64,
                embedding: 16,
                layers: 1,
                dropout: 0.0,
                ..ModelConfig::default()
            },
            train: TrainConfig { batch: 8, seq_len: 32, ..TrainConfig::default() },
            ..Self::default()
        }
    }

    /// What fits `corpus`, as `chargru train` chooses it: for a text of any length, and for a list of short entries.
    pub fn for_text(corpus: &Corpus) -> Self {
        let choice = choose(TextFacts::of(corpus, Units::default()), Fixed::default());
        let mut job = Self::default();
        let (model, train) = (&mut job.model, &mut job.train);
        (model.hidden, model.layers, model.embedding) =
            (choice.hidden, choice.layers, choice.embedding);
        (model.residual, model.dropout) = (choice.residual, choice.dropout);
        job.data.vocabulary.documents = choice.documents;
        (train.batch, train.seq_len, train.lr) = (choice.batch, choice.seq_len, choice.lr);
        train.precision = choice.precision;
        (train.weight_decay, train.weight_drop) = (choice.weight_decay, choice.weight_drop);
        (train.steps, train.patience) = (Some(choice.steps), Some(choice.patience));
        train.eval_every = choice.eval_every;
        job
    }

    /// Checks every setting against its range. [`Job::start`] does so too.
    ///
    /// # Errors
    /// [`Error::Setting`] for the first setting outside its range.
    pub fn validate(&self) -> Result<()> {
        // The size of the vocabulary is not known yet; any valid one serves to check the rest.
        ModelConfig { vocab: 1, ..self.model.clone() }.validate()?;
        self.data.validate()?;
        self.train.validate()
    }

    /// A run on `corpus` from fresh weights. It is not saved: see [`Trainer::save_in`].
    ///
    /// # Errors
    /// [`Error::Setting`] for a setting outside its range, or one so large that the training does not fit
    /// into memory; [`Error::Text`] for a text that is too short or has nothing to learn.
    pub fn start(&self, corpus: Corpus, device: &Device) -> Result<Trainer> {
        self.validate()?;
        let (data, train) =
            TrainingData::prepare(corpus, &self.data, None, &self.train, self.model.bidirectional)?;
        let model = ModelConfig { vocab: data.tokenizer.vocab_size(), ..self.model.clone() };
        Requirements::check(&model, &train, &data, device)?;
        let weights = init(&model, &mut generator(train.seed), device)?;
        Trainer::new(&model, &weights, data, train, device)
    }

    /// The memory and the disk that a run of this job on `data` takes.
    pub fn requirements(&self, data: &TrainingData) -> Requirements {
        let model = ModelConfig { vocab: data.tokenizer.vocab_size(), ..self.model.clone() };
        Requirements::new(&model, &self.train, data.sizes())
    }

    /// A run on `corpus` from the weights of `checkpoint`, whose shape and vocabulary are kept; with
    /// `extend_vocab` the vocabulary grows by the characters that only the text has. Dropout is this
    /// job's. On the text that the checkpoint was trained on, the parts that train and validate are those
    /// of then: its `split_seed`, and its `val_fraction` if this job has none. The run is not saved: see
    /// [`Trainer::save_in`].
    ///
    /// # Errors
    /// Those of [`Job::start`]; [`Error::UnknownCharacters`] if the text has characters that the
    /// vocabulary lacks.
    pub fn fine_tune(
        &self,
        corpus: Corpus,
        checkpoint: &Checkpoint,
        extend_vocab: bool,
        device: &Device,
    ) -> Result<Trainer> {
        self.validate()?;
        let (mut model, weights, tokenizer): (ModelConfig, VarMap, Tokenizer) = if extend_vocab {
            let mut rng = generator(self.train.seed);
            let options = &self.data.vocabulary;
            extend_vocabulary(checkpoint, corpus.text(), options, &mut rng, device)?
        } else {
            (checkpoint.config.model.clone(), checkpoint.var_map()?, checkpoint.tokenizer.clone())
        };
        model.dropout = self.model.dropout;
        let (config, note) = self.split_as(&checkpoint.config.corpus, &corpus);
        let (mut data, train) = TrainingData::prepare(
            corpus,
            &config,
            Some(tokenizer),
            &self.train,
            model.bidirectional,
        )?;
        data.notes.extend(note);
        Requirements::check(&model, &train, &data, device)?;
        Trainer::new(&model, &weights, data, train, device)
    }

    /// How `corpus` is read and split for a network that was trained on the text of `record`, and what to
    /// say of it. If it is that text, it is split as it was then, so that what the network learnt does
    /// not validate.
    fn split_as(&self, record: &CorpusRecord, corpus: &Corpus) -> (DataConfig, Option<String>) {
        let mut config = self.data.clone();
        if !record.is_text_of(corpus) {
            return (config, None);
        }
        if config.vocabulary.documents != record.documents || !record.is_cut_as(corpus) {
            let note = "the checkpoint was trained on this text, divided into other documents: some of what \
                        validates now was trained on then, so that the validation loss is too low";
            return (config, Some(note.into()));
        }
        config.split_seed = record.split_seed;
        let kept = record.val_fraction;
        let fraction = *config.val_fraction.get_or_insert(kept);
        let note = if fraction == 0.0 {
            return (config, None);
        } else if fraction > kept {
            format!(
                "the checkpoint was trained on this text with `val_fraction` {kept}: with {fraction} some of \
                 what validates now was trained on then, so that the validation loss is too low"
            )
        } else {
            format!(
                "the checkpoint was trained on this text: what validates now, {fraction} of it, did then"
            )
        };
        (config, Some(note))
    }
}

/// The stream of the seed's random numbers that initial weights are drawn from. The order of the text
/// takes the streams 0, 1, 2, … (one an epoch) and the last; dropout those from 2^48 up, of 64 layers.
const INIT: u64 = u64::MAX - 1;

/// The generator that initial weights are drawn from.
fn generator(seed: u64) -> ChaCha8Rng {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(INIT);
    generator
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::RngCore;

    use super::*;

    #[test]
    fn initial_weights_and_the_first_shuffle_share_no_random_numbers() {
        let of_stream = |stream| {
            let mut generator = ChaCha8Rng::seed_from_u64(7);
            generator.set_stream(stream);
            generator.next_u64()
        };
        let weights = generator(7).next_u64();
        assert_eq!(weights, of_stream(INIT));
        // The first two epochs, the split, and the dropout of the first and the 64th layer.
        for stream in [0, 1, u64::MAX, 1 << 48, 64 << 48] {
            assert_ne!(weights, of_stream(stream), "{stream}");
        }
    }
}
