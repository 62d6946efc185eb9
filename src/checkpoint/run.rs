//! The folder of a run: `best`, `last`, `metrics.jsonl`, `samples.jsonl`, and a lock, so that only one process trains in it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::checkpoint::atomic::{
    ensure_checkpoint_or_nothing, ensure_no_other_files, existing, recover, remove, replace_lines,
};
use crate::checkpoint::contents::{ensure_lines, is_checkpoint, metadata};
use crate::checkpoint::disk::Disk;
use crate::checkpoint::format::{CONFIG, Config, Metrics, Snapshot};
use crate::checkpoint::lines::{KeptSample, Line, parse, to_bytes};
use crate::checkpoint::lock::Lock;
use crate::checkpoint::read::read_text_file;
use crate::checkpoint::save::save_on;
use crate::checkpoint::space::{ensure_space, space_needed};
use crate::error::{Error, Result, RunProblem, ensure};

/// The folder of a run that this process trains; locked until it is dropped. Dropped before a checkpoint
/// was saved, it leaves no trace of a new run.
pub struct RunFolder {
    root: PathBuf,
    disk: Disk,
    lock: Option<Lock>,
    /// Folders that were created for the run, the outermost first.
    created: Vec<PathBuf>,
    /// It holds a checkpoint of the run.
    saved: AtomicBool,
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
    /// [`Error::Run`] if the folder holds a run that may not be overwritten, if something that is not
    /// a run's is in the way, or if another process trains in it; [`Error::Io`] if it cannot be written.
    pub fn create(root: &Path, policy: IfExists) -> Result<Self> {
        Self::create_on(Disk::default(), root, policy)
    }

    pub(crate) fn create_on(disk: Disk, root: &Path, policy: IfExists) -> Result<Self> {
        Self::check(root, policy)?;
        let mut run = Self::new(disk, root);
        for folder in root.ancestors().filter(|folder| !folder.as_os_str().is_empty()) {
            if folder.exists() {
                break;
            }
            run.created.insert(0, folder.to_path_buf());
        }
        for folder in &run.created {
            match run.disk.create_folder(folder) {
                // Two runs that start at once may need the same folder above theirs.
                Err(_) if folder.is_dir() => {}
                created => created.map_err(Error::io("create the folder", folder))?,
            }
            if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                run.disk.sync_folder(parent).map_err(Error::io("flush", parent))?;
            }
        }
        run.lock = Some(Lock::acquire(root)?);
        // Another process may have begun a run before this one had the lock.
        Self::check_contents(root, policy)?;
        Ok(run)
    }

    /// Whether [`RunFolder::create`] would refuse: a look, before any work is done for the run.
    ///
    /// # Errors
    /// [`Error::Run`] and [`Error::Io`] as there.
    pub fn check(root: &Path, policy: IfExists) -> Result<()> {
        let found = Self::check_contents(root, policy);
        if let Err(Error::Run { problem: RunProblem::Exists, .. }) = found {
            return found;
        }
        // What another process is replacing looks like anything.
        Lock::ensure_free(root)?;
        Self::check_contents(root, policy)
    }

    fn check_contents(root: &Path, policy: IfExists) -> Result<()> {
        ensure!(!is_checkpoint(root)?, problem(root, RunProblem::Checkpoint));
        let places = ["best", "last"].map(|name| root.join(name));
        places.iter().try_for_each(|place| ensure_checkpoint_or_nothing(place))?;
        ensure_lines::<Metrics>(&root.join(Metrics::FILE))?;
        ensure_lines::<KeptSample>(&root.join(KeptSample::FILE))?;
        ensure!(
            policy == IfExists::Overwrite || !holds_run(root),
            problem(root, RunProblem::Exists)
        );
        places.iter().try_for_each(|place| ensure_no_other_files(place))
    }

    /// The folder of a run that is to be resumed.
    ///
    /// # Errors
    /// [`Error::Run`] if it holds no run, if something that is not a run's is in the way, or if
    /// another process trains in it; [`Error::Io`] if it cannot be written.
    pub fn resume(root: &Path) -> Result<Self> {
        Self::resume_on(Disk::default(), root)
    }

    pub(crate) fn resume_on(disk: Disk, root: &Path) -> Result<Self> {
        ensure!(existing(&root.join("last")).is_some(), problem(root, RunProblem::Missing));
        let mut run = Self::new(disk, root);
        run.lock = Some(Lock::acquire(root)?);
        run.saved = true.into();
        recover(&run.disk, &run.last())?;
        recover(&run.disk, &run.best())?;
        ensure_lines::<Metrics>(&root.join(Metrics::FILE))?;
        ensure_lines::<KeptSample>(&root.join(KeptSample::FILE))?;
        Ok(run)
    }

    fn new(disk: Disk, root: &Path) -> Self {
        let root = root.to_path_buf();
        Self { root, disk, lock: None, created: Vec::new(), saved: false.into() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether it holds a checkpoint of the run.
    pub fn is_begun(&self) -> bool {
        self.saved.load(Ordering::Relaxed)
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
        self.save_last(snapshot)?;
        self.remove_best()?;
        self.remove_lines::<Metrics>()?;
        self.remove_lines::<KeptSample>()
    }

    fn remove_lines<L: Line>(&self) -> Result<()> {
        let path = self.root.join(L::FILE);
        ensure_lines::<L>(&path)?;
        if metadata(&path)?.is_some() {
            self.disk.remove_file(&path).map_err(Error::io("remove", &path))?;
        }
        Ok(())
    }

    /// Replaces `last`. The metrics and the samples up to it are flushed to the disk first.
    ///
    /// # Errors
    /// Those of [`save`](crate::checkpoint::save), and [`Error::Io`].
    pub fn save_last(&self, snapshot: &Snapshot) -> Result<()> {
        for path in [Metrics::FILE, KeptSample::FILE].map(|name| self.root.join(name)) {
            if path.exists() {
                self.disk.sync_appended(&path).map_err(Error::io("flush", &path))?;
            }
        }
        save_on(&self.disk, &self.last(), snapshot)?;
        self.saved.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Replaces `best`.
    ///
    /// # Errors
    /// Those of [`save`](crate::checkpoint::save).
    pub fn save_best(&self, snapshot: &Snapshot) -> Result<()> {
        save_on(&self.disk, &self.best(), snapshot)
    }

    /// Removes `best`, if there is one.
    ///
    /// # Errors
    /// [`Error::Run`] if it holds files that are not a checkpoint's; [`Error::Io`].
    pub fn remove_best(&self) -> Result<()> {
        remove(&self.disk, &self.best())
    }

    /// config.json of `best`; None if there is none that can be read.
    pub fn best_config(&self) -> Option<Config> {
        Config::from_json(&read_text_file(&self.best().join(CONFIG)).ok()?).ok()
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
        self.append(metrics)
    }

    /// Adds a line to `samples.jsonl`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn append_sample(&self, sample: &KeptSample) -> Result<()> {
        self.append(sample)
    }

    fn append<L: Line>(&self, line: &L) -> Result<()> {
        let path = self.root.join(L::FILE);
        let line = to_bytes(line).map_err(Error::io("write", &path))?;
        self.disk.append(&path, &line).map_err(Error::io("write", &path))
    }

    /// Removes the lines after `step` from `metrics.jsonl` and `samples.jsonl`, and those that are broken. A
    /// run that goes on from there writes them again.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Checkpoint`] and [`Error::Run`] for a file that cannot be a run's.
    pub fn rewind(&self, step: u64) -> Result<()> {
        self.rewind_lines::<Metrics>(step)?;
        self.rewind_lines::<KeptSample>(step)
    }

    fn rewind_lines<L: Line>(&self, step: u64) -> Result<()> {
        let path = self.root.join(L::FILE);
        ensure_lines::<L>(&path)?;
        if metadata(&path)?.is_none() {
            return Ok(());
        }
        let bytes = read_text_file(&path)?;
        let mut kept = Vec::with_capacity(bytes.len());
        for line in parse::<L>(&bytes).filter(|line| line.step() <= step) {
            kept.extend(to_bytes(&line).map_err(Error::io("write", &path))?);
        }
        if kept == bytes { Ok(()) } else { replace_lines::<L>(&self.disk, &path, &kept) }
    }
}

impl Drop for RunFolder {
    /// Without a checkpoint there is no run: what was created for it goes.
    fn drop(&mut self) {
        if self.is_begun() {
            return;
        }
        if let Some(lock) = self.lock.take() {
            lock.remove(&self.disk);
        }
        for folder in self.created.iter().rev() {
            // Only if it is empty.
            let _ = self.disk.remove_folder(folder);
        }
    }
}

/// The lines of a run's `metrics.jsonl`. A line that is broken is left out: a crash may leave the last one
/// incomplete.
///
/// # Errors
/// [`Error::Io`]; [`Error::Checkpoint`] for something else than a regular file, and for one that is too large.
pub fn read_metrics(root: &Path) -> Result<Vec<Metrics>> {
    Ok(parse(&read_text_file(&root.join(Metrics::FILE))?).collect())
}

fn problem(root: &Path, problem: RunProblem) -> Error {
    Error::Run { path: root.to_path_buf(), problem }
}

fn holds_run(root: &Path) -> bool {
    ["best", "last"].iter().any(|name| existing(&root.join(name)).is_some())
        || root.join(Metrics::FILE).exists()
}
