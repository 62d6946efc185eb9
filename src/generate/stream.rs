//! The simple cases: one text as it is written, and whole texts.

use std::iter::FusedIterator;
use std::sync::Arc;

use crate::error::{Error, Result, ensure};
use crate::generate::generator::Generator;
use crate::generate::request::{FinishReason, Request, Token};
use crate::model::PackedNetwork;
use crate::text::Tokenizer;

/// Most texts that [`samples`] writes side by side.
pub const MAX_SAMPLES: usize = 1 << 16;

/// A text that was written to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Without the prompt, unless `echo` asked for it.
    pub text: String,
    /// The ids of the text, where their log-probabilities were asked for.
    pub tokens: Option<Vec<Token>>,
    /// Why it ended.
    pub finish: FinishReason,
}

/// The text of one request, as it is written.
///
/// ```
/// # fn main() -> chargru::Result<()> {
/// use chargru::checkpoint::Checkpoint;
/// use chargru::generate::{Request, stream};
///
/// let checkpoint = Checkpoint::open("checkpoints/demo".as_ref(), &chargru::Device::Cpu)?;
/// let network = checkpoint.network(&chargru::Device::Cpu)?.pack()?;
/// for text in stream(&network, checkpoint.tokenizer, &Request::default())? {
///     print!("{}", text?);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of [`Generator::new`] and [`Generator::join`]; the chunks can be those of
/// [`Generator::advance`].
pub fn stream(
    network: &PackedNetwork,
    tokenizer: impl Into<Arc<Tokenizer>>,
    request: &Request,
) -> Result<TextStream> {
    let mut generator = Generator::new(network.clone(), tokenizer)?;
    generator.join(request)?;
    Ok(TextStream { generator, finish: None })
}

/// Chunks of one text, each of at least one character; made by [`stream`]. After an error it ends.
pub struct TextStream {
    generator: Generator,
    finish: Option<FinishReason>,
}

impl TextStream {
    /// Why the text ended; None while it goes on.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finish
    }

    /// The next chunk; empty while a character is incomplete.
    fn advance(&mut self) -> Result<String> {
        let mut text = String::new();
        for chunk in self.generator.advance()? {
            text.push_str(chunk.text);
            self.finish = chunk.finish;
        }
        Ok(text)
    }
}

impl Iterator for TextStream {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.generator.is_empty() {
            match self.advance() {
                Ok(text) if text.is_empty() => {}
                Ok(text) => return Some(Ok(text)),
                Err(error) => {
                    self.generator.clear();
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

impl FusedIterator for TextStream {}

/// `count` whole texts of one request; the prompt is read once. Text i draws from stream
/// `request.stream + i` of the seed.
///
/// # Errors
/// Those of [`Generator::new`], [`Generator::join`] and [`Generator::advance`]; [`Error::Setting`] for a
/// `count` outside 1 to [`MAX_SAMPLES`].
pub fn samples(
    network: &PackedNetwork,
    tokenizer: impl Into<Arc<Tokenizer>>,
    request: &Request,
    count: usize,
) -> Result<Vec<Sample>> {
    ensure!(
        (1..=MAX_SAMPLES).contains(&count),
        Error::out_of_range("samples", count, format!("give a number from 1 to {MAX_SAMPLES}"))
    );
    let mut generator = Generator::new(network.clone(), tokenizer)?;
    let rows = generator.join_many(request, count)?;
    let tokens = request.log_probabilities.map(|_| Vec::new());
    let empty = Sample { text: String::new(), tokens, finish: FinishReason::Length };
    let mut samples = vec![empty; rows.len()];
    while !generator.is_empty() {
        for chunk in generator.advance()? {
            // Rows are numbered in the order in which they joined.
            let sample = &mut samples[(chunk.row.0 - rows[0].0) as usize];
            sample.text.push_str(chunk.text);
            if let Some(tokens) = &mut sample.tokens {
                tokens.extend_from_slice(chunk.tokens);
            }
            sample.finish = chunk.finish.unwrap_or(sample.finish);
        }
    }
    Ok(samples)
}
