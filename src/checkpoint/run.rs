//! A run's folder: `best`, `last`, `metrics.jsonl`, and the lock that keeps a second trainer out.

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

/// What to do with a run that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfExists {
    Refuse,
    Overwrite,
}

impl RunFolder {
    /// A folder for a new run.
    ///
    /// With [`IfExists::Overwrite`] an old run stays readable until the new one's first checkpoint
    /// takes its place.
    ///
    /// # Errors
    /// A run is there (unless it may be overwritten), another process trains in it, or the folder
    /// cannot be written.
    pub fn create(root: &Path, policy: IfExists) -> Result<Self> {
        ensure!(
            policy == IfExists::Overwrite || !holds_run(root),
            problem(root, RunProblem::Exists)
        );
        fs::create_dir_all(root).map_err(Error::io("create the folder", root))?;
        Self::open(root)
    }

    /// The folder of a run that is to go on.
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
            // A file system without locks: nothing to hold on to, and no reason to refuse.
            Err(TryLockError::Error(_)) => {}
        }
        Ok(Self { root: root.to_path_buf(), _lock: lock })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn best(&self) -> PathBuf {
        self.root.join("best")
    }

    pub fn last(&self) -> PathBuf {
        self.root.join("last")
    }

    /// Writes the run's first checkpoint, and only then clears away what an older run left.
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

    pub fn save_last(&self, snapshot: &Snapshot) -> Result<()> {
        save(&self.last(), snapshot)
    }

    pub fn save_best(&self, snapshot: &Snapshot) -> Result<()> {
        save(&self.best(), snapshot)
    }

    /// A full disk is better found now than after an hour.
    fn ensure_space(&self, snapshot: &Snapshot) -> Result<()> {
        let weights: usize = snapshot.weights.iter().map(|(_, t)| t.elem_count()).sum();
        let state: usize = snapshot
            .training
            .iter()
            .flat_map(|training| &training.tensors)
            .map(|(_, t)| t.elem_count())
            .sum();
        // best and last, each for a moment beside its successor, and a megabyte of JSON.
        let needed = 2 * 4 * (2 * weights + state) as u64 + (1 << 20);
        let Ok(free) = fs4::available_space(&self.root) else {
            return Ok(());
        };
        ensure!(
            free >= needed,
            problem(
                &self.root,
                RunProblem::DiskFull { free_mb: free >> 20, needed_mb: needed.div_ceil(1 << 20) }
            )
        );
        Ok(())
    }

    /// Adds a line to `metrics.jsonl`.
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

    /// Drops the lines after `step`: what an interrupted run wrote past its last checkpoint
    /// will be written again.
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

/// The lines of a run's `metrics.jsonl`; a last line that a crash cut short is left out.
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

/// The run in `checkpoints` that was written to last; the demo only if there is no other.
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
