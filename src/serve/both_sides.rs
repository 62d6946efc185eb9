//! `POST /v1/fill` and `POST /v1/proofread`: what a bidirectional model can.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Request, State};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::Error;
use crate::fill::{FillOptions, Filler};
use crate::model::BidirectionalNetwork;
use crate::proofread::{Checked, FALSE_ALARMS, Proofreader};
use crate::serve::analysis::in_turn;
use crate::serve::app::App;
use crate::serve::body;
use crate::serve::guard::RequestLog;
use crate::serve::models::{Loaded, Model};
use crate::serve::problem::Problem;
use crate::text::{Corpus, Documents};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FillAsked {
    model: Option<String>,
    text: String,
    max_gap: Option<u64>,
    num: Option<u64>,
    temperature: Option<f64>,
    seed: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProofreadAsked {
    model: Option<String>,
    text: String,
    false_alarms: Option<f64>,
    threshold: Option<f64>,
}

/// Most fillings of one request.
const MAX_FILLINGS: u64 = 64;

/// The model of this name, if it reads both sides; else the first that does where none is named.
fn of_both_sides(app: &App, id: Option<&str>) -> Result<Arc<Loaded>, Problem> {
    let named = app.models.named(id)?;
    if named.model.bidirectional.is_some() {
        return Ok(named);
    }
    let other = app.models.all().find(|loaded| loaded.model.bidirectional.is_some());
    match other {
        Some(other) if id.is_none() => Ok(Arc::clone(other)),
        _ => {
            let message = format!(
                "the model {:?} reads from left to right only: this needs one that was trained with \
                 `bidirectional`",
                named.model.id
            );
            Err(Problem::field("model", message))
        }
    }
}

pub(super) async fn fill(
    State(app): State<Arc<App>>,
    Extension(log): Extension<RequestLog>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let asked: FillAsked = body::read(request, &app.config.limits).await?;
    let model = of_both_sides(&app, asked.model.as_deref())?;
    log.begin(&model.model.id, app.config.log_prompts.then(|| asked.text.clone()));
    if let Some(num) = asked.num.filter(|num| !(1..=MAX_FILLINGS).contains(num)) {
        let message = format!("`num` is {num}: give a number from 1 to {MAX_FILLINGS}");
        return Err(Problem::field("num", message));
    }
    let usual = FillOptions::default();
    let options = FillOptions {
        max_gap: asked
            .max_gap
            .map_or(usual.max_gap, |gap| usize::try_from(gap).unwrap_or(usize::MAX)),
        num: asked.num.map(|num| num as usize),
        temperature: asked.temperature.unwrap_or(usual.temperature),
        seed: asked.seed.unwrap_or_else(|| app.next_seed()),
        ..usual
    };
    options.validate().map_err(|error| Problem::of(error, "text"))?;
    let text = model.model.read_text("text", &asked.text, app.config.limits.fill)?;
    let (work, most) = (options.work(text.text()), app.config.limits.gaps);
    if work > most {
        let message = format!(
            "the gaps of `text` are as much work as {work} gaps of one character: {most} are filled at once; give \
             fewer, or a smaller `max_gap`"
        );
        return Err(Problem::field("text", message));
    }
    let answer = in_turn(&app, model, move |loaded| match &loaded.filler {
        Some(filler) => filled(&loaded.model, filler, &text, &options)
            .map_err(|error| Problem::of(error, "text")),
        None => Err(Problem::broken()),
    });
    Ok(Json(answer.await?))
}

/// A text of lines is filled line by line, each by its likeliest filling, or all by `num` of them.
fn filled(
    model: &Model,
    filler: &Filler,
    text: &Corpus,
    options: &FillOptions,
) -> Result<Value, Error> {
    let is_lines = model.config.corpus.documents == Documents::Lines;
    let parts: Vec<&str> = match is_lines {
        true => text.text().split_inclusive('\n').collect(),
        false => vec![text.text()],
    };
    if !options.has_gap(text.text()) {
        // Says what is missing.
        filler.fill(text.text(), options)?;
    }
    // The k-th takes the k-th filling of every line.
    let mut fillings: Vec<(String, Vec<String>, f64)> = vec![(String::new(), Vec::new(), 1.0)];
    for part in parts {
        let (line, end) = match part.strip_suffix('\n') {
            Some(line) if is_lines => (line, "\n"),
            _ => (part, ""),
        };
        let found = match options.has_gap(line) {
            true => filler.fill(line, options)?,
            false => Vec::new(),
        };
        let last = fillings[fillings.len() - 1].clone();
        fillings.resize(fillings.len().max(found.len()), last);
        for (index, (text, gaps, probability)) in fillings.iter_mut().enumerate() {
            match found.get(index).or(found.last()) {
                Some(filling) => {
                    text.push_str(&filling.text);
                    gaps.extend_from_slice(&filling.gaps);
                    *probability *= filling.probability;
                }
                None => text.push_str(line),
            }
            text.push_str(end);
        }
    }
    let of = |(text, gaps, probability): &(String, Vec<String>, f64)| json!({"text": text, "gaps": gaps, "probability": probability});
    let fillings: Vec<Value> = fillings.iter().map(of).collect();
    Ok(json!({"object": "fill", "model": model.id, "fillings": fillings}))
}

pub(super) async fn proofread(
    State(app): State<Arc<App>>,
    Extension(log): Extension<RequestLog>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let asked: ProofreadAsked = body::read(request, &app.config.limits).await?;
    let model = of_both_sides(&app, asked.model.as_deref())?;
    log.begin(&model.model.id, app.config.log_prompts.then(|| asked.text.clone()));
    let threshold = match (asked.threshold, asked.false_alarms, &model.model.config.proofread) {
        (Some(_), Some(_), _) => {
            let message = "`threshold` and `false_alarms` are two ways to say the same: give one";
            return Err(Problem::field("threshold", message));
        }
        (Some(threshold), None, _) => threshold,
        (None, rate, Some(thresholds)) => thresholds
            .threshold(rate.unwrap_or(FALSE_ALARMS))
            .map_err(|error| Problem::of(error, "false_alarms"))?,
        (None, _, None) => {
            let message = "the model has no threshold, as its training has not ended or had no validation text: \
                           give `threshold` in nats; 5 is a usual one";
            return Err(Problem::field("threshold", message));
        }
    };
    let text = model.model.read_text("text", &asked.text, app.config.limits.proofread)?;
    let answer = in_turn(&app, model, move |loaded| match &loaded.model.bidirectional {
        Some(network) => proofread_by(&loaded.model, network, &text, threshold)
            .map_err(|error| Problem::of(error, "text")),
        None => Err(Problem::broken()),
    });
    Ok(Json(answer.await?))
}

fn proofread_by(
    model: &Model,
    network: &BidirectionalNetwork,
    text: &Corpus,
    threshold: f64,
) -> Result<Value, Error> {
    let documents = model.config.corpus.documents;
    let proofreader = Proofreader::new(network, &model.tokenizer, documents, threshold)?;
    let (mut findings, mut corrected, mut offset) = (Vec::new(), String::new(), 0);
    for checked in proofreader.read([Ok(text.text().to_string())]) {
        let checked: Checked = checked?;
        for finding in &checked.findings {
            let before = checked.text[..finding.bytes.start].chars().count();
            findings.push(json!({
                "line": finding.line,
                "column": finding.column,
                "offset": offset + before,
                "kind": finding.kind,
                "found": finding.found,
                "suggestion": finding.suggestion,
                "nats": finding.gain_nats,
            }));
        }
        offset += checked.text.chars().count();
        corrected.push_str(&checked.corrected());
    }
    Ok(json!({
        "object": "proofread",
        "model": model.id,
        "corrected": corrected,
        "findings": findings,
    }))
}
