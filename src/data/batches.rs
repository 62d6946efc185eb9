//! The batches of a training run: one interface for streams and for documents.

use serde::{Deserialize, Serialize};

use crate::data::batch::Batch;
use crate::data::encoded::EncodedText;
use crate::data::packed_documents::{DocumentCursor, PackedDocuments};
use crate::data::streams::{StreamCursor, Streams, fitting};
use crate::error::{Error, Result, ensure};

/// The batches of a training run. The same text, B, T and seed give the same batches on every machine.
#[derive(Clone, Debug)]
pub enum Batches {
    Streams(Streams),
    Documents(PackedDocuments),
}

/// How far a run has read its text. [`Batches`] of the same text and settings continue from it exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cursor {
    Streams(StreamCursor),
    Documents(DocumentCursor),
}

/// Refuses a count that no training reaches, so that counting on cannot overflow.
///
/// # Errors
/// [`Error::TrainingState`] for more than 2^53.
pub(crate) fn ensure_countable(name: &str, count: u64) -> Result<()> {
    const MOST: u64 = 1 << 53;
    ensure!(
        count <= MOST,
        Error::TrainingState(format!(
            "the training state's {name} is {count}, but no run comes further than {MOST}"
        ))
    );
    Ok(())
}

impl Batches {
    /// The batches of `text`, without end. A text that is too short for `batch` rows gets fewer (see
    /// [`Batches::batch`]): a stream needs one window, a row of documents one document.
    ///
    /// # Errors
    /// [`Error::Text`] for one text of fewer than T + 1 characters; [`Error::Setting`] for a batch or a
    /// window of 0.
    pub fn new(text: &EncodedText, batch: usize, seq_len: usize, seed: u64) -> Result<Self> {
        Ok(match text {
            EncodedText::Stream(ids) => {
                let batch = fitting(ids.len(), batch, seq_len, None)?;
                Self::Streams(Streams::new(ids.clone(), batch, seq_len, seed)?)
            }
            EncodedText::Documents(set) => {
                let batch = batch.min(set.len());
                Self::Documents(PackedDocuments::new(set.clone(), batch, seq_len, seed)?)
            }
        })
    }

    /// As [`Batches::new`], for a network that reads from both sides: every window has a
    /// [`RightContext`](crate::data::RightContext) with a margin of `margin` ids.
    ///
    /// # Errors
    /// Those of [`Batches::new`], but one text needs T + 2 characters; [`Error::Setting`] for too large a
    /// margin.
    pub fn bidirectional(
        text: &EncodedText,
        batch: usize,
        seq_len: usize,
        margin: usize,
        seed: u64,
    ) -> Result<Self> {
        Ok(match text {
            EncodedText::Stream(ids) => {
                let batch = fitting(ids.len(), batch, seq_len, Some(margin))?;
                let ids = ids.clone();
                Self::Streams(Streams::bidirectional(ids, batch, seq_len, margin, seed)?)
            }
            EncodedText::Documents(set) => {
                let batch = batch.min(set.len());
                let set = set.clone();
                Self::Documents(PackedDocuments::bidirectional(set, batch, seq_len, margin, seed)?)
            }
        })
    }

    /// The next window.
    pub fn next_batch(&mut self) -> Batch {
        match self {
            Self::Streams(streams) => streams.next_batch(),
            Self::Documents(packed) => packed.next_batch(),
        }
    }

    /// B, which may be less than [`Batches::new`] was given.
    pub fn batch(&self) -> usize {
        match self {
            Self::Streams(streams) => streams.batch(),
            Self::Documents(packed) => packed.batch(),
        }
    }

    /// Windows in an epoch.
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

    /// Which window comes next.
    pub fn cursor(&self) -> Cursor {
        match self {
            Self::Streams(streams) => Cursor::Streams(streams.cursor()),
            Self::Documents(packed) => Cursor::Documents(packed.cursor()),
        }
    }

    /// Continues at `cursor`.
    ///
    /// # Errors
    /// [`Error::TrainingState`] for a cursor that does not fit this text, B and T.
    pub fn restore(&mut self, cursor: Cursor) -> Result<()> {
        match &cursor {
            Cursor::Streams(cursor) => ensure_countable("epoch", cursor.epoch)?,
            Cursor::Documents(cursor) => {
                ensure_countable("windows", cursor.windows)?;
                ensure_countable("queue_epoch", cursor.queue_epoch)?;
            }
        }
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
        let short = Batches::new(&text, 64, 10, 1).unwrap_err();
        assert!(short.to_string().contains("has 10 characters"), "{short}");
        let (names, _) = encoded("Ada\nBo\n", Documents::Lines);
        assert_eq!(Batches::new(&names, 64, 10, 1).unwrap().batch(), 2);
        let none = Batches::new(&names, 64, 0, 1).unwrap_err();
        assert!(matches!(none, Error::Setting { name: "seq_len", .. }), "{none:?}");
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
