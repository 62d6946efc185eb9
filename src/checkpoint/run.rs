//! The folder of a run: `best`, `last`, `metrics.jsonl`, and a lock, so that only one process trains in it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::checkpoint::atomic::{existing, recover, write_file};
use crate::checkpoint::format::{CONFIG, Metrics, Snapshot};
use crate::checkpoint::save::save;
use crate::error::{Error, Result, RunProblem, ensure};

const METRICS: &str = "metrics.jsonl";
const LOCK: &str = ".lock";
const DEMO: &str = "demo";

/// The folder of a run that this process trains; locked until it is dropped.
pub struct RunFolder {
    root: PathBuf,
    _lock: File,
}

/// What [`RunFolder::create`] does if the folder holds a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfExists {
    /// It returns an error.
    Refuse,
    /// The new run replaces it.
    Overwrite,
}

impl RunFolder {
    /// A folder for a new run. An old run that is to be overwritten stays until the new one saves its first
    /// checkpoint.
    ///
    /// # Errors
    /// [`Error::Run`] if the folder holds a run that may not be overwritten, or if another process trains
    /// in it; [`Error::Io`] if it cannot be written.
    pub fn create(root: &Path, policy: IfExists) -> Result<Self> {
        Self::check(root, policy)?;
        fs::create_dir_all(root).map_err(Error::io("create the folder", root))?;
        Self::open(root)
    }

    /// Checks, before anything is prepared or written, that [`RunFolder::create`] would not refuse.
    ///
    /// # Errors
    /// [`Error::Run`] if the folder holds a run that may not be overwritten.
    pub fn check(root: &Path, policy: IfExists) -> Result<()> {
        let free = policy == IfExists::Overwrite || !holds_run(root);
        ensure!(free, problem(root, RunProblem::Exists));
        Ok(())
    }

    /// The folder of a run that is to be resumed.
    ///
    /// # Errors
    /// [`Error::Run`] if it holds no run, or if another process trains in it; [`Error::Io`] if it cannot
    /// be written.
    pub fn resume(root: &Path) -> Result<Self> {
        ensure!(existing(&root.join("last")).is_some(), problem(root, RunProblem::Missing));
        let run = Self::open(root)?;
        recover(&run.last())?;
        recover(&run.best())?;
        Ok(run)
    }

    fn open(root: &Path) -> Result<Self> {
        let path = root.join(LOCK);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(Error::io("write into", root))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(problem(root, RunProblem::Locked)),
            // A file system without locks. Training goes on without one.
            Err(TryLockError::Error(_)) => {}
        }
        Ok(Self { root: root.to_path_buf(), _lock: lock })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The checkpoint with the lowest validation loss.
    pub fn best(&self) -> PathBuf {
        self.root.join("best")
    }

    /// The newest checkpoint, with the training state.
    pub fn last(&self) -> PathBuf {
        self.root.join("last")
    }

    /// Saves the first checkpoint of a new run, then removes the files of an older one.
    ///
    /// # Errors
    /// [`Error::Run`] if the disk has too little space; [`Error::Checkpoint`] and [`Error::Io`] if the
    /// folder cannot be written.
    pub fn begin(&self, snapshot: &Snapshot) -> Result<()> {
        self.ensure_space(snapshot)?;
        save(&self.last(), snapshot)?;
        recover(&self.best())?;
        for result in [fs::remove_dir_all(self.best()), fs::remove_file(self.root.join(METRICS))] {
            match result {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("clear the old run in", &self.root)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Replaces `last`.
    ///
    /// # Errors
    /// Those of [`save`].
    pub fn save_last(&self, snapshot: &Snapshot) -> Result<()> {
        save(&self.last(), snapshot)
    }

    /// Replaces `best`.
    ///
    /// # Errors
    /// Those of [`save`].
    pub fn save_best(&self, snapshot: &Snapshot) -> Result<()> {
        save(&self.best(), snapshot)
    }

    /// Checks the space on the disk before the training begins.
    fn ensure_space(&self, snapshot: &Snapshot) -> Result<()> {
        let weights: usize = snapshot.weights.iter().map(|(_, t)| t.elem_count()).sum();
        let state: usize = snapshot
            .training
            .iter()
            .flat_map(|training| &training.tensors)
            .map(|(_, t)| t.elem_count())
            .sum();
        ensure_space(&self.root, space_needed(weights as u128, state as u128))
    }

    /// Adds a line to `metrics.jsonl`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn append_metrics(&self, metrics: &Metrics) -> Result<()> {
        let path = self.root.join(METRICS);
        let line = json_line(metrics).map_err(Error::io("write", &path))?;
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(&line))
            .map_err(Error::io("write", &path))
    }

    /// Removes the lines after `step` from `metrics.jsonl`. A run that goes on from there writes them again.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn rewind_metrics(&self, step: u64) -> Result<()> {
        let path = self.root.join(METRICS);
        if !path.exists() {
            return Ok(());
        }
        let kept: Vec<Metrics> =
            read_metrics(&self.root)?.into_iter().filter(|m| m.step <= step).collect();
        let mut bytes = Vec::new();
        for metrics in &kept {
            bytes.extend(json_line(metrics).map_err(Error::io("write", &path))?);
        }
        write_file(&path, &bytes)
    }
}

/// Bytes that the checkpoints of a run take: two copies of best and of last, because a new one is written
/// beside the old, and 1 MB of JSON. `weights` and `state` are numbers in float32.
pub(crate) fn space_needed(weights: u128, state: u128) -> u64 {
    u64::try_from(2 * 4 * (2 * weights + state) + (1 << 20)).unwrap_or(u64::MAX)
}

/// Checks that the disk of `folder`, or of the folder that it would be created in, has `needed` bytes free.
///
/// # Errors
/// [`RunProblem::DiskFull`].
pub fn ensure_space(folder: &Path, needed: u64) -> Result<()> {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    let Some(Ok(free)) = absolute.ancestors().find(|path| path.exists()).map(fs4::available_space)
    else {
        return Ok(());
    };
    ensure!(
        free >= needed,
        problem(
            folder,
            RunProblem::DiskFull { free_mb: free >> 20, needed_mb: needed.div_ceil(1 << 20) }
        )
    );
    Ok(())
}

/// The lines of a run's `metrics.jsonl`. An incomplete last line, left by a crash, is ignored.
///
/// # Errors
/// [`Error::Io`].
pub fn read_metrics(root: &Path) -> Result<Vec<Metrics>> {
    let path = root.join(METRICS);
    let file = File::open(&path).map_err(Error::io("read", &path))?;
    let mut all = Vec::new();
    for line in BufReader::new(file).lines() {
        let line = line.map_err(Error::io("read", &path))?;
        match serde_json::from_str(&line) {
            Ok(metrics) => all.push(metrics),
            Err(_) => break,
        }
    }
    Ok(all)
}

fn problem(root: &Path, problem: RunProblem) -> Error {
    Error::Run { path: root.to_path_buf(), problem }
}

fn json_line(metrics: &Metrics) -> std::io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(metrics)?;
    line.push(b'\n');
    Ok(line)
}

fn holds_run(root: &Path) -> bool {
    ["best", "last"].iter().any(|name| existing(&root.join(name)).is_some())
        || root.join(METRICS).exists()
}

/// The run in the folder `checkpoints` that was saved last. The run `demo`, which ships with the program,
/// counts only if there is no other.
pub fn newest_run(checkpoints: &Path) -> Option<PathBuf> {
    let written = |run: &Path| -> Option<SystemTime> {
        ["best", "last"]
            .iter()
            .filter_map(|name| existing(&run.join(name)))
            .filter_map(|folder| fs::metadata(folder.join(CONFIG)).ok()?.modified().ok())
            .max()
    };
    fs::read_dir(checkpoints)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter_map(|run| {
            let shipped = run.file_name().is_some_and(|name| name == DEMO);
            Some(((!shipped, written(&run)?), run))
        })
        .max()
        .map(|(_, run)| run)
}
