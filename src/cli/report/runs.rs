//! The runs of a report, their names and figures.

use std::path::PathBuf;

use anyhow::Result;

use crate::checkpoint::{Metrics, RunRecord};
use crate::text::Units;

/// A run and its name in the report.
pub(super) struct Run {
    /// Of its folder; of several runs whose folders have one name, the whole path.
    pub(super) name: String,
    pub(super) record: RunRecord,
}

/// Runs whose losses are of one kind: only these may be drawn over one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    /// The loss is a pseudo-likelihood.
    pub(super) is_bidirectional: bool,
    /// A loss is that of a byte.
    pub(super) is_bytes: bool,
}

impl Kind {
    /// What one id is.
    pub(super) fn unit(self) -> &'static str {
        if self.is_bytes { "byte" } else { "character" }
    }

    pub(super) fn loss(self) -> &'static str {
        if self.is_bidirectional { "pseudo-likelihood" } else { "loss" }
    }
}

impl Run {
    pub(super) fn kind(&self) -> Kind {
        Kind {
            is_bidirectional: self.record.config.model.bidirectional,
            is_bytes: self.record.config.corpus.units == Units::Bytes,
        }
    }

    pub(super) fn metrics(&self) -> &[Metrics] {
        &self.record.metrics
    }

    /// Steps taken, by the last checkpoint or the last evaluation.
    pub(super) fn steps(&self) -> u64 {
        let evaluated = self.metrics().last().map_or(0, |metrics| metrics.step);
        evaluated.max(self.record.config.progress.step)
    }

    /// Time of the run up to its last evaluation, in seconds.
    pub(super) fn seconds(&self) -> Option<f64> {
        self.metrics().last().map(|metrics| metrics.elapsed_seconds)
    }

    /// Step and loss of each evaluation that has a validation loss.
    pub(super) fn validation(&self) -> Vec<(u64, f64)> {
        self.metrics().iter().filter_map(|m| Some((m.step, m.val_loss?))).collect()
    }

    /// Step and loss of the lowest validation loss.
    pub(super) fn best(&self) -> Option<(u64, f64)> {
        self.validation().into_iter().min_by(|a, b| a.1.total_cmp(&b.1))
    }
}

/// Reads the runs, each once.
pub(super) fn read_runs(roots: &[PathBuf]) -> Result<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    for root in roots {
        if runs.iter().any(|run| run.record.root == *root) {
            continue;
        }
        runs.push(Run { name: name(root), record: RunRecord::read(root)? });
    }
    let names: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
    for run in &mut runs {
        if names.iter().filter(|name| **name == run.name).count() > 1 {
            run.name = run.record.root.display().to_string();
        }
    }
    Ok(runs)
}

fn name(root: &std::path::Path) -> String {
    // `.` has a name, too.
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_path_buf());
    root.file_name().map_or_else(|| "run".into(), |name| name.to_string_lossy().into_owned())
}
