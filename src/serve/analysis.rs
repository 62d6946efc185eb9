//! `POST /v1/score` and `POST /v1/inspect`: whole texts, read by a model.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Request, State};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::evaluate::{score_both_sides, score_documents, score_text};
use crate::generate::{LogProbabilities, Token};
use crate::inspect::{self, Reading};
use crate::model::Gate;
use crate::serve::app::App;
use crate::serve::body;
use crate::serve::config::Limits;
use crate::serve::guard::RequestLog;
use crate::serve::models::{Loaded, Model};
use crate::serve::problem::Problem;
use crate::text::{Corpus, Documents};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScoreAsked {
    model: Option<String>,
    text: String,
    logprobs: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct ScoreAnswer {
    object: &'static str,
    model: String,
    nats: f64,
    bits_per_character: f64,
    pseudo_likelihood: bool,
    #[serde(flatten)]
    columns: LogProbabilities,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InspectAsked {
    model: Option<String>,
    text: String,
    layer: Option<u64>,
    gate: Option<String>,
    find: Option<bool>,
}

/// Units that are found of each feature.
const FOUND: usize = 1;
/// Most logits that are kept to name alternatives: 128 MB.
const MAX_LOGITS: usize = 1 << 25;

/// Has `work` done on a thread for such work, when it is this request's turn.
pub(super) async fn in_turn<T: Send + 'static>(
    app: &App,
    model: Arc<Loaded>,
    work: impl FnOnce(&Loaded) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let place = app.readings.enter(1).await?;
    let done = tokio::task::spawn_blocking(move || {
        let _place = place;
        let _reading = model.reading.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        work(&model)
    });
    done.await.unwrap_or_else(|_| Err(Problem::broken()))
}

pub(super) async fn score(
    State(app): State<Arc<App>>,
    Extension(log): Extension<RequestLog>,
    request: Request,
) -> Result<Json<ScoreAnswer>, Problem> {
    let Limits { score: most, logprobs: most_alternatives, .. } = app.config.limits;
    let asked: ScoreAsked = body::read(request, &app.config.limits).await?;
    let model = app.models.named(asked.model.as_deref())?;
    log.begin(&model.model.id, app.config.log_prompts.then(|| asked.text.clone()));
    let alternatives = asked.logprobs.unwrap_or(0);
    let alternatives = usize::try_from(alternatives).unwrap_or(usize::MAX);
    if alternatives > most_alternatives {
        let message = format!("`logprobs` is {alternatives}: give {most_alternatives} at most");
        return Err(Problem::field("logprobs", message));
    }
    let text = model.model.read_text("text", &asked.text, most)?;
    let answer = in_turn(&app, model, move |loaded| {
        scored(&loaded.model, &text, alternatives).map_err(|error| Problem::of(error, "text"))
    });
    Ok(Json(answer.await?))
}

fn scored(model: &Model, text: &Corpus, alternatives: usize) -> Result<ScoreAnswer> {
    let (tokenizer, documents) = (&*model.tokenizer, model.config.corpus.documents);
    let parts: Vec<&str> = text.documents(documents).collect();
    // All at once, so that an error names all unknown characters.
    let all = tokenizer.encode(&parts.concat())?;
    let keep = alternatives > 0;
    if keep && all.len().saturating_mul(tokenizer.vocab_size()) > MAX_LOGITS {
        let message = format!(
            "`logprobs` of {} characters of {} kinds are too many: give a shorter text, or leave `logprobs` out",
            all.len(),
            tokenizer.vocab_size()
        );
        return Err(Error::Setting { name: "logprobs", message });
    }
    let ids = parts.iter().map(|part| tokenizer.encode(part));
    let ids: Vec<Vec<u32>> = ids.collect::<Result<_, _>>()?;
    // Of each document.
    let mut documents_tokens: Vec<Vec<Token>> = Vec::with_capacity(parts.len());
    if let Some(network) = &model.bidirectional {
        let score = score_both_sides(network, tokenizer, &ids, keep)?;
        let mut rows = Rows::new(score.logits)?;
        for (ids, nats) in ids.iter().zip(&score.nats) {
            let mut tokens = Vec::with_capacity(ids.len());
            for (id, nats) in ids.iter().zip(nats) {
                let logits = if nats.is_some() { rows.next() } else { None };
                tokens.push(token(*id, *nats, logits, model, alternatives)?);
            }
            documents_tokens.push(tokens);
        }
    } else if documents == Documents::Off {
        let score = score_text(&model.network, tokenizer, &all, keep)?;
        let mut rows = Rows::new(score.logits)?;
        let (mut before, mut tokens) = (None, Vec::with_capacity(all.len()));
        for (id, nats) in all.iter().zip(score.nats) {
            tokens.push(token(*id, nats, before, model, alternatives)?);
            before = rows.next();
        }
        documents_tokens.push(tokens);
    } else {
        let score = score_documents(&model.network, tokenizer, &ids, keep)?;
        let mut rows = Rows::new(score.logits)?;
        let end = tokenizer.end_of_document();
        for (ids, nats) in ids.iter().zip(&score.nats) {
            let (mut before, mut tokens) = (None, Vec::with_capacity(nats.len()));
            for (id, nats) in ids.iter().copied().chain(end).zip(nats) {
                tokens.push(token(id, Some(*nats), before, model, alternatives)?);
                before = if Some(id) == end { None } else { rows.next() };
            }
            documents_tokens.push(tokens);
        }
    }
    let known = documents_tokens.iter().flatten().filter_map(|token| token.log_probability);
    let nats: f64 = known.clone().map(|log| -f64::from(log)).sum();
    let count = known.count();
    let bits = if count == 0 { 0.0 } else { nats / count as f64 / std::f64::consts::LN_2 };
    let mut columns = LogProbabilities { top_logprobs: keep.then(Vec::new), ..Default::default() };
    let starts = starts_of(&parts, text.text());
    for (tokens, start) in documents_tokens.iter().zip(starts) {
        columns.append(LogProbabilities::new(tokens, tokenizer, start, keep));
    }
    Ok(ScoreAnswer {
        object: "score",
        model: model.id.clone(),
        nats,
        bits_per_character: bits,
        pseudo_likelihood: model.bidirectional.is_some(),
        columns,
    })
}

/// Where each of the parts of a text begins in it, in characters.
fn starts_of(parts: &[&str], text: &str) -> Vec<usize> {
    let (mut bytes, mut characters) = (0, 0);
    let start = |part: &&str| {
        // A part is a slice of the text.
        let at = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
        characters += text.get(bytes..at).unwrap_or_default().chars().count();
        bytes = at;
        characters
    };
    parts.iter().map(start).collect()
}

/// The rows of logits `[N, V]`, one after another.
struct Rows {
    logits: Vec<Vec<f32>>,
    next: usize,
}

impl Rows {
    fn new(logits: Option<Tensor>) -> Result<Self> {
        let logits = logits.map(|logits| logits.to_vec2()).transpose()?;
        Ok(Self { logits: logits.unwrap_or_default(), next: 0 })
    }

    fn next(&mut self) -> Option<Vec<f32>> {
        self.next += 1;
        self.logits.get_mut(self.next - 1).map(std::mem::take)
    }
}

fn token(
    id: u32,
    nats: Option<f32>,
    logits: Option<Vec<f32>>,
    model: &Model,
    alternatives: usize,
) -> Result<Token> {
    let log_probability = nats.map(|nats| -nats);
    match logits {
        Some(logits) => {
            let token = Token::new(id, &logits, alternatives, model.tokenizer.unknown())?;
            Ok(Token { log_probability, ..token })
        }
        None => Ok(Token { id, log_probability, top: Vec::new() }),
    }
}

pub(super) async fn inspect(
    State(app): State<Arc<App>>,
    Extension(log): Extension<RequestLog>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let asked: InspectAsked = body::read(request, &app.config.limits).await?;
    let model = app.models.named(asked.model.as_deref())?;
    log.begin(&model.model.id, app.config.log_prompts.then(|| asked.text.clone()));
    let layers = model.model.config.model.layers;
    let layer = usize::try_from(asked.layer.unwrap_or(layers as u64)).unwrap_or(usize::MAX);
    let gate = match asked.gate.as_deref() {
        None => Gate::H,
        Some(name) => {
            let cell = model.model.config.model.cell;
            Gate::named(cell, name).ok_or_else(|| {
                let names: Vec<_> = Gate::of(cell).iter().map(|gate| gate.name()).collect();
                let message = format!("`gate` is {name:?}: a {cell} has {}", names.join(", "));
                Problem::field("gate", message)
            })?
        }
    };
    let text = model.model.read_text("text", &asked.text, app.config.limits.inspect)?;
    let find = asked.find.unwrap_or(false);
    let answer = in_turn(&app, model, move |loaded| {
        let model = &loaded.model;
        inspected(model, &text, layer, gate, find).map_err(|error| Problem::of(error, "text"))
    });
    Ok(Json(answer.await?))
}

fn inspected(model: &Model, text: &Corpus, layer: usize, gate: Gate, find: bool) -> Result<Value> {
    let parts: Vec<&str> = text.documents(model.config.corpus.documents).collect();
    let reading = Reading::of_documents(&model.tokenizer, &parts)?;
    let inspection = inspect::inspect(&model.network, &reading, layer, gate)?;
    let found = match find {
        true => Some(inspect::find(&model.network, &reading, FOUND)?),
        false => None,
    };
    let mut answer = inspection.to_json(found.as_ref());
    answer["model"] = model.id.clone().into();
    Ok(answer)
}
