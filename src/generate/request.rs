//! What is asked of one row of a generator, and what the row gives.

use crate::error::{Error, Result, ensure};
use crate::generate::config::SamplingConfig;

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
    /// Makes what was written lately less likely; acts before everything else.
    pub repetition: Repetition,
    /// Added to the logits of these ids, after the repetition penalty and before the temperature.
    pub logit_bias: Vec<(u32, f32)>,
    /// Texts at which the row ends; none of them is given.
    pub stop: Vec<String>,
    /// Gives the prompt too, as it was read.
    pub echo: bool,
    /// Gives the log-probability of each id, and so many of the likeliest beside it: those of the network itself,
    /// before penalty, bias, temperature and filters.
    pub log_probabilities: Option<usize>,
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
            repetition: Repetition::default(),
            logit_bias: Vec::new(),
            stop: Vec::new(),
            echo: false,
            log_probabilities: None,
            seed: 1,
            stream: 0,
        }
    }
}

impl Request {
    /// Checks it for a vocabulary of so many ids.
    ///
    /// # Errors
    /// [`Error::Setting`] for a setting outside its range, [`Error::Vocabulary`] for an id outside the vocabulary.
    pub fn validate(&self, vocab: usize) -> Result<()> {
        self.sampling.validate()?;
        self.repetition.validate()?;
        let outside = |id: &u32| *id as usize >= vocab;
        if let Some(id) = self.prompt.iter().copied().find(outside) {
            let message = format!("the prompt's id {id} is outside the vocabulary of {vocab} ids");
            return Err(Error::vocabulary(message));
        }
        for &(id, bias) in &self.logit_bias {
            ensure!(
                !outside(&id),
                Error::setting(
                    "logit_bias",
                    format!("`logit_bias` names the id {id}: the vocabulary ends at {}", vocab - 1)
                )
            );
            ensure!(
                bias.is_finite(),
                Error::out_of_range("logit_bias", bias, "give a finite number, such as -100")
            );
        }
        ensure!(
            self.stop.iter().all(|stop| !stop.is_empty()),
            Error::setting("stop", "a text of `stop` is empty: leave it out")
        );
        Ok(())
    }
}

/// Makes ids less likely that were read or written lately.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Repetition {
    /// Divides logits above 0 and multiplies those below; 1 for none.
    pub penalty: f32,
    /// How many ids back it looks; 0 for none.
    pub window: usize,
}

impl Default for Repetition {
    fn default() -> Self {
        Self { penalty: 1.0, window: 64 }
    }
}

impl Repetition {
    /// Furthest that it looks back.
    pub const MAX_WINDOW: usize = 1 << 16;

    fn validate(&self) -> Result<()> {
        ensure!(
            (0.1..=10.0).contains(&self.penalty),
            Error::out_of_range(
                "repetition_penalty",
                self.penalty,
                "give a number from 0.1 to 10; 1 is none, 1.1 is usual"
            )
        );
        ensure!(
            self.window <= Self::MAX_WINDOW,
            Error::out_of_range(
                "repetition_window",
                self.window,
                format!("give a number of characters up to {}", Self::MAX_WINDOW)
            )
        );
        Ok(())
    }

    /// Whether it changes anything.
    pub(super) fn acts(&self) -> bool {
        self.penalty != 1.0 && self.window > 0
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
    /// A stop text was complete.
    Stop,
}

/// An id that was written, or read as part of the prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub id: u32,
    /// In nats; None for the first of a prompt that nothing precedes.
    pub log_probability: Option<f32>,
    /// The likeliest ids in its place and their log-probabilities, falling.
    pub top: Vec<(u32, f32)>,
}

/// What a row wrote in one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chunk<'a> {
    /// The row that wrote it.
    pub row: RowId,
    /// Whole characters; empty while the prompt is read, while a character is incomplete or may begin a stop text,
    /// and where the model ended the document.
    pub text: &'a str,
    /// The ids of `text`, where their log-probabilities were asked for.
    pub tokens: &'a [Token],
    /// Set on a row's last chunk; the row has gone by the next step.
    pub finish: Option<FinishReason>,
}
