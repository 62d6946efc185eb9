//! The page: which part comes after which.

use anyhow::Result;

use crate::cli::html::{count, filled, lines, text};
use crate::cli::report::runs::Run;
use crate::cli::report::{curves, tables, words};

/// How every report begins.
pub(super) const MARK: &str = "<!DOCTYPE html>\n<!-- chargru report -->\n";

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");

/// The whole HTML file.
pub(super) fn page(runs: &[Run]) -> Result<String> {
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    let title = match names.as_slice() {
        [name] => format!("Training of {name}"),
        names if names.len() <= 4 => format!("Trainings of {}", names.join(", ")),
        names => format!("{} trainings", names.len()),
    };
    let mut body = section("", &tables::summary(runs));
    body += &section("What the losses say", &in_words(runs));
    body += &section("Curves", &curves::charts(runs)?);
    body += &section("Samples along the way", &samples(runs));
    let not_given = "<p class=\"note\">— was not given: the program chose, or went without.</p>\n";
    body += &section("Settings", &(tables::settings(runs) + not_given));
    body += &section("Text and split", &tables::split(runs));
    body += &section("Parameters", &tables::parameters(runs));
    let parts = [
        ("{{title}}", text(&title)),
        ("{{style}}", STYLE.to_string()),
        ("{{version}}", text(env!("CARGO_PKG_VERSION"))),
        ("{{body}}", body),
    ];
    Ok(filled(MARK, TEMPLATE, &parts))
}

fn section(heading: &str, body: &str) -> String {
    let heading = if heading.is_empty() { String::new() } else { format!("<h2>{heading}</h2>\n") };
    format!("<section>\n{heading}{body}</section>\n")
}

fn in_words(runs: &[Run]) -> String {
    let mut out = String::new();
    for run in runs {
        let says = text(&words::verdict(run).join(" "));
        if runs.len() > 1 {
            out += &format!("<p><b>{}.</b> {says}</p>\n", text(&run.name));
        } else {
            out += &format!("<p>{says}</p>\n");
        }
    }
    let texts = |run: &&Run| run.record.config.corpus.sha256 != runs[0].record.config.corpus.sha256;
    if runs.iter().any(|run| texts(&run)) {
        out += "<p class=\"note\">The runs were trained on different texts: their losses say nothing about which \
                model is better.</p>\n";
    }
    out
}

fn samples(runs: &[Run]) -> String {
    let mut out = String::new();
    for run in runs {
        if runs.len() > 1 {
            out += &format!("<h3>{}</h3>\n", text(&run.name));
        }
        if run.record.samples.is_empty() {
            out += "<p class=\"note\">None: the run was not trained by the program, by an older version of it, \
                    or not yet far enough.</p>\n";
            continue;
        }
        out += "<div class=\"samples\">\n";
        for sample in &run.record.samples {
            let at = |m: &&crate::checkpoint::Metrics| m.step == sample.step;
            let loss = run.metrics().iter().find(at).and_then(|metrics| metrics.val_loss);
            let loss = loss.map_or_else(String::new, |nats| format!(", validation loss {nats:.3}"));
            out += &format!(
                "<figure class=\"sample\"><figcaption>step {}{loss}</figcaption><pre dir=\"auto\">\n{}</pre>\
                 </figure>\n",
                count(sample.step),
                lines(&sample.text)
            );
        }
        out += "</div>\n";
    }
    out
}
