//! A text made ready to train on: vocabulary, split, windows.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::checkpoint::CorpusRecord;
use crate::data::{Batches, EncodedText, Evaluation, READING_WINDOW};
use crate::text::{Corpus, Documents, ReadOptions, Tokenizer, VocabularyOptions};
use crate::train::config::TrainConfig;

/// Where a text comes from and how it is read, encoded and split.
#[derive(Clone, Debug, PartialEq)]
pub struct DataConfig {
    /// None for the text that ships inside the program.
    pub paths: Vec<PathBuf>,
    pub read: ReadOptions,
    pub vocabulary: VocabularyOptions,
    /// Share of the text, at its end, that validates; of documents, a share drawn by `split_seed`.
    /// If not given, see [`usual_val_fraction`].
    pub val_fraction: Option<f64>,
    pub split_seed: u64,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            paths: Vec::new(),
            read: ReadOptions::default(),
            vocabulary: VocabularyOptions::default(),
            val_fraction: None,
            split_seed: 1,
        }
    }
}

/// The share that the published figures of character models hold back; of a large text no more than
/// a few seconds' reading, or evaluating it would take longer than training.
fn usual_val_fraction(characters: usize) -> f64 {
    const AT_MOST: f64 = 2e6;
    (AT_MOST / characters.max(1) as f64).min(0.1)
}

impl DataConfig {
    /// How the text of a checkpoint was read.
    pub fn of_record(record: &CorpusRecord) -> Self {
        Self {
            paths: record.paths.clone(),
            read: record.read,
            vocabulary: VocabularyOptions {
                units: record.units,
                documents: record.documents,
                ..VocabularyOptions::default()
            },
            val_fraction: Some(record.val_fraction),
            split_seed: record.split_seed,
        }
    }

    /// # Errors
    /// A setting outside its range.
    pub fn validate(&self) -> Result<()> {
        if let Some(fraction) = self.val_fraction {
            ensure!(
                (0.0..1.0).contains(&fraction),
                "--val-fraction is {fraction}: give a number from 0 up to, but not including, 1"
            );
        }
        // Room for one character, the unknown and the end of a document.
        ensure!(
            self.vocabulary.max_vocab >= 3,
            "--max-vocab is {}: give a number from 3",
            self.vocabulary.max_vocab
        );
        Ok(())
    }

    /// The text that the paths name.
    pub fn read_corpus(&self) -> Result<Corpus> {
        if self.paths.is_empty() {
            return Ok(Corpus::shipped());
        }
        Corpus::read(&self.paths, &self.read)
    }
}

/// Which part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    All,
    Train,
    Validation,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.pad(match self {
            Self::All => "whole",
            Self::Train => "training",
            Self::Validation => "validation",
        })
    }
}

/// A text as a trainer takes it.
pub struct TrainingData {
    pub tokenizer: Tokenizer,
    pub record: CorpusRecord,
    pub batches: Batches,
    /// None with a validation fraction of 0.
    pub validation: Option<Evaluation>,
    /// Ids in the two parts.
    pub train_ids: usize,
    pub validation_ids: usize,
    /// What the user should know of what was done to the text.
    pub notes: Vec<String>,
}

impl TrainingData {
    /// Encodes with `tokenizer`, or with a vocabulary built from the text; also gives the settings
    /// with the batch that the text can fill.
    ///
    /// # Errors
    /// A text that is empty, too short, of one distinct character, or that has characters outside
    /// the given tokenizer's vocabulary.
    pub fn prepare(
        corpus: Corpus,
        config: &DataConfig,
        tokenizer: Option<Tokenizer>,
        train: &TrainConfig,
    ) -> Result<(Self, TrainConfig)> {
        let mut notes = Vec::new();
        let tokenizer = match tokenizer {
            Some(tokenizer) => tokenizer,
            None => {
                let (tokenizer, report) = Tokenizer::build(corpus.text(), &config.vocabulary)?;
                if report.dropped_kinds > 0 {
                    notes.push(format!(
                        "{} of {} distinct characters are rare and share one unknown id ({} in the \
                         text): --max-vocab is {}",
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
            "--documents {documents} needs a model that can end a document, and this one was trained on \
             one long text: --extend-vocab gives it the means"
        );
        let characters = corpus.text().chars().count();
        let val_fraction = config.val_fraction.unwrap_or_else(|| usual_val_fraction(characters));
        let record = CorpusRecord {
            name: corpus.name().to_string(),
            paths: absolute(&config.paths)?,
            read: config.read,
            units: tokenizer.units(),
            documents,
            sha256: corpus.fingerprint(),
            characters,
            val_fraction,
            split_seed: config.split_seed,
        };
        let encoded = EncodedText::new(corpus, &tokenizer, documents)?;
        let (text, validation) = encoded.split(val_fraction, config.split_seed)?;
        let batches = Batches::new(&text, train.batch, train.seq_len, train.seed)?;
        let mut train = train.clone();
        if batches.batch() < train.batch {
            notes.push(format!(
                "the text fills {} streams of {} characters: --batch {} is lowered to that",
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
            validation: validation.map(|text| Evaluation::new(text, READING_WINDOW)).transpose()?,
            tokenizer,
            record,
            notes,
        };
        Ok((data, train))
    }
}

/// A part of `corpus`, read and split as `record` says, to be measured.
///
/// # Errors
/// Characters outside the vocabulary, or too little text for the part.
pub fn text_to_evaluate(
    corpus: Corpus,
    record: &CorpusRecord,
    tokenizer: &Tokenizer,
    part: Part,
) -> Result<EncodedText> {
    let encoded = EncodedText::new(corpus, tokenizer, record.documents)?;
    if part == Part::All {
        return Ok(encoded);
    }
    let (train, validation) = encoded.split(record.val_fraction, record.split_seed)?;
    match part {
        Part::Validation => validation.context("the model was trained without a validation part"),
        Part::All | Part::Train => Ok(train),
    }
}

/// Paths that hold from wherever the run is resumed; `-` stays.
fn absolute(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    paths
        .iter()
        .map(|path| {
            if path.as_os_str() == "-" {
                return Ok(path.clone());
            }
            std::path::absolute(path).with_context(|| format!("cannot find {}", path.display()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_text_holds_back_a_smaller_share() {
        assert_eq!(usual_val_fraction(1_115_394), 0.1);
        assert_eq!(usual_val_fraction(20_000_000), 0.1);
        assert_eq!(usual_val_fraction(1_000_000_000), 0.002);
        assert_eq!(usual_val_fraction(0), 0.1);
    }
}
