//! Where a text comes from, how it is read and split, and the record of it in a checkpoint.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::data::documents::files_fingerprint;
use crate::data::encoded::EncodedText;
use crate::error::{Error, Result, ensure};
use crate::text::{Corpus, Documents, ReadOptions, Tokenizer, Units, VocabularyOptions};

/// Where a text comes from and how it is read, encoded and split.
#[derive(Clone, Debug, PartialEq)]
pub struct DataConfig {
    /// Files, folders, or `-` for standard input, as [`Corpus::read`] takes them. Empty for the text that
    /// ships with the library.
    pub paths: Vec<PathBuf>,
    /// How the files are read.
    pub read: ReadOptions,
    /// How the vocabulary is built.
    pub vocabulary: VocabularyOptions,
    /// Share of the text, at its end, that validates; of documents, a share drawn by `split_seed`.
    /// If not given, a tenth, but at most two million characters.
    pub val_fraction: Option<f64>,
    /// Decides which documents validate.
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

/// A tenth, as in most published results of character models; of a large text less, so that an
/// evaluation takes seconds.
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

    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`Error::Setting`] for the first setting outside its range.
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
        // Room for one character, the unknown id and the end of a document.
        ensure!(
            self.vocabulary.max_vocab >= 3,
            Error::out_of_range("max_vocab", self.vocabulary.max_vocab, "give a number from 3")
        );
        Ok(())
    }

    /// Reads the text that the paths name.
    ///
    /// # Errors
    /// Those of [`Corpus::read`].
    pub fn read_corpus(&self) -> Result<Corpus> {
        if self.paths.is_empty() {
            return Ok(Corpus::shipped());
        }
        Corpus::read(&self.paths, &self.read)
    }

    /// The record of `corpus`, read as this says and encoded in `units`.
    ///
    /// # Errors
    /// [`Error::Io`] for a relative path if the current folder has been removed.
    pub fn record(&self, corpus: &Corpus, units: Units) -> Result<CorpusRecord> {
        let characters = corpus.text().chars().count();
        Ok(CorpusRecord {
            name: corpus.name().to_string(),
            paths: absolute(&self.paths)?,
            read: self.read,
            units,
            documents: self.vocabulary.documents,
            sha256: corpus.fingerprint(),
            files: (self.vocabulary.documents == Documents::Files)
                .then(|| files_fingerprint(corpus)),
            characters,
            val_fraction: self.val_fraction.unwrap_or_else(|| usual_val_fraction(characters)),
            split_seed: self.split_seed,
        })
    }
}

/// The text a model was trained on, so that it can be found and recognised again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CorpusRecord {
    /// [`Corpus::name`].
    pub name: String,
    /// Absolute, or `-`. Empty for the text that ships with the library.
    #[serde(with = "crate::data::paths")]
    pub paths: Vec<PathBuf>,
    /// How the files were read.
    #[serde(flatten)]
    pub read: ReadOptions,
    /// What one id stands for.
    pub units: Units,
    /// How the corpus was divided into documents.
    pub documents: Documents,
    /// [`Corpus::fingerprint`].
    pub sha256: String,
    /// SHA-256 of where its files end, if each file is a document. Older checkpoints lack it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub files: Option<String>,
    /// Unicode characters of the whole text.
    pub characters: usize,
    /// Share that validates.
    pub val_fraction: f64,
    /// Decides which documents validate.
    pub split_seed: u64,
}

impl CorpusRecord {
    /// A prompt for a model of this text: as it is, or in documents of lines the one line, without its end.
    ///
    /// # Errors
    /// [`Error::Text`] for several lines, where each is a document.
    pub fn prompt(&self, text: Corpus) -> Result<String> {
        if self.documents != Documents::Lines {
            return Ok(text.into_text());
        }
        let lines: Vec<&str> = text.documents(Documents::Lines).collect();
        match lines[..] {
            [] => Ok(String::new()),
            [line] => Ok(line.to_string()),
            _ => Err(Error::Text(format!(
                "the prompt has {} lines, but this model was trained with `documents` lines: each line is a \
                 document of its own, and none holds a newline: give one line",
                lines.len()
            ))),
        }
    }

    /// Whether `corpus` is this text.
    pub fn is_text_of(&self, corpus: &Corpus) -> bool {
        corpus.fingerprint() == self.sha256
    }

    /// Whether `corpus`, which is this text, is cut into the same documents: for files, into the same
    /// files, if that was recorded.
    pub fn is_cut_as(&self, corpus: &Corpus) -> bool {
        self.files.as_ref().is_none_or(|files| *files == files_fingerprint(corpus))
    }
}

/// Which part of a text, as [`EncodedText::split`] divides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The whole text.
    All,
    /// The part to train on.
    Train,
    /// The part to validate on.
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

/// A part of `corpus`, encoded by `tokenizer` and split as `record` says.
///
/// # Errors
/// Those of [`EncodedText::new`] and [`EncodedText::split`]; [`Error::Setting`] for the validation part if
/// `record` has none.
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

/// Absolute paths, so that a run can be resumed from another folder; `-` stays.
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
