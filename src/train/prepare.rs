//! Makes a text ready to train on: vocabulary, split, windows.

use crate::data::{
    Batches, CorpusRecord, DataConfig, EncodedText, Evaluation, READING_MARGIN, READING_WINDOW,
};
use crate::error::{Error, Result, ensure};
use crate::text::{Corpus, Documents, Tokenizer};
use crate::train::config::TrainConfig;

/// A text that is ready to train on.
pub struct TrainingData {
    /// Text to ids and back.
    pub tokenizer: Tokenizer,
    /// What the checkpoints record of the text.
    pub record: CorpusRecord,
    /// The windows of the training part.
    pub batches: Batches,
    /// The windows of the validation part; None with a validation fraction of 0.
    pub validation: Option<Evaluation>,
    /// Ids of the training part.
    pub train_ids: usize,
    /// Ids of the validation part.
    pub validation_ids: usize,
    /// What the user should know: rare characters that were dropped, a batch that was lowered. Settings are
    /// named as in errors.
    pub notes: Vec<String>,
}

/// Sizes of the data of a training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DataSizes {
    /// Bytes of all ids.
    pub text: usize,
    /// T·B of an evaluation's largest window; 0 without validation.
    pub evaluation: usize,
    /// Positions of the margin of such a window, for a bidirectional network; 0 for another.
    pub evaluation_margin: usize,
}

impl TrainingData {
    /// Encodes the text with `tokenizer`, or with a vocabulary built from it; the windows are those of a
    /// `bidirectional` network or of one direction. Also returns the settings, with `batch` lowered to the
    /// rows that the text can fill.
    ///
    /// # Errors
    /// [`Error::Text`] for a text that is empty, too short or of one distinct character;
    /// [`Error::UnknownCharacters`] for characters that `tokenizer` lacks; [`Error::Vocabulary`] for
    /// documents, if it has no end-of-document id.
    pub fn prepare(
        corpus: Corpus,
        config: &DataConfig,
        tokenizer: Option<Tokenizer>,
        train: &TrainConfig,
        bidirectional: bool,
    ) -> Result<(Self, TrainConfig)> {
        let mut notes = Vec::new();
        let tokenizer = match tokenizer {
            Some(tokenizer) => tokenizer,
            None => {
                let (tokenizer, report) = Tokenizer::build(corpus.text(), &config.vocabulary)?;
                if report.dropped_kinds > 0 {
                    notes.push(format!(
                        "{} of {} distinct characters are rare and share one unknown id ({} in the \
                         text): `max_vocab` is {}",
                        report.dropped_kinds,
                        report.distinct,
                        report.dropped_occurrences,
                        config.vocabulary.max_vocab
                    ));
                }
                tokenizer
            }
        };
        let documents = config.vocabulary.documents;
        ensure!(
            documents == Documents::Off || tokenizer.end_of_document().is_some(),
            Error::vocabulary(format!(
                "`documents` {documents} needs a model that can end a document, and this one was trained on \
             one long text: `extend_vocab` gives it the means"
            ))
        );
        let record = config.record(&corpus, tokenizer.units())?;
        let encoded = EncodedText::new(corpus, &tokenizer, documents)?;
        let (text, validation) = encoded.split(record.val_fraction, record.split_seed)?;
        let TrainConfig { batch, seq_len, margin, seed, .. } = *train;
        let batches = if bidirectional {
            Batches::bidirectional(&text, batch, seq_len, margin, seed)?
        } else {
            Batches::new(&text, batch, seq_len, seed)?
        };
        let windows = |text| {
            if bidirectional {
                Evaluation::bidirectional(text, READING_WINDOW, READING_MARGIN)
            } else {
                Evaluation::new(text, READING_WINDOW)
            }
        };
        let mut train = train.clone();
        if batches.batch() < train.batch {
            notes.push(format!(
                "the text fills {} streams of {} characters: `batch` {} is lowered to that",
                batches.batch(),
                train.seq_len,
                train.batch
            ));
            train.batch = batches.batch();
        }
        let data = Self {
            batches,
            train_ids: text.len(),
            validation_ids: validation.as_ref().map_or(0, EncodedText::len),
            validation: validation.map(windows).transpose()?,
            tokenizer,
            record,
            notes,
        };
        Ok((data, train))
    }

    /// Sizes that the memory of a training depends on.
    pub(super) fn sizes(&self) -> DataSizes {
        let width = match self.tokenizer.vocab_size() {
            0..=256 => 1,
            257..=65536 => 2,
            _ => 4,
        };
        DataSizes {
            text: (self.train_ids + self.validation_ids) * width,
            evaluation: self.validation.as_ref().map_or(0, Evaluation::largest_window),
            evaluation_margin: self.validation.as_ref().map_or(0, Evaluation::largest_margin),
        }
    }
}
