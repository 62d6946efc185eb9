//! The answer's JSON, whole or in events.

use std::sync::Arc;

use serde::Serialize;

use crate::generate::{FinishReason, LogProbabilities, Token};
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

/// OpenAI's object, in a stream too.
#[derive(Serialize)]
struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    system_fingerprint: &'a str,
    choices: Vec<Choice<'a>>,
    usage: Option<Usage>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    text: &'a str,
    logprobs: Option<LogProbabilities>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
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
        Self {
            id,
            created,
            model,
            fingerprint,
            tokenizer,
            logprobs: job.requests[0].log_probabilities.map(|count| count > 0),
            offsets: job.prompts.iter().flat_map(of_prompt).collect(),
            prompt_tokens: job.requests.iter().map(|request| request.prompt.len()).sum(),
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

    /// An event of a stream.
    pub fn event(&mut self, piece: &Piece) -> String {
        let choice = self.choice(piece);
        self.json(vec![choice], None)
    }

    /// The event of a stream that says what was used; `echoed` ids were the prompts'.
    pub fn usage_event(&self, echoed: usize) -> String {
        self.json(Vec::new(), Some(self.usage(echoed)))
    }

    /// The whole answer, of one piece for each choice.
    pub fn whole(&mut self, mut pieces: Vec<Piece>, echoed: usize) -> String {
        pieces.sort_by_key(|piece| piece.choice);
        let choices = pieces.iter().map(|piece| self.choice(piece)).collect();
        self.json(choices, Some(self.usage(echoed)))
    }

    fn json(&self, choices: Vec<Choice>, usage: Option<Usage>) -> String {
        let completion = Completion {
            id: &self.id,
            object: "text_completion",
            created: self.created,
            model: &self.model,
            system_fingerprint: &self.fingerprint,
            choices,
            usage,
        };
        // Strings, numbers and maps of strings are always JSON.
        serde_json::to_string(&completion).unwrap_or_default()
    }

    fn choice<'a>(&mut self, piece: &'a Piece) -> Choice<'a> {
        self.written += match self.tokenizer.units() {
            Units::Chars => piece.text.chars().count(),
            Units::Bytes => piece.text.len(),
        };
        Choice {
            index: piece.choice,
            text: &piece.text,
            logprobs: self.logprobs(piece.choice, &piece.tokens),
            finish_reason: piece.finish.map(name_of),
        }
    }

    fn logprobs(&mut self, choice: usize, tokens: &[Token]) -> Option<LogProbabilities> {
        let (alternatives, offset) = (self.logprobs?, self.offsets.get_mut(choice)?);
        let columns = LogProbabilities::new(tokens, &self.tokenizer, *offset, alternatives);
        *offset = columns.end;
        Some(columns)
    }

    fn usage(&self, echoed: usize) -> Usage {
        let completion_tokens = self.written.saturating_sub(echoed);
        let total_tokens = self.prompt_tokens + completion_tokens;
        Usage { prompt_tokens: self.prompt_tokens, completion_tokens, total_tokens }
    }
}

fn name_of(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Length => "length",
        FinishReason::EndOfDocument | FinishReason::Stop => "stop",
    }
}
