//! The charts of a report.

use anyhow::Result;

use crate::checkpoint::Metrics;
use crate::cli::html;
use crate::cli::report::runs::{Kind, Run};
use crate::plot::{Axis, Chart, Series};

/// Of a chart on a page of usual width, and on that of a phone.
const SIZES: [(&str, (u32, u32)); 2] = [("wide", (520, 350)), ("narrow", (350, 330))];

/// All charts, and sentences in the place of those that have nothing to show.
pub(super) fn charts(runs: &[Run]) -> Result<String> {
    let mut kinds: Vec<Kind> = runs.iter().map(Run::kind).collect();
    kinds.sort();
    kinds.dedup();
    let mut out = String::new();
    for &kind in &kinds {
        if kinds.len() > 1 {
            out += &format!("<h3>{}</h3>\n", html::text(&heading(kind)));
        }
        out += "<div class=\"charts\">\n";
        out += &losses(runs, kind)?;
        if kinds.len() > 1 {
            out += "</div>\n";
        }
    }
    if kinds.len() > 1 {
        out += "<p class=\"note\">Losses of different kinds have charts of their own: they are measures of \
                different things.</p>\n<h3>All runs</h3>\n<div class=\"charts\">\n";
    }
    let mut missing = "";
    for (title, y, note, curves) in [
        ("Learning rate", Axis::new("learning rate").from_zero(), "", &[LEARNING_RATE][..]),
        (
            "Norm of the gradient",
            Axis::new("norm, before clipping").log(),
            if runs.len() > 1 {
                "solid: mean, dashed: largest since the evaluation before"
            } else {
                ""
            },
            &[MEAN_NORM, LARGEST_NORM],
        ),
        ("Speed", Axis::new("characters a second, without evaluations").from_zero(), "", &[SPEED]),
    ] {
        let chart = Chart {
            title: title.into(),
            x: Axis::new("steps").from_zero(),
            y,
            series: series(runs, curves),
        };
        if chart.is_empty() && title == "Norm of the gradient" {
            missing =
                "<p class=\"note\">No norms of gradients: only newer versions record them.</p>\n";
        } else {
            out += &figure(&chart, note)?;
        }
    }
    Ok(out + "</div>\n" + missing)
}

/// The charts of the losses of one kind.
fn losses(runs: &[Run], kind: Kind) -> Result<String> {
    let what = if kind.is_bidirectional { "Pseudo-likelihood" } else { "Loss" };
    let note = if runs.len() > 1 { "solid: validation, dashed: training" } else { "" };
    let (unit, seconds) = time_unit(runs);
    let mut out = String::new();
    for (title, x, at, part) in [
        (format!("{what} over steps"), Axis::new("steps").from_zero(), Time::Steps, 0.0),
        (format!("{what}, late steps"), Axis::new("steps"), Time::Steps, 0.25),
        (format!("{what} over time"), Axis::new(unit).from_zero(), Time::Seconds(seconds), 0.0),
    ] {
        let y = Axis::new(format!("nats per {}", kind.unit()));
        let chart = Chart { title, x, y, series: loss_series(runs, kind, at, part) };
        out += &figure(&chart, note)?;
    }
    Ok(out)
}

fn heading(kind: Kind) -> String {
    let what = if kind.is_bidirectional {
        "Bidirectional runs: pseudo-likelihood, given both sides"
    } else {
        "Runs that read forward"
    };
    format!("{what}, nats per {}", kind.unit())
}

#[derive(Clone, Copy)]
enum Time {
    Steps,
    /// In units of so many seconds.
    Seconds(f64),
}

/// The unit of time that suits the longest run, and its seconds.
fn time_unit(runs: &[Run]) -> (&'static str, f64) {
    match runs.iter().filter_map(Run::seconds).fold(0.0, f64::max) {
        ..300.0 => ("seconds", 1.0),
        ..18_000.0 => ("minutes", 60.0),
        _ => ("hours", 3600.0),
    }
}

/// The losses of the runs of one kind, from this part of each run on.
fn loss_series(runs: &[Run], kind: Kind, at: Time, part: f64) -> Vec<Series> {
    let x = |metrics: &Metrics| match at {
        Time::Steps => metrics.step as f64,
        Time::Seconds(unit) => metrics.elapsed_seconds / unit,
    };
    let mut all = Vec::new();
    for (color, run) in runs.iter().enumerate().filter(|(_, run)| run.kind() == kind) {
        let first = part * run.steps() as f64;
        let metrics = run.metrics().iter().filter(|m| m.step as f64 >= first);
        let validation: Vec<_> =
            metrics.clone().filter_map(|m| Some((x(m), m.val_loss?))).collect();
        let training = metrics.map(|m| (x(m), m.train_loss)).collect();
        let (solid, dashed) = match (runs.len(), validation.is_empty()) {
            (1, _) => ("validation".to_string(), "training".to_string()),
            (_, false) => (run.name.clone(), String::new()),
            (_, true) => (String::new(), format!("{} (training)", run.name)),
        };
        if !validation.is_empty() {
            all.push(Series::new(solid, validation).colored(color));
        }
        all.push(Series::new(dashed, training).dashed().colored(color));
    }
    all
}

/// A curve of every run: its name where there is one run, whether it is dashed, its value.
type Curve = (&'static str, bool, fn(&Metrics) -> Option<f64>);
const LEARNING_RATE: Curve = ("", false, |metrics| Some(metrics.lr));
const MEAN_NORM: Curve = ("mean", false, |metrics| metrics.gradient_norm);
const LARGEST_NORM: Curve =
    ("largest since the evaluation before", true, |metrics| metrics.gradient_norm_max);
const SPEED: Curve = ("", false, |metrics| Some(metrics.chars_per_second));

fn series(runs: &[Run], curves: &[Curve]) -> Vec<Series> {
    let mut all = Vec::new();
    for (color, run) in runs.iter().enumerate() {
        for &(name, is_dashed, value) in curves {
            let value = |m: &Metrics| Some((m.step as f64, value(m)?));
            let points: Vec<_> = run.metrics().iter().filter_map(value).collect();
            let name = match (runs.len(), is_dashed || points.is_empty()) {
                (1, _) => name,
                (_, true) => "",
                (_, false) => &run.name,
            };
            let series = Series::new(name, points).colored(color);
            all.push(if is_dashed { series.dashed() } else { series });
        }
    }
    all
}

/// A chart in both sizes, of which the style sheet shows one.
fn figure(chart: &Chart, note: &str) -> Result<String> {
    let mut out = String::from("<figure>\n");
    for (class, size) in SIZES {
        out += &format!("<div class=\"{class}\">\n{}</div>\n", chart.to_svg_sized(size)?);
    }
    if !note.is_empty() {
        out += &format!("<figcaption>{}</figcaption>\n", html::text(note));
    }
    Ok(out + "</figure>\n")
}
