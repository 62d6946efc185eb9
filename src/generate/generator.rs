//! Model → text, one character at a time, for one or many samples at once.

use anyhow::{Result, ensure};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::generate::sampling::{Sampler, SamplingConfig};
use crate::generate::utf8::Utf8Stream;
use crate::model::{Network, Session};
use crate::text::Tokenizer;

/// What to generate.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateConfig {
    /// Most ids that one sample may have after its prompt.
    pub length: usize,
    /// Samples side by side.
    pub samples: usize,
    pub sampling: SamplingConfig,
    /// Sample i draws from stream i of the generator that this seeds.
    pub seed: u64,
}

impl Default for GenerateConfig {
    fn default() -> Self {
        Self {
            // About ten lines of verse.
            length: 500,
            samples: 1,
            sampling: SamplingConfig::default(),
            seed: 1,
        }
    }
}

/// A piece of one sample's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Which sample it belongs to, from 0.
    pub sample: usize,
    /// Whole characters; may be empty while one is incomplete.
    pub text: &'a str,
}

struct Sample {
    rng: ChaCha8Rng,
    utf8: Utf8Stream,
    ended: bool,
}

/// Writes text with a network.
pub struct Generator<'a> {
    tokenizer: &'a Tokenizer,
    session: Session,
    sampler: Sampler,
    samples: Vec<Sample>,
    /// Scores of every sample's next id, [samples, V].
    logits: Vec<f32>,
    /// The id that each sample reads next.
    ids: Vec<u32>,
    /// The text of one piece.
    text: String,
    left: usize,
}

impl<'a> Generator<'a> {
    /// Reads `prompt`, from the beginning of a document in documents mode.
    ///
    /// With no prompt the text begins as after a line's end.
    ///
    /// # Errors
    /// Settings outside their range, or a prompt id outside the vocabulary.
    pub fn new(
        network: &'a Network,
        tokenizer: &'a Tokenizer,
        prompt: &[u32],
        config: &GenerateConfig,
    ) -> Result<Self> {
        ensure!(
            (1..=1 << 16).contains(&config.samples),
            "--num is {}: give a number from 1 to 65536",
            config.samples
        );
        let vocab = tokenizer.vocab_size();
        if let Some(id) = prompt.iter().find(|id| **id as usize >= vocab) {
            anyhow::bail!("the prompt's id {id} is outside the vocabulary of {vocab} ids");
        }
        let samples = (0..config.samples)
            .map(|index| {
                let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
                rng.set_stream(index as u64);
                Sample { rng, utf8: Utf8Stream::default(), ended: false }
            })
            .collect();
        let mut generator = Self {
            tokenizer,
            session: network.pack()?.session(config.samples)?,
            sampler: Sampler::new(config.sampling)?,
            samples,
            logits: Vec::new(),
            ids: vec![0; config.samples],
            text: String::new(),
            left: config.length,
        };
        let start =
            tokenizer.end_of_document().or_else(|| prompt.is_empty().then(|| beginning(tokenizer)));
        for id in start.iter().chain(prompt) {
            generator.ids.fill(*id);
            generator.read_ids()?;
        }
        Ok(generator)
    }

    fn read_ids(&mut self) -> Result<()> {
        let logits = self.session.step(&self.ids)?;
        self.logits.clear();
        self.logits.extend_from_slice(logits);
        // What cannot be written is never picked.
        if let Some(unknown) = self.tokenizer.unknown() {
            for row in self.logits.chunks_exact_mut(self.tokenizer.vocab_size()) {
                row[unknown as usize] = f32::NEG_INFINITY;
            }
        }
        Ok(())
    }

    /// Whether the model itself ended sample `index` (documents mode).
    pub fn ended(&self, index: usize) -> bool {
        self.samples[index].ended
    }

    /// Picks one id for every sample that goes on and hands its text to `write`.
    /// Returns false when all is written.
    ///
    /// # Errors
    /// Unusable scores, or what `write` returns.
    pub fn advance(&mut self, mut write: impl FnMut(Piece) -> Result<()>) -> Result<bool> {
        if self.left == 0 || self.samples.iter().all(|sample| sample.ended) {
            return Ok(false);
        }
        let vocab = self.tokenizer.vocab_size();
        for (index, sample) in self.samples.iter_mut().enumerate() {
            if sample.ended {
                continue;
            }
            let logits = &self.logits[index * vocab..(index + 1) * vocab];
            let id = self.sampler.pick(logits, sample.rng.random::<f32>())?;
            self.ids[index] = id;
            let text = &mut self.text;
            text.clear();
            if Some(id) == self.tokenizer.end_of_document() {
                sample.ended = true;
            } else {
                sample.utf8.push(self.tokenizer.bytes_of(id), text);
            }
            if sample.ended || self.left == 1 {
                sample.utf8.finish(text);
            }
            write(Piece { sample: index, text })?;
        }
        self.left -= 1;
        if self.left > 0 {
            self.read_ids()?;
        }
        Ok(true)
    }

    /// All samples, whole.
    pub fn collect(mut self) -> Result<Vec<String>> {
        let mut texts = vec![String::new(); self.samples.len()];
        while self.advance(|piece| {
            texts[piece.sample].push_str(piece.text);
            Ok(())
        })? {}
        Ok(texts)
    }
}

/// What stands before the first character where no prompt does: a line's end, if the text has lines.
fn beginning(tokenizer: &Tokenizer) -> u32 {
    ["\n", " "].iter().find_map(|text| tokenizer.encode(text).ok()?.first().copied()).unwrap_or(0)
}
