//! Where a text comes from, how it is read and split, and the record of it that a checkpoint keeps.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::data::encoded::EncodedText;
use crate::error::{Error, Result, ensure};
use crate::text::{Corpus, Documents, ReadOptions, Tokenizer, Units, VocabularyOptions};

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
                Error::out_of_range(
                    "val_fraction",
                    fraction,
                    "give a number from 0 up to, but not including, 1"
                )
            );
        }
        // Room for one character, the unknown and the end of a document.
        ensure!(
            self.vocabulary.max_vocab >= 3,
            Error::out_of_range("max_vocab", self.vocabulary.max_vocab, "give a number from 3")
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

    /// What a checkpoint keeps of `corpus`, read as this says and encoded in `units`.
    ///
    /// # Errors
    /// A relative path where the current folder is gone.
    pub fn record(&self, corpus: &Corpus, units: Units) -> Result<CorpusRecord> {
        let characters = corpus.text().chars().count();
        Ok(CorpusRecord {
            name: corpus.name().to_string(),
            paths: absolute(&self.paths)?,
            read: self.read,
            units,
            documents: self.vocabulary.documents,
            sha256: corpus.fingerprint(),
            characters,
            val_fraction: self.val_fraction.unwrap_or_else(|| usual_val_fraction(characters)),
            split_seed: self.split_seed,
        })
    }
}

/// The text a model was trained on, so that it can be found and recognised again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CorpusRecord {
    pub name: String,
    /// Empty for the text that ships inside the program.
    pub paths: Vec<PathBuf>,
    #[serde(flatten)]
    pub read: ReadOptions,
    pub units: Units,
    pub documents: Documents,
    /// Of the normalised text.
    pub sha256: String,
    pub characters: usize,
    /// The share at the end that validates, and the seed that orders documents before the cut.
    pub val_fraction: f64,
    pub split_seed: u64,
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

/// A part of `corpus`, read and split as `record` says, to be measured.
///
/// # Errors
/// Characters outside the vocabulary, or too little text for the part.
pub fn part_of_corpus(
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
        Part::Validation => validation.ok_or_else(|| {
            Error::setting("val_fraction", "the model was trained without a validation part")
        }),
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
            std::path::absolute(path).map_err(Error::io("find", path))
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
