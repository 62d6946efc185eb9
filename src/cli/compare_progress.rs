//! The progress of `chargru compare` on stderr, and the samples that each run keeps.

use anyhow::Result;

use crate::cli::errors::with_flags;
use crate::cli::escape;
use crate::cli::kept_samples::KeptSamples;
use crate::cli::progress::{ProgressDisplay, clock};
use crate::compare::{Comparison, Update, What};
use crate::model::Cell;
use crate::train::{Event, StopReason};

pub(crate) struct CompareProgress {
    display: ProgressDisplay,
    /// Of each cell that trains.
    kept_samples: Vec<(Cell, KeptSamples)>,
    /// A sample could not be written.
    failed: Option<anyhow::Error>,
}

impl CompareProgress {
    /// Of a comparison that begins or goes on.
    pub(crate) fn of(comparison: &Comparison) -> Self {
        let kept = comparison.trainers().map(|one| (one.model().cell, KeptSamples::new(one)));
        Self { display: ProgressDisplay::new(), kept_samples: kept.collect(), failed: None }
    }

    pub(crate) fn update(&mut self, update: &Update) {
        let cell = update.cell;
        let kept = self.kept_samples.iter_mut().find(|(of, _)| *of == cell).map(|(_, kept)| kept);
        match &update.what {
            What::Event(Event::Step(report)) => self.display.show(update.progress, || {
                let left = update.remaining.map(|time| format!("  {} left", clock(time)));
                format!(
                    "{:.0} %  {cell} step {}  loss {:.3}  {:.0} char/s{}",
                    100.0 * update.progress,
                    report.step,
                    report.loss,
                    report.chars_per_second,
                    left.unwrap_or_default()
                )
            }),
            What::Event(Event::Evaluated {
                metrics,
                improved,
                progress,
                network,
                tokenizer,
                folder,
            }) => {
                self.display.evaluated(&format!("{cell:<16}"), metrics, *improved);
                let at = (metrics.step, *progress);
                let written = kept.map(|kept| kept.evaluated(at, (network, tokenizer), *folder));
                self.failed = written.and_then(Result::err);
            }
            What::Event(_) => {}
            What::Ended { reason, trainer } => {
                if *reason == StopReason::Patience {
                    self.display.line(&format!("{cell:<16}no better for a while"));
                }
                self.failed = kept.and_then(|kept| kept.finished(trainer).err());
            }
            What::Diverged(error) => {
                let why = with_flags(&error.to_string());
                self.display.line(&format!("{cell:<16}diverged: {}", escape::field(&why)));
            }
        }
    }

    /// Whether something went wrong that ends the comparison.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Takes the bar away.
    ///
    /// # Errors
    /// What went wrong.
    pub(crate) fn finish(self) -> Result<()> {
        self.display.finish();
        self.failed.map_or(Ok(()), Err)
    }
}
