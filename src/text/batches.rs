//! What training and evaluation draw from: an encoded text, its split, its batches. One face for
//! streams and for documents.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::corpus::Corpus;
use super::documents::{DocumentSet, Documents};
use super::evaluation::Evaluation;
use super::ids::IdSlice;
use super::lanes::{DocumentCursor, DocumentLanes};
use super::streams::{StreamCursor, Streams, fitting_batch};
use super::tokenizer::Tokenizer;

/// One step's window of B streams or lanes, all `[T, B]` time-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub inputs: Vec<u32>,
    /// The id after each input.
    pub targets: Vec<u32>,
    /// 1 where the state that enters the step must be zero: a document begins. None for streams.
    pub resets: Option<Vec<u8>>,
    /// T
    pub t: usize,
    /// B
    pub b: usize,
    /// The first window of an epoch.
    pub new_epoch: bool,
    /// The state that enters this window must be zero in every row.
    pub fresh_state: bool,
}

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
    /// Characters outside the vocabulary (as [`super::UnknownCharacters`]); no document; documents
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

    /// Batches without end. B is lowered to what a short text can fill (see [`Batches::batch`]):
    /// one window a stream, one document a lane.
    ///
    /// # Errors
    /// Fewer than T + 1 characters of one text; a batch or window of 0.
    pub fn batches(&self, batch: usize, seq_len: usize, seed: u64) -> Result<Batches> {
        Ok(match self {
            Self::Stream(ids) => {
                let batch = fitting_batch(ids.len(), batch, seq_len)?;
                Batches::Streams(Streams::new(ids.clone(), batch, seq_len, seed)?)
            }
            Self::Documents(set) => {
                let batch = batch.min(set.len());
                Batches::Documents(DocumentLanes::new(set.clone(), batch, seq_len, seed)?)
            }
        })
    }

    /// Every target once, in windows of at most `seq_len` steps.
    ///
    /// # Errors
    /// No target at all; a window of 0.
    pub fn evaluation(&self, seq_len: usize) -> Result<Evaluation> {
        Evaluation::new(self.clone(), seq_len)
    }
}

/// The batches of a training run: the same for the same text, B, T and seed, on every machine.
#[derive(Clone, Debug)]
pub enum Batches {
    Streams(Streams),
    Documents(DocumentLanes),
}

/// Where a run is in its text; with what made the [`Batches`], it continues to the bit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cursor {
    Streams(StreamCursor),
    Documents(DocumentCursor),
}

impl Batches {
    pub fn next_batch(&mut self) -> Batch {
        match self {
            Self::Streams(streams) => streams.next_batch(),
            Self::Documents(lanes) => lanes.next_batch(),
        }
    }

    /// B, which may be less than was asked for.
    pub fn batch(&self) -> usize {
        match self {
            Self::Streams(streams) => streams.batch(),
            Self::Documents(lanes) => lanes.batch(),
        }
    }

    pub fn steps_per_epoch(&self) -> usize {
        match self {
            Self::Streams(streams) => streams.steps_per_epoch(),
            Self::Documents(lanes) => lanes.steps_per_epoch(),
        }
    }

    /// Epochs completed.
    pub fn epoch(&self) -> u64 {
        match self {
            Self::Streams(streams) => streams.epoch(),
            Self::Documents(lanes) => lanes.epoch(),
        }
    }

    pub fn cursor(&self) -> Cursor {
        match self {
            Self::Streams(streams) => Cursor::Streams(streams.cursor()),
            Self::Documents(lanes) => Cursor::Documents(lanes.cursor()),
        }
    }

    /// # Errors
    /// A cursor that does not fit this text, B and T.
    pub fn restore(&mut self, cursor: Cursor) -> Result<()> {
        match (self, cursor) {
            (Self::Streams(streams), Cursor::Streams(cursor)) => streams.restore(cursor),
            (Self::Documents(lanes), Cursor::Documents(cursor)) => lanes.restore(cursor),
            _ => anyhow::bail!(
                "the training state was saved with another --documents: resume with the one it had"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{UnknownCharacters, VocabularyOptions};

    fn encoded(text: &str, documents: Documents) -> (EncodedText, Tokenizer) {
        let options = VocabularyOptions { documents, ..Default::default() };
        let (tokenizer, _) = Tokenizer::build(text, &options).unwrap();
        let corpus = Corpus::from_text("x", text);
        (EncodedText::new(corpus, &tokenizer, documents).unwrap(), tokenizer)
    }

    fn text_of(text: &EncodedText, tokenizer: &Tokenizer) -> String {
        let EncodedText::Stream(ids) = text else { panic!("documents") };
        tokenizer.decode(&ids.iter().collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn the_last_part_of_a_text_validates() {
        let (text, tokenizer) = encoded("The quick brown fox", Documents::Off);
        let (train, validation) = text.clone().split(0.25, 1).unwrap();
        assert_eq!(text_of(&train, &tokenizer), "The quick brown");
        assert_eq!(text_of(validation.as_ref().unwrap(), &tokenizer), " fox");
        assert!(text.split(0.0, 1).unwrap().1.is_none());
    }

    #[test]
    fn a_validation_part_that_cannot_be_is_an_error() {
        let (text, _) = encoded("0123456789", Documents::Off);
        let error = |fraction| text.clone().split(fraction, 1).unwrap_err().to_string();
        let short = error(0.1);
        assert!(short.contains("--val-fraction 0.1 of 10 characters leaves 1"), "{short}");
        for fraction in [1.0, -0.1, f64::NAN, f64::INFINITY] {
            assert!(error(fraction).contains("at least 0 and below 1"));
        }
    }

    #[test]
    fn a_short_text_lowers_the_batch() {
        let (text, _) = encoded("0123456789", Documents::Off);
        assert_eq!(text.batches(64, 3, 1).unwrap().batch(), 3);
        assert!(text.batches(64, 10, 1).is_err());
        let (names, _) = encoded("Ada\nBo\n", Documents::Lines);
        assert_eq!(names.batches(64, 10, 1).unwrap().batch(), 2);
        assert!(names.batches(64, 0, 1).is_err());
        let huge = names.batches(64, usize::MAX, 1).unwrap_err();
        assert!(huge.to_string().contains("lower one of them"));
    }

    #[test]
    fn cursors_go_through_json_and_know_their_kind() {
        let (text, _) = encoded("0123456789", Documents::Off);
        let (names, _) = encoded("Ada\nBo\n", Documents::Lines);
        let mut streams = text.batches(2, 2, 1).unwrap();
        let mut lanes = names.batches(2, 2, 1).unwrap();
        for batches in [&mut streams, &mut lanes] {
            batches.next_batch();
            let json = serde_json::to_string(&batches.cursor()).unwrap();
            let cursor: Cursor = serde_json::from_str(&json).unwrap();
            let expected = batches.next_batch();
            batches.restore(cursor).unwrap();
            assert_eq!(batches.next_batch(), expected);
        }
        assert!(streams.restore(lanes.cursor()).unwrap_err().to_string().contains("--documents"));
    }

    #[test]
    fn predictions_and_their_bytes_are_counted() {
        let (text, tokenizer) = encoded("été!", Documents::Off);
        assert_eq!((text.len(), text.predictions()), (4, 3));
        assert_eq!(text.predicted_bytes(&tokenizer), 4); // all but the first é
        let (names, tokenizer) = encoded("été\nab\n", Documents::Lines);
        assert_eq!((names.len(), names.predictions()), (5, 7));
        assert_eq!(names.predicted_bytes(&tokenizer), 7);
    }

    #[test]
    fn a_caller_can_tell_unknown_characters_apart() {
        let (_, tokenizer) = encoded("abc", Documents::Off);
        let corpus = Corpus::from_text("x", "abcd");
        let error = EncodedText::new(corpus, &tokenizer, Documents::Off).unwrap_err();
        assert_eq!(error.downcast_ref::<UnknownCharacters>().unwrap().characters, ['d']);
    }
}
