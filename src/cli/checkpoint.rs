//! The checkpoint that a command means, and the number of threads.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use candle_core::Device;

use crate::checkpoint::{Checkpoint, newest_bidirectional_run, newest_run};
use crate::cli::args::wrong;
use crate::cli::escape;
use crate::cli::output::log;
use crate::runtime::set_threads;

/// Where runs are kept, seen from where the program is started.
pub(crate) const CHECKPOINTS: &str = "checkpoints";

/// Opens `path`, or the newest run if none is given, and says which on stderr.
pub(crate) fn checkpoint(path: Option<&Path>, device: &Device) -> Result<Checkpoint> {
    let newest;
    let path = match path {
        Some(path) => path,
        None => {
            newest = newest_path()?;
            &newest
        }
    };
    open(path, device)
}

/// The newest run.
pub(crate) fn newest_path() -> Result<PathBuf> {
    newest_run(Path::new(CHECKPOINTS)).context(
        "there is no model in ./checkpoints yet: train one with `chargru train`, or give one with --checkpoint",
    )
}

/// Opens `path`, or the newest bidirectional run if none is given, and says which on stderr.
pub(crate) fn bidirectional(path: Option<&Path>, device: &Device) -> Result<Checkpoint> {
    let path: PathBuf = match path {
        Some(path) => path.to_path_buf(),
        None => newest_bidirectional_run(Path::new(CHECKPOINTS)).context(
            "there is no bidirectional model in ./checkpoints yet: train one with `chargru train \
             --bidirectional`, or give one with --checkpoint",
        )?,
    };
    open(&path, device)
}

fn open(path: &Path, device: &Device) -> Result<Checkpoint> {
    let checkpoint = Checkpoint::open(path, device)?;
    log!("{}", summary(&checkpoint));
    Ok(checkpoint)
}

/// Which checkpoint it is, for the log.
pub(crate) fn summary(checkpoint: &Checkpoint) -> String {
    format!(
        "model {}, trained for {} steps on {}",
        escape::field(&checkpoint.folder.to_string_lossy()),
        checkpoint.config.progress.step,
        escape::field(&checkpoint.config.corpus.name)
    )
}

/// Sets the number of threads that all arithmetic shares; one for each processor if not given.
pub(crate) fn threads(count: Option<usize>) -> Result<()> {
    let Some(count) = count else { return Ok(()) };
    if !(1..=1024).contains(&count) {
        return Err(wrong(format!("--threads is {count}: give a number from 1 to 1024")));
    }
    set_threads(count);
    Ok(())
}
