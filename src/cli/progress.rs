//! The progress of a training on stderr: a bar on a terminal, else a line now and then.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::checkpoint::Metrics;
use crate::cli::output::{bits, log, write_log};
use crate::train::StepReport;

/// Resolution of the bar, which shows a share of steps or of time.
const BAR_UNITS: u64 = 1000;
/// Time between two lines where stderr is not a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

pub(crate) struct ProgressDisplay {
    bar: Option<ProgressBar>,
    last_line: Instant,
    /// Exponential mean over the steps: the losses of single windows vary too much.
    loss: Option<f64>,
    /// Skipped steps of this process.
    skipped: u64,
}

/// So many skipped steps have a line each; then every time their number has doubled.
const SKIPPED_LINES: u64 = 4;

impl ProgressDisplay {
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(BAR_UNITS);
            if let Ok(style) = ProgressStyle::with_template("{bar:24} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, last_line: Instant::now(), loss: None, skipped: 0 }
    }

    pub(crate) fn step(&mut self, report: &StepReport) {
        let loss = self.loss.map_or(report.loss, |old| 0.95 * old + 0.05 * report.loss);
        self.loss = Some(loss);
        if report.is_skipped {
            self.skipped += 1;
            if self.skipped <= SKIPPED_LINES || self.skipped.is_power_of_two() {
                self.line(&format!(
                    "step {:>6}  skipped: the gradient's norm is {:.3}, far above the usual ({} so far)",
                    report.step, report.gradient_norm, self.skipped
                ));
            }
        }
        let line = || {
            let step = match report.total_steps {
                Some(total) => format!("{}/{total}", report.step),
                None => report.step.to_string(),
            };
            format!(
                "step {step}  loss {loss:.3}  {:.3} bits/char  {:.0} char/s  {} left",
                bits(loss),
                report.chars_per_second,
                clock(report.remaining)
            )
        };
        self.show(report.progress, line);
    }

    /// Shows the share `progress` of the whole, and `line` beside it.
    pub(crate) fn show(&mut self, progress: f64, line: impl FnOnce() -> String) {
        match &self.bar {
            Some(bar) => {
                bar.set_position((progress * BAR_UNITS as f64) as u64);
                bar.set_message(line());
            }
            None if self.last_line.elapsed() >= LINE_EVERY => {
                self.last_line = Instant::now();
                log!("{}", line());
            }
            None => {}
        }
    }

    /// An evaluation; `label` stands before it.
    pub(crate) fn evaluated(&mut self, label: &str, metrics: &Metrics, improved: bool) {
        let validation = metrics.val_loss.map_or_else(String::new, |loss| {
            let mark = if improved { " *" } else { "" };
            format!("  val {loss:.4} ({:.4} bits/char){mark}", bits(loss))
        });
        self.line(&format!(
            "{label}step {:>6}  epoch {:>3}  train {:.4}{validation}  {:.0} char/s",
            metrics.step, metrics.epoch, metrics.train_loss, metrics.chars_per_second
        ));
        self.last_line = Instant::now();
    }

    /// A line of the log, above the bar.
    pub(crate) fn line(&self, text: &str) {
        match &self.bar {
            // A terminal that has gone needs no bar; indicatif would keep all that it cannot write.
            Some(bar) => {
                if !bar.suspend(|| write_log(text)) {
                    bar.set_draw_target(ProgressDrawTarget::hidden());
                }
            }
            None => {
                log!("{text}");
            }
        }
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// 1:02:03 or 2:03.
pub(crate) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}
