//! Runs, settings, split and parameters as tables. Runs stand in columns.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cli::html::{count, nats, text, time};
use crate::cli::output::{bits, layers_of};
use crate::cli::report::runs::Run;
use crate::data::CorpusRecord;
use crate::text::Documents;

/// What [`table`] shows, of a single run as a list of names and values side by side.
fn facts(runs: &[Run], rows: &[(String, Vec<String>)], marks: bool) -> String {
    if runs.len() > 1 {
        return table(runs, rows, marks);
    }
    let mut out = String::from("<dl class=\"facts\">\n");
    for (name, cell) in rows.iter().filter_map(|(name, cells)| Some((name, cells.first()?))) {
        out += &format!("<div><dt>{}</dt><dd>{}</dd></div>\n", text(name), text(cell));
    }
    out + "</dl>\n"
}

/// A table with a row for each name and a column for each run. Rows whose cells differ are marked.
fn table(runs: &[Run], rows: &[(String, Vec<String>)], marks: bool) -> String {
    let mut out = String::from("<div class=\"scroll\"><table>\n");
    if runs.len() > 1 {
        out += "<thead><tr><td></td>";
        for run in runs {
            out += &format!("<th scope=\"col\">{}</th>", text(&run.name));
        }
        out += "</tr></thead>\n";
    }
    out += "<tbody>\n";
    for (name, cells) in rows {
        let differs = marks && cells.iter().any(|cell| *cell != cells[0]);
        let (class, mark) = match differs {
            true => (" class=\"differs\"", " <span class=\"mark\">differs</span>"),
            false => ("", ""),
        };
        out += &format!("<tr{class}><th scope=\"row\">{}{mark}</th>", text(name));
        for cell in cells {
            out += &format!("<td>{}</td>", text(cell));
        }
        out += "</tr>\n";
    }
    out + "</tbody></table></div>\n"
}

/// One row: a cell for each run.
fn row(runs: &[Run], name: &str, cell: impl Fn(&Run) -> String) -> (String, Vec<String>) {
    (name.to_string(), runs.iter().map(cell).collect())
}

const NONE: &str = "—";

/// What each run is and what came of it.
pub(super) fn summary(runs: &[Run]) -> String {
    let loss =
        |value: Option<f64>| value.map_or(NONE.into(), |nats_| format!("{} nats", nats(nats_)));
    let mut rows = vec![
        row(runs, "model", |run| {
            let model = &run.record.config.model;
            let both = if model.bidirectional { "bidirectional " } else { "" };
            format!("{both}{}, {}", model.cell, layers_of(model.layers, model.hidden))
        }),
        row(runs, "parameters", |run| count(run.record.config.model.parameter_count() as u64)),
        row(runs, "text", |run| run.record.config.corpus.name.clone()),
        row(runs, "steps", |run| count(run.steps())),
        row(runs, "epochs", |run| {
            count(run.metrics().last().map_or(run.record.config.progress.epoch, |m| m.epoch))
        }),
        row(runs, "time", |run| run.seconds().map_or(NONE.into(), time)),
        row(runs, "speed, characters a second", |run| {
            let speed = run.metrics().last().map(|m| m.chars_per_second);
            speed.map_or(NONE.into(), |speed| count(speed.max(0.0).round() as u64))
        }),
        row(runs, "best validation loss", |run| loss(run.best().map(|(_, loss)| loss))),
        row(runs, "in bits", |run| {
            let unit = run.kind().unit();
            run.best().map_or(NONE.into(), |(_, loss)| format!("{} per {unit}", nats(bits(loss))))
        }),
        row(runs, "at step", |run| run.best().map_or(NONE.into(), |(step, _)| count(step))),
        row(runs, "last validation loss", |run| loss(run.validation().last().map(|&(_, l)| l))),
        row(runs, "last training loss", |run| loss(run.metrics().last().map(|m| m.train_loss))),
    ];
    if runs.iter().any(|run| run.kind().is_bidirectional) {
        rows.push(row(runs, "the loss is", |run| match run.kind().is_bidirectional {
            true => "the pseudo-likelihood, given both sides".into(),
            false => "that of reading forward".into(),
        }));
    }
    facts(runs, &rows, false)
}

/// Every setting of the model, the text and the training.
pub(super) fn settings(runs: &[Run]) -> String {
    let all: Vec<BTreeMap<String, String>> = runs.iter().map(settings_of).collect();
    let mut names: Vec<&String> = all.iter().flat_map(BTreeMap::keys).collect();
    names.sort();
    names.dedup();
    let cell = |run: &BTreeMap<String, String>, name: &String| {
        run.get(name).cloned().unwrap_or_else(|| NONE.into())
    };
    let rows: Vec<(String, Vec<String>)> = names
        .into_iter()
        .map(|name| (name.clone(), all.iter().map(|run| cell(run, name)).collect()))
        .collect();
    facts(runs, &rows, true)
}

fn settings_of(run: &Run) -> BTreeMap<String, String> {
    let config = &run.record.config;
    let model = serde_json::to_value(&config.model).unwrap_or_default();
    let mut settings = BTreeMap::new();
    for values in [&model, &config.training] {
        for (name, value) in values.as_object().into_iter().flatten() {
            settings.insert(name.replace('_', "-"), setting(value));
        }
    }
    settings.insert("units".into(), config.corpus.units.to_string());
    settings.insert("documents".into(), config.corpus.documents.to_string());
    settings.insert("val-fraction".into(), config.corpus.val_fraction.to_string());
    settings
}

/// A value of config.json as a person writes it.
fn setting(value: &Value) -> String {
    match value {
        Value::Null => NONE.into(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::String(text) => text.clone(),
        // A duration.
        Value::Object(fields) if fields.contains_key("secs") => {
            let number = |name: &str| fields.get(name).and_then(Value::as_f64).unwrap_or(0.0);
            time(number("secs") + number("nanos") / 1e9)
        }
        value => value.to_string(),
    }
}

/// Which part of the text each run is trained on.
pub(super) fn split(runs: &[Run]) -> String {
    let of = |run: &Run| run.record.config.corpus.clone();
    let validation = |corpus: &CorpusRecord| corpus.characters as f64 * corpus.val_fraction;
    let share = |corpus: &CorpusRecord, part: f64| {
        let percent = 100.0 * part / (corpus.characters as f64).max(1.0);
        format!("about {} characters ({percent:.1} percent)", count(part.round() as u64))
    };
    let rows = [
        row(runs, "text", |run| of(run).name),
        row(runs, "from", |run| {
            let paths: Vec<String> =
                of(run).paths.iter().map(|path| path.display().to_string()).collect();
            if paths.is_empty() { "shipped with the program".into() } else { paths.join(", ") }
        }),
        row(runs, "characters", |run| count(of(run).characters as u64)),
        row(runs, "distinct ids", |run| count(run.record.config.model.vocab as u64)),
        row(runs, "trains", |run| {
            let corpus = of(run);
            share(&corpus, corpus.characters as f64 - validation(&corpus))
        }),
        row(runs, "validates", |run| {
            let corpus = of(run);
            match (corpus.val_fraction > 0.0, corpus.documents) {
                (false, _) => "nothing".into(),
                (true, Documents::Off) => {
                    format!("the end: {}", share(&corpus, validation(&corpus)))
                }
                (true, _) => {
                    format!("documents drawn by lot: {}", share(&corpus, validation(&corpus)))
                }
            }
        }),
        row(runs, "sha256", |run| of(run).sha256),
    ];
    table(runs, &rows, true)
}

/// Name and shape of each tensor.
type Parameters = Vec<(String, Vec<usize>)>;

/// The tensors of each model; runs of one shape share a table.
pub(super) fn parameters(runs: &[Run]) -> String {
    let mut shapes: Vec<(Parameters, Vec<&str>)> = Vec::new();
    for run in runs {
        let parameters = run.record.config.model.parameters();
        match shapes.iter_mut().find(|(known, _)| *known == parameters) {
            Some((_, names)) => names.push(&run.name),
            None => shapes.push((parameters, vec![&run.name])),
        }
    }
    let mut out = String::new();
    for (parameters, names) in &shapes {
        if runs.len() > 1 {
            out += &format!("<h3>{}</h3>\n", text(&names.join(", ")));
        }
        out += "<div class=\"scroll\"><table class=\"numbers\">\n<thead><tr><th scope=\"col\">tensor</th>\
                <th scope=\"col\">shape</th><th scope=\"col\">parameters</th></tr></thead>\n<tbody>\n";
        let mut sum = 0;
        for (name, shape) in parameters {
            let size: usize = shape.iter().product();
            sum += size;
            let shape: Vec<String> = shape.iter().map(|&n| count(n as u64)).collect();
            out += &format!(
                "<tr><th scope=\"row\"><code>{}</code></th><td>{}</td><td>{}</td></tr>\n",
                text(name),
                shape.join(" × "),
                count(size as u64)
            );
        }
        out += &format!(
            "</tbody>\n<tfoot><tr><th scope=\"row\">all</th><td>float32</td><td>{}</td></tr></tfoot>\n\
             </table></div>\n",
            count(sum as u64)
        );
    }
    out
}
