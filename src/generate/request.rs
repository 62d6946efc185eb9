//! What is asked of one row of a generator, and what the row gives.

use crate::generate::sampling::SamplingConfig;

/// One text to write.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Ids to go on from. In documents mode they begin a document; elsewhere, with no prompt, the text
    /// begins as after a line's end.
    pub prompt: Vec<u32>,
    /// Most ids to write after the prompt.
    pub length: usize,
    /// How each id is picked.
    pub sampling: SamplingConfig,
    /// Seeds the generator (ChaCha8) of the row's random numbers.
    pub seed: u64,
    /// Which of the generator's streams of numbers the row draws from: texts of one seed and different
    /// streams are independent of each other.
    pub stream: u64,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            prompt: Vec::new(),
            // About ten lines of verse.
            length: 500,
            sampling: SamplingConfig::default(),
            seed: 1,
            stream: 0,
        }
    }
}

/// Names a row of one generator; never used again after the row has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(pub(super) u64);

/// Why a row stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// It has written as many ids as its request allows.
    Length,
    /// The model ended the document.
    EndOfDocument,
}

/// What a row wrote in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// The row that wrote it.
    pub row: RowId,
    /// Whole characters; empty while one is incomplete, and where the model ended the document.
    pub text: &'a str,
    /// Set on a row's last chunk; the row has gone by the next step.
    pub finish: Option<FinishReason>,
}
