//! The folder of a comparison: a run of each cell, `compare.json` and `compare.svg`.

use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::checkpoint::{IfExists, RunFolder, replace_file};
use crate::compare::results::Results;
use crate::error::{Error, Result, RunProblem, ensure};
use crate::model::Cell;
use crate::text::read_regular_file;

pub(super) const JSON: &str = "compare.json";
const SVG: &str = "compare.svg";
/// Largest compare.json that is read. A point of a curve takes about 150 bytes.
pub(super) const MAX_JSON: u64 = 256 << 20;

/// Any version of compare.json.
#[derive(Deserialize)]
pub(super) struct Versioned {
    pub(super) format: u32,
    pub(super) chargru: String,
    #[serde(rename = "cells")]
    _cells: Vec<IgnoredAny>,
}

/// Whether [`Comparison::save_in`](crate::compare::Comparison::save_in) would refuse: a look, before any work is done for the comparison.
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
