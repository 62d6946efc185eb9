//! A saved comparison, to go on.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use candle_core::Device;

use crate::checkpoint::{RunFolder, read_metrics};
use crate::compare::comparison::Comparison;
use crate::compare::conclusion::update;
use crate::compare::folder::{JSON, MAX_JSON, Versioned};
use crate::compare::results::{CellResult, FORMAT, Machine, Results, State};
use crate::data::DataConfig;
use crate::error::{Cause, Error, Result, ensure};
use crate::model::Cell;
use crate::text::{Corpus, read_regular_file};
use crate::train::{SavedRun, TrainConfig, Trainer};

/// A comparison as it was left. Resumed with its text it goes on from the last checkpoint of each cell's run.
pub struct SavedComparison {
    /// Where the text was read from, and how.
    pub data: DataConfig,
    results: Results,
    root: PathBuf,
}

impl SavedComparison {
    /// Reads compare.json in the folder `root`.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it is missing or broken.
    pub fn open(root: &Path) -> Result<Self> {
        let path = root.join(JSON);
        ensure!(
            path.symlink_metadata().is_ok(),
            Error::checkpoint(
                root,
                format!(
                    "{} holds no comparison to resume: give the folder that holds {JSON}",
                    root.display()
                )
            )
        );
        let bytes = read_regular_file(&path, MAX_JSON).map_err(Error::io("read", &path))?;
        let results = parse(&bytes).map_err(|cause| Error::broken(&path, cause))?;
        let data = DataConfig::of_record(&results.corpus);
        Ok(Self { data, results, root: root.to_path_buf() })
    }

    /// The settings of the training.
    pub fn train(&self) -> &TrainConfig {
        &self.results.training
    }

    /// The comparison on `corpus`, saved where it was.
    ///
    /// # Errors
    /// Those of [`RunFolder::resume`], [`SavedRun::open`] and [`SavedRun::resume`]; [`Error::Checkpoint`] for a
    /// run that was changed since, or that a crash left where another comparison was to be overwritten.
    pub fn resume(self, corpus: &Corpus, device: &Device) -> Result<Comparison> {
        let Self { mut results, root, .. } = self;
        let mut trainers = Vec::new();
        for result in &mut results.cells {
            if result.state == State::Diverged {
                trainers.push(None);
                continue;
            }
            let folder = root.join(result.cell.name());
            let run = SavedRun::open(RunFolder::resume(&folder)?, device)?;
            let trainer = run.resume(corpus.clone())?.count_steps_only();
            ensure!(
                is_of(&trainer, result, &results.training),
                Error::checkpoint(
                    &folder,
                    format!(
                        "{} holds a run with other settings than the comparison beside it: begin the \
                         comparison again with `overwrite`",
                        folder.display()
                    )
                )
            );
            let evaluations = match read_metrics(&folder) {
                // It was not evaluated yet.
                Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Vec::new(),
                read => read?,
            };
            *result = CellResult::after(&trainer, &evaluations);
            if trainer.over().is_none() {
                results.machine = Machine::of(&trainer);
            }
            trainers.push(Some(trainer));
        }
        update(&mut results);
        Ok(Comparison::of(results, trainers).saved_in(&root))
    }
}

/// Whether a run is that of `result`, trained with `config`.
fn is_of(trainer: &Trainer, result: &CellResult, config: &TrainConfig) -> bool {
    let model = trainer.model();
    let sizes = (model.cell, model.hidden, model.layers, model.embedding);
    sizes == (result.cell, result.hidden, result.layers, result.embedding)
        && trainer.config() == config
}

/// # Errors
/// JSON that is broken, of another format, or with no cells or one twice.
fn parse(bytes: &[u8]) -> Result<Results, Cause> {
    let found: Versioned = serde_json::from_slice(bytes)?;
    ensure!(
        found.format == FORMAT,
        Cause::from(format!(
            "format {} was written by chargru {}; this program reads format {FORMAT}: use that version",
            found.format, found.chargru
        ))
    );
    let results: Results = serde_json::from_slice(bytes)?;
    let cells: Vec<Cell> = results.cells.iter().map(|cell| cell.cell).collect();
    let once = (0..cells.len()).all(|index| !cells[..index].contains(&cells[index]));
    ensure!(once && !cells.is_empty(), Cause::from("it has no cells, or one of them twice"));
    Ok(results)
}
