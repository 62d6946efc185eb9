//! The folder of a comparison: a run of each cell, `compare.json` and `compare.svg`; and a comparison that goes
//! on from there.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use candle_core::Device;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::checkpoint::{IfExists, RunFolder, read_metrics, replace_file};
use crate::compare::comparison::Comparison;
use crate::compare::conclusion::update;
use crate::compare::results::{CellResult, FORMAT, Machine, Results, State};
use crate::data::DataConfig;
use crate::error::{Cause, Error, Result, RunProblem, ensure};
use crate::model::Cell;
use crate::text::{Corpus, read_regular_file};
use crate::train::{SavedRun, TrainConfig, Trainer};

const JSON: &str = "compare.json";
const SVG: &str = "compare.svg";
/// Largest compare.json that is read. A point of a curve takes about 150 bytes.
const MAX_JSON: u64 = 256 << 20;

/// Any version of compare.json.
#[derive(Deserialize)]
struct Versioned {
    format: u32,
    chargru: String,
    #[serde(rename = "cells")]
    _cells: Vec<IgnoredAny>,
}

/// Whether [`Comparison::save_in`] would refuse: a look, before any work is done for the comparison.
///
/// # Errors
/// [`Error::Run`] if the folder holds a comparison or a run of one of its cells that may not be overwritten,
/// if something that is not chargru's is in the way, or if another process trains there; [`Error::Setting`]
/// if it is the folder of a run.
pub fn check_folder(root: &Path, cells: &[Cell], policy: IfExists) -> Result<()> {
    match RunFolder::check(root, IfExists::Refuse) {
        Err(Error::Run { problem: RunProblem::Exists, .. }) => {
            let message =
                format!("{} is the folder of a run: choose another one with `out`", root.display());
            return Err(Error::setting("out", message));
        }
        checked => checked?,
    }
    let (json, svg) = (root.join(JSON), root.join(SVG));
    let is_there = json.symlink_metadata().is_ok();
    if is_there {
        let ours = read_regular_file(&json, MAX_JSON)
            .is_ok_and(|bytes| serde_json::from_slice::<Versioned>(&bytes).is_ok());
        ensure!(ours, in_the_way(&json, "it is no comparison"));
    }
    ensure!(
        is_there || svg.symlink_metadata().is_err(),
        in_the_way(&svg, "there is no comparison beside it")
    );
    ensure!(!is_there || policy == IfExists::Overwrite, problem(root, RunProblem::Exists));
    cells.iter().try_for_each(|cell| RunFolder::check(&root.join(cell.name()), policy))
}

fn problem(path: &Path, problem: RunProblem) -> Error {
    Error::Run { path: path.to_path_buf(), problem }
}

fn in_the_way(path: &Path, why: &str) -> Error {
    problem(path, RunProblem::Foreign { why: why.into() })
}

/// Replaces compare.json and compare.svg, each in one step.
///
/// # Errors
/// [`Error::Io`], and [`Error::Run`] for something there that is not a regular file.
pub(super) fn write(root: &Path, results: &Results) -> Result<()> {
    let path = root.join(JSON);
    let json = serde_json::to_string_pretty(results)
        .map_err(|error| Error::io("write", &path)(error.into()))?;
    replace_file(&path, format!("{json}\n").as_bytes())?;
    #[cfg(feature = "cli")]
    replace_file(&root.join(SVG), crate::compare::chart::svg(results)?.as_bytes())?;
    Ok(())
}

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
            results.machine = Machine::of(&trainer);
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
