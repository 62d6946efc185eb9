//! One row of a generator: reads its prompt, then picks and writes id after id.

use std::sync::Arc;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::error::Result;
use crate::generate::logits::Recent;
use crate::generate::output::Output;
use crate::generate::request::{Chunk, FinishReason, Request, RowId, Token};
use crate::generate::sampling::Sampler;
use crate::text::Tokenizer;

#[derive(Clone)]
pub(super) struct Row {
    pub id: RowId,
    request: Arc<Request>,
    /// What it reads before it writes: the prompt, and before it the id that begins a text. At least one id.
    source: Arc<[u32]>,
    /// How many ids of `source` it has read or reads in the next step.
    read: usize,
    /// The prompt's tokens that were read, where they are given.
    prompt_tokens: Vec<Token>,
    /// Rows that begin as copies of this one when it has read its prompt, and the streams that they draw from.
    copies: Vec<(RowId, u64)>,
    rng: ChaCha8Rng,
    recent: Option<Recent>,
    output: Output,
    /// Ids that it may still write.
    left: usize,
    finish: Option<FinishReason>,
    /// Its owner has taken it away.
    gone: bool,
}

impl Row {
    /// Rows for all of `ids`, whose prompt is read once. `start` is the id that stands before the prompt; there is
    /// one where the prompt is empty.
    pub fn new(
        ids: Vec<RowId>,
        request: Arc<Request>,
        start: Option<u32>,
        vocab: usize,
    ) -> Option<Self> {
        let source: Arc<[u32]> = start.iter().chain(&request.prompt).copied().collect();
        let mut rows = ids.into_iter().zip((0..).map(|i| request.stream.wrapping_add(i)));
        let (id, stream) = rows.next()?;
        let mut recent = request.repetition.acts().then(|| Recent::new(request.repetition, vocab));
        if let Some(recent) = &mut recent {
            request.prompt.iter().for_each(|&id| recent.push(id));
        }
        let mut row = Self {
            id,
            source,
            read: 1,
            prompt_tokens: Vec::new(),
            copies: rows.collect(),
            rng: generator(request.seed, stream),
            recent,
            output: Output::new(&request.stop),
            left: request.length,
            finish: None,
            gone: false,
            request,
        };
        if start.is_none() && row.gives_prompt_tokens() {
            let first = Token { id: row.source[0], log_probability: None, top: Vec::new() };
            row.prompt_tokens.push(first);
        }
        Some(row)
    }

    /// The id that it reads first.
    pub fn first_id(&self) -> u32 {
        self.source[0]
    }

    pub fn is_over(&self) -> bool {
        self.finish.is_some() || self.gone && self.copies.is_empty()
    }

    /// Rows that go on: this one and those that will begin as its copies.
    pub fn count(&self) -> usize {
        usize::from(!self.gone && self.finish.is_none()) + self.copies.len()
    }

    /// Takes away the row `id`, if it is this one or one of its copies to be. Says whether it was still there.
    pub fn leave(&mut self, id: RowId) -> bool {
        let copies = self.copies.len();
        self.copies.retain(|(copy, _)| *copy != id);
        if self.copies.len() < copies {
            return true;
        }
        if self.id != id || self.is_over() || self.gone {
            return false;
        }
        self.gone = true;
        true
    }

    /// Takes it and its copies to be away.
    pub fn clear(&mut self) {
        self.gone = true;
        self.copies.clear();
    }

    /// The rows that begin as copies of this one, once it has read its prompt.
    pub fn copied(&mut self) -> Vec<Self> {
        if self.read < self.source.len() {
            return Vec::new();
        }
        let copies = std::mem::take(&mut self.copies);
        let copy = |(id, stream)| {
            let rng = generator(self.request.seed, stream);
            Self { id, rng, gone: false, ..self.clone() }
        };
        copies.into_iter().map(copy).collect()
    }

    /// Goes on by `logits` `[V]`, which it may change: the scores of what follows on what it has read. Returns the
    /// id to be read next; None where nothing may be written.
    pub fn advance(
        &mut self,
        tokenizer: &Tokenizer,
        sampler: &mut Sampler,
        logits: &mut [f32],
    ) -> Result<Option<u32>> {
        self.output.clear();
        if let Some(&id) = self.source.get(self.read) {
            if self.gives_prompt_tokens() {
                let token = self.token(id, logits, tokenizer)?;
                self.prompt_tokens.push(token);
            }
            self.read += 1;
            return Ok(Some(id));
        }
        if self.read == self.source.len() {
            // Only once.
            self.read += 1;
            if self.request.echo {
                let prompt = tokenizer.decode(&self.request.prompt)?;
                self.output.give(&prompt, std::mem::take(&mut self.prompt_tokens));
            }
        }
        if self.left == 0 {
            self.end(FinishReason::Length);
            return Ok(None);
        }
        self.write(tokenizer, sampler, logits).map(Some)
    }

    /// Picks an id by `logits` `[V]` and writes what it stands for.
    fn write(
        &mut self,
        tokenizer: &Tokenizer,
        sampler: &mut Sampler,
        logits: &mut [f32],
    ) -> Result<u32> {
        let network_logits = self.request.log_probabilities.map(|_| logits.to_vec());
        // What cannot be written is never picked.
        if let Some(unknown) = tokenizer.unknown() {
            logits[unknown as usize] = f32::NEG_INFINITY;
        }
        if let Some(recent) = &self.recent {
            recent.penalise(logits);
        }
        for &(id, bias) in &self.request.logit_bias {
            logits[id as usize] += bias;
        }
        let id = sampler.pick(&self.request.sampling, logits, self.rng.random::<f32>())?;
        self.left -= 1;
        if Some(id) == tokenizer.end_of_document() {
            self.end(FinishReason::EndOfDocument);
            return Ok(id);
        }
        if let Some(recent) = &mut self.recent {
            recent.push(id);
        }
        let token = network_logits.map(|logits| self.token(id, &logits, tokenizer)).transpose()?;
        if self.output.write(tokenizer.bytes_of(id), token) {
            self.finish = Some(FinishReason::Stop);
        } else if self.left == 0 {
            self.end(FinishReason::Length);
        }
        Ok(id)
    }

    /// Ends its text, with all that was held back.
    pub fn end(&mut self, reason: FinishReason) {
        self.output.finish();
        self.finish = Some(reason);
    }

    fn gives_prompt_tokens(&self) -> bool {
        self.request.echo && self.request.log_probabilities.is_some()
    }

    /// `id` and the likeliest beside it that can be written.
    fn token(&self, id: u32, logits: &[f32], tokenizer: &Tokenizer) -> Result<Token> {
        let count = self.request.log_probabilities.unwrap_or(0);
        Token::new(id, logits, count, tokenizer.unknown())
    }

    pub fn chunk(&self) -> Chunk<'_> {
        let (text, tokens) = (self.output.text(), self.output.tokens());
        Chunk { row: self.id, text, tokens, finish: self.finish }
    }
}

fn generator(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}
