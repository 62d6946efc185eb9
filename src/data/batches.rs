//! The batches of a training run: one interface for streams and for documents.

use serde::{Deserialize, Serialize};

use crate::data::batch::Batch;
use crate::data::encoded::EncodedText;
use crate::data::packed_documents::{DocumentCursor, PackedDocuments};
use crate::data::streams::{StreamCursor, Streams, fitting_batch};
use crate::error::{Error, Result};

/// The batches of a training run: the same for the same text, B, T and seed, on every machine.
#[derive(Clone, Debug)]
pub enum Batches {
    Streams(Streams),
    Documents(PackedDocuments),
}

/// Where a run is in its text; with what made the [`Batches`], it continues to the bit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cursor {
    Streams(StreamCursor),
    Documents(DocumentCursor),
}

impl Batches {
    /// Batches without end. B is lowered to what a short text can fill (see [`Batches::batch`]):
    /// one window a stream, one document a row.
    ///
    /// # Errors
    /// Fewer than T + 1 characters of one text; a batch or window of 0.
    pub fn new(text: &EncodedText, batch: usize, seq_len: usize, seed: u64) -> Result<Self> {
        Ok(match text {
            EncodedText::Stream(ids) => {
                let batch = fitting_batch(ids.len(), batch, seq_len)?;
                Self::Streams(Streams::new(ids.clone(), batch, seq_len, seed)?)
            }
            EncodedText::Documents(set) => {
                let batch = batch.min(set.len());
                Self::Documents(PackedDocuments::new(set.clone(), batch, seq_len, seed)?)
            }
        })
    }

    pub fn next_batch(&mut self) -> Batch {
        match self {
            Self::Streams(streams) => streams.next_batch(),
            Self::Documents(packed) => packed.next_batch(),
        }
    }

    /// B, which may be less than was asked for.
    pub fn batch(&self) -> usize {
        match self {
            Self::Streams(streams) => streams.batch(),
            Self::Documents(packed) => packed.batch(),
        }
    }

    pub fn steps_per_epoch(&self) -> usize {
        match self {
            Self::Streams(streams) => streams.steps_per_epoch(),
            Self::Documents(packed) => packed.steps_per_epoch(),
        }
    }

    /// Epochs completed.
    pub fn epoch(&self) -> u64 {
        match self {
            Self::Streams(streams) => streams.epoch(),
            Self::Documents(packed) => packed.epoch(),
        }
    }

    pub fn cursor(&self) -> Cursor {
        match self {
            Self::Streams(streams) => Cursor::Streams(streams.cursor()),
            Self::Documents(packed) => Cursor::Documents(packed.cursor()),
        }
    }

    /// # Errors
    /// A cursor that does not fit this text, B and T.
    pub fn restore(&mut self, cursor: Cursor) -> Result<()> {
        match (self, cursor) {
            (Self::Streams(streams), Cursor::Streams(cursor)) => streams.restore(cursor),
            (Self::Documents(packed), Cursor::Documents(cursor)) => packed.restore(cursor),
            _ => Err(Error::TrainingState(
                "the training state was saved with another `documents`: resume with the one it had"
                    .into(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::encoded::tests::encoded;
    use crate::text::Documents;

    #[test]
    fn a_short_text_lowers_the_batch() {
        let (text, _) = encoded("0123456789", Documents::Off);
        assert_eq!(Batches::new(&text, 64, 3, 1).unwrap().batch(), 3);
        assert!(Batches::new(&text, 64, 10, 1).is_err());
        let (names, _) = encoded("Ada\nBo\n", Documents::Lines);
        assert_eq!(Batches::new(&names, 64, 10, 1).unwrap().batch(), 2);
        assert!(Batches::new(&names, 64, 0, 1).is_err());
        let huge = Batches::new(&names, 64, usize::MAX, 1).unwrap_err();
        assert!(huge.to_string().contains("lower one of them"));
    }

    #[test]
    fn cursors_go_through_json_and_know_their_kind() {
        let (text, _) = encoded("0123456789", Documents::Off);
        let (names, _) = encoded("Ada\nBo\n", Documents::Lines);
        let mut streams = Batches::new(&text, 2, 2, 1).unwrap();
        let mut packed = Batches::new(&names, 2, 2, 1).unwrap();
        for batches in [&mut streams, &mut packed] {
            batches.next_batch();
            let json = serde_json::to_string(&batches.cursor()).unwrap();
            let cursor: Cursor = serde_json::from_str(&json).unwrap();
            let expected = batches.next_batch();
            batches.restore(cursor).unwrap();
            assert_eq!(batches.next_batch(), expected);
        }
        assert!(streams.restore(packed.cursor()).unwrap_err().to_string().contains("`documents`"));
    }
}
