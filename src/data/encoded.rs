//! A corpus in ids, and its split into training and validation.

use anyhow::{Result, ensure};

use crate::data::documents::DocumentSet;
use crate::data::ids::IdSlice;
use crate::text::{Corpus, Documents, Tokenizer};

/// A corpus in ids: one long text, or documents. Cloning copies no ids.
#[derive(Clone, Debug)]
pub enum EncodedText {
    Stream(IdSlice),
    Documents(DocumentSet),
}

impl EncodedText {
    /// Consumes the corpus, so that its text and its ids need not both be in memory.
    ///
    /// # Errors
    /// Characters outside the vocabulary (as [`crate::text::UnknownCharacters`]); no document; documents
    /// for a vocabulary without an end-of-document id.
    pub fn new(corpus: Corpus, tokenizer: &Tokenizer, documents: Documents) -> Result<Self> {
        Ok(match documents {
            Documents::Off => {
                Self::Stream(IdSlice::new(tokenizer.encode_corpus(corpus.into_text())?))
            }
            _ => Self::Documents(DocumentSet::new(corpus, tokenizer, documents)?),
        })
    }

    /// Characters (or bytes), ends of documents not counted.
    pub fn len(&self) -> usize {
        match self {
            Self::Stream(ids) => ids.len(),
            Self::Documents(set) => set.predictions() - set.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Targets that an evaluation predicts: all ids but the first, or all ids and ends.
    pub fn predictions(&self) -> usize {
        match self {
            Self::Stream(ids) => ids.len().saturating_sub(1),
            Self::Documents(set) => set.predictions(),
        }
    }

    /// Bytes of UTF-8 that those targets write (an end of document and an unknown character: 0).
    pub fn predicted_bytes(&self, tokenizer: &Tokenizer) -> usize {
        let bytes = |id: u32| tokenizer.bytes_of(id).len();
        match self {
            Self::Stream(ids) => ids.iter().skip(1).map(bytes).sum(),
            Self::Documents(set) => set.iter().map(bytes).sum(),
        }
    }

    /// Training and validation: of one text the last `fraction` validates; of documents the last
    /// `fraction` of a shuffle by `seed`. A fraction of 0 gives no validation.
    ///
    /// # Errors
    /// A fraction outside [0, 1); too little text for a validation part of it.
    pub fn split(self, fraction: f64, seed: u64) -> Result<(Self, Option<Self>)> {
        ensure!(
            (0.0..1.0).contains(&fraction),
            "--val-fraction is {fraction} but must be at least 0 and below 1"
        );
        if fraction == 0.0 {
            return Ok((self, None));
        }
        match self {
            Self::Documents(set) => {
                let (train, validation) = set.split(fraction, seed)?;
                Ok((Self::Documents(train), Some(Self::Documents(validation))))
            }
            Self::Stream(ids) => {
                let validating = (ids.len() as f64 * fraction) as usize;
                ensure!(
                    validating >= 2,
                    "--val-fraction {fraction} of {} characters leaves {validating} to validate \
                     on but two are the fewest: raise it, give more text, or use --val-fraction 0",
                    ids.len()
                );
                let (train, validation) = ids.split_at(ids.len() - validating);
                Ok((Self::Stream(train), Some(Self::Stream(validation))))
            }
        }
    }
}
