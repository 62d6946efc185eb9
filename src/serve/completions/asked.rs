//! What is asked for, checked.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::generate::{Repetition, Request, SamplingConfig};
use crate::serve::body::Texts;
use crate::serve::config::{Limits, ServeConfig};
use crate::serve::models::Loaded;
use crate::serve::problem::Problem;

/// The body of a request. What is null is as if it were not there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    pub model: Option<String>,
    prompt: Option<Texts>,
    max_tokens: Option<u64>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<u64>,
    min_p: Option<f32>,
    repetition_penalty: Option<f32>,
    repetition_window: Option<u64>,
    n: Option<u64>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    stop: Option<Texts>,
    seed: Option<Seed>,
    logprobs: Option<u64>,
    echo: Option<bool>,
    logit_bias: Option<BTreeMap<String, f32>>,
    /// Whom the caller asks for; not used.
    #[serde(rename = "user")]
    _user: Option<String>,
    // Of OpenAI's, and not supported.
    best_of: Option<Value>,
    frequency_penalty: Option<Value>,
    presence_penalty: Option<Value>,
    suffix: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamOptions {
    include_usage: Option<bool>,
    #[serde(rename = "include_obfuscation")]
    _include_obfuscation: Option<bool>,
}

/// OpenAI's may be negative.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
enum Seed {
    Positive(u64),
    Negative(i64),
}

/// What will be written.
#[derive(Debug)]
pub(super) struct Job {
    /// One for each prompt, each for `n` texts.
    pub requests: Vec<Request>,
    /// The prompts as they were read.
    pub prompts: Vec<String>,
    pub n: usize,
    pub stream: bool,
    /// Ends a stream with what was used.
    pub include_usage: bool,
}

impl Asked {
    /// Checks everything, and reads the prompts. `seed` is taken where none is asked for.
    pub fn job(&self, model: &Loaded, limits: &Limits, seed: u64) -> Result<Job, Problem> {
        let n = bounded("n", self.n, 1, 1, limits.n)?;
        self.refuse_unsupported(n)?;
        let texts = match &self.prompt {
            Some(Texts(texts)) if texts.is_empty() => {
                return Err(Problem::field("prompt", "`prompt` is an empty list: give a text"));
            }
            Some(Texts(texts)) if texts.len() > limits.n => {
                let (given, most) = (texts.len(), limits.n);
                let message = format!("`prompt` has {given} texts: give {most} at most");
                return Err(Problem::field("prompt", message));
            }
            Some(Texts(texts)) => texts.clone(),
            None => vec![String::new()],
        };
        let count = n * texts.len();
        if count > limits.rows {
            let message =
                format!("{count} texts are asked for: {} are written at most", limits.rows);
            return Err(Problem::field("n", message));
        }
        let request = self.request(limits, seed)?;
        let mut job = Job {
            requests: Vec::new(),
            prompts: Vec::new(),
            n,
            stream: self.stream.unwrap_or(false),
            include_usage: self.includes_usage()?,
        };
        for (index, text) in texts.iter().enumerate() {
            let (prompt, ids) = model.model.read_prompt(text, limits.prompt)?;
            job.prompts.push(prompt);
            job.requests.push(Request {
                prompt: ids,
                // Prompts of one request are independent of each other.
                stream: (index * n) as u64,
                ..request.clone()
            });
        }
        let ids = |request: &Request| {
            request.length + if request.echo { request.prompt.len() } else { 0 }
        };
        let ids = n * job.requests.iter().map(ids).sum::<usize>();
        if request.log_probabilities.is_some() && !job.stream && ids > limits.whole_logprobs {
            let message = format!(
                "`logprobs` of {ids} characters are asked for at once: {} at most; ask for fewer, or with `stream`",
                limits.whole_logprobs
            );
            return Err(Problem::field("logprobs", message));
        }
        for request in &job.requests {
            let vocab = model.model.tokenizer.vocab_size();
            request.validate(vocab).map_err(|error| Problem::of(error, "prompt"))?;
        }
        Ok(job)
    }

    /// All but the prompt.
    fn request(&self, limits: &Limits, seed: u64) -> Result<Request, Problem> {
        let repetition = Repetition::default();
        let window = bounded(
            "repetition_window",
            self.repetition_window,
            repetition.window,
            0,
            Repetition::MAX_WINDOW,
        )?;
        let logprobs = match self.logprobs {
            None => None,
            some => Some(bounded("logprobs", some, 0, 0, limits.logprobs)?),
        };
        let top_k = match self.top_k {
            None => None,
            some => Some(bounded("top_k", some, 1, 1, usize::MAX)?),
        };
        Ok(Request {
            prompt: Vec::new(),
            length: bounded("max_tokens", self.max_tokens, 16, 0, limits.max_tokens)?,
            sampling: SamplingConfig {
                temperature: self.temperature.unwrap_or(1.0),
                top_k,
                top_p: self.top_p.unwrap_or(1.0),
                min_p: self.min_p.unwrap_or(0.0),
            },
            repetition: Repetition {
                penalty: self.repetition_penalty.unwrap_or(repetition.penalty),
                window,
            },
            logit_bias: self.logit_bias()?,
            stop: self.stop()?,
            echo: self.echo.unwrap_or(false),
            log_probabilities: logprobs,
            seed: match self.seed {
                Some(Seed::Positive(seed)) => seed,
                Some(Seed::Negative(seed)) => seed as u64,
                None => seed,
            },
            stream: 0,
        })
    }

    fn logit_bias(&self) -> Result<Vec<(u32, f32)>, Problem> {
        let of = |(id, bias): (&String, &f32)| {
            let id: u32 = id.parse().map_err(|_| {
                let message = format!("`logit_bias` has the key {id:?}: give the number of an id");
                Problem::field("logit_bias", message)
            })?;
            if !(-100.0..=100.0).contains(bias) {
                let message =
                    format!("`logit_bias` of {id} is {bias}: give a number from -100 to 100");
                return Err(Problem::field("logit_bias", message));
            }
            Ok((id, *bias))
        };
        self.logit_bias.iter().flatten().map(of).collect()
    }

    fn stop(&self) -> Result<Vec<String>, Problem> {
        let Some(Texts(stops)) = &self.stop else { return Ok(Vec::new()) };
        let (most, longest) = (ServeConfig::MAX_STOPS, ServeConfig::MAX_STOP_LENGTH);
        if stops.len() > most {
            let message = format!("`stop` has {} texts: give {most} at most", stops.len());
            return Err(Problem::field("stop", message));
        }
        if let Some(stop) = stops.iter().find(|stop| stop.chars().nth(longest).is_some()) {
            let characters = stop.chars().count();
            let message =
                format!("a text of `stop` has {characters} characters: give {longest} at most");
            return Err(Problem::field("stop", message));
        }
        Ok(stops.clone())
    }

    fn includes_usage(&self) -> Result<bool, Problem> {
        match &self.stream_options {
            Some(_) if self.stream != Some(true) => {
                let message = "`stream_options` is for `stream` true: leave it out";
                Err(Problem::field("stream_options", message))
            }
            Some(options) => Ok(options.include_usage.unwrap_or(false)),
            None => Ok(false),
        }
    }

    /// Refuses what is not supported, unless it changes nothing: some clients send every field.
    fn refuse_unsupported(&self, n: usize) -> Result<(), Problem> {
        let is = |value: &Value, neutral: f64| value.as_f64() == Some(neutral);
        let fields = [
            (
                "best_of",
                self.best_of.as_ref().filter(|v| !is(v, n as f64)),
                "ask for several texts with `n`",
            ),
            (
                "frequency_penalty",
                self.frequency_penalty.as_ref().filter(|v| !is(v, 0.0)),
                "there is `repetition_penalty`",
            ),
            (
                "presence_penalty",
                self.presence_penalty.as_ref().filter(|v| !is(v, 0.0)),
                "there is `repetition_penalty`",
            ),
            (
                "suffix",
                self.suffix.as_ref().filter(|v| v.as_str() != Some("")),
                "a bidirectional model fills gaps at /v1/fill",
            ),
        ];
        match fields.into_iter().find(|(_, value, _)| value.is_some()) {
            Some((name, _, remedy)) => {
                Err(Problem::field(name, format!("`{name}` is not supported: {remedy}")))
            }
            None => Ok(()),
        }
    }
}

/// A whole number within its bounds.
fn bounded(
    name: &'static str,
    value: Option<u64>,
    usual: usize,
    least: usize,
    most: usize,
) -> Result<usize, Problem> {
    let Some(value) = value else { return Ok(usual) };
    match usize::try_from(value) {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        _ if most == usize::MAX => {
            Err(Problem::field(name, format!("`{name}` is {value}: give a number from {least}")))
        }
        _ => Err(Problem::field(
            name,
            format!("`{name}` is {value}: give a number from {least} to {most}"),
        )),
    }
}
