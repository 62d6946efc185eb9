//! The answer's JSON, whole or in events.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::generate::{FinishReason, LogProbabilities, Token, characters_of};
use crate::serve::completions::asked::Job;
use crate::serve::sink::Piece;
use crate::text::{Tokenizer, Units};

/// What all answers to one request share.
pub(super) struct Answer {
    id: String,
    created: u64,
    model: String,
    fingerprint: String,
    tokenizer: Arc<Tokenizer>,
    /// With columns of log-probabilities, and with alternatives in them.
    logprobs: Option<bool>,
    /// Where in its text each choice goes on, in characters.
    offsets: Vec<usize>,
    prompt_tokens: usize,
    /// Ids that were given, those of an echoed prompt among them.
    written: usize,
}

impl Answer {
    pub fn new(
        id: String,
        created: u64,
        (model, fingerprint): (String, String),
        tokenizer: Arc<Tokenizer>,
        job: &Job,
    ) -> Self {
        let echo = job.requests.iter().any(|request| request.echo);
        let of_prompt = |prompt: &String| {
            let start = if echo { 0 } else { prompt.chars().count() };
            std::iter::repeat_n(start, job.n)
        };
        let read: usize = job.requests.iter().map(|request| request.prompt.len()).sum();
        Self {
            id,
            created,
            model,
            fingerprint,
            tokenizer,
            logprobs: job.requests[0].log_probabilities.map(|count| count > 0),
            offsets: job.prompts.iter().flat_map(of_prompt).collect(),
            prompt_tokens: read,
            written: 0,
        }
    }

    /// How many texts there are.
    pub fn choices(&self) -> usize {
        self.offsets.len()
    }

    /// Ids that were given, those of an echoed prompt among them.
    pub fn written(&self) -> usize {
        self.written
    }

    fn count(&mut self, text: &str) {
        self.written += match self.tokenizer.units() {
            Units::Chars => text.chars().count(),
            Units::Bytes => text.len(),
        };
    }

    fn object(&self, choices: Value, usage: Value) -> Value {
        json!({
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "choices": choices,
            "usage": usage,
        })
    }

    fn choice(&mut self, piece: &Piece) -> Value {
        self.count(&piece.text);
        let logprobs = self.logprobs(piece.choice, &piece.tokens);
        json!({
            "index": piece.choice,
            "text": piece.text,
            "logprobs": logprobs,
            "finish_reason": piece.finish.map(name_of),
        })
    }

    fn logprobs(&mut self, choice: usize, tokens: &[Token]) -> Value {
        let (Some(alternatives), Some(offset)) = (self.logprobs, self.offsets.get_mut(choice))
        else {
            return Value::Null;
        };
        let columns = LogProbabilities::new(tokens, &self.tokenizer, *offset, alternatives);
        *offset +=
            tokens.iter().map(|token| characters_of(token.id, &self.tokenizer)).sum::<usize>();
        serde_json::to_value(columns).unwrap_or_default()
    }

    fn usage(&self, echoed: usize) -> Value {
        let written = self.written - echoed.min(self.written);
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": written,
            "total_tokens": self.prompt_tokens + written,
        })
    }

    /// An event of a stream.
    pub fn event(&mut self, piece: &Piece) -> Value {
        let choice = self.choice(piece);
        self.object(json!([choice]), Value::Null)
    }

    /// The event of a stream that says what was used; `echoed` ids were the prompts'.
    pub fn usage_event(&self, echoed: usize) -> Value {
        self.object(json!([]), self.usage(echoed))
    }

    /// The whole answer, of one piece for each choice.
    pub fn whole(&mut self, mut pieces: Vec<Piece>, echoed: usize) -> Value {
        pieces.sort_by_key(|piece| piece.choice);
        let choices: Vec<Value> = pieces.iter().map(|piece| self.choice(piece)).collect();
        self.object(choices.into(), self.usage(echoed))
    }
}

fn name_of(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Length => "length",
        FinishReason::EndOfDocument | FinishReason::Stop => "stop",
    }
}
