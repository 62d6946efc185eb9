//! The lock of a run's folder: a file that the process which trains there holds locked.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use same_file::Handle;

use crate::checkpoint::contents::{ensure_file_or_nothing, metadata};
use crate::checkpoint::disk::Disk;
use crate::error::{Error, Result, RunProblem};

const LOCK: &str = ".lock";
/// How long to wait for the lock. A process that another thread of this one starts holds it, too, for a
/// moment after it was given up.
const PATIENCE: Duration = Duration::from_millis(300);

/// Locked until it is dropped.
pub(super) struct Lock {
    path: PathBuf,
    file: File,
    /// It was not there before.
    created: bool,
}

impl Lock {
    /// # Errors
    /// [`Error::Run`] if another process has it; [`Error::Io`] if the folder cannot be written into.
    pub(super) fn acquire(root: &Path) -> Result<Self> {
        let path = root.join(LOCK);
        loop {
            ensure_file_or_nothing(&path)?;
            let created = metadata(&path)?.is_none();
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .map_err(Error::io("write into", root))?;
            let begun = Instant::now();
            loop {
                match file.try_lock() {
                    // A file system without locks has this result too. Training goes on without one.
                    Ok(()) | Err(TryLockError::Error(_)) => break,
                    Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => {
                        std::thread::sleep(PATIENCE / 20);
                    }
                    Err(TryLockError::WouldBlock) => {
                        let problem = RunProblem::Locked;
                        return Err(Error::Run { path: root.to_path_buf(), problem });
                    }
                }
            }
            // Another process may have removed the file before this one locked it.
            let locked = file.try_clone().and_then(Handle::from_file);
            match (locked, Handle::from_path(&path)) {
                (Ok(locked), Ok(there)) if locked != there => {}
                (Ok(_), Err(_)) if metadata(&path)?.is_none() => {}
                _ => return Ok(Self { path, file, created }),
            }
        }
    }

    /// Checks that no process has the lock; creates nothing.
    ///
    /// # Errors
    /// Those of [`Lock::acquire`].
    pub(super) fn ensure_free(root: &Path) -> Result<()> {
        match metadata(&root.join(LOCK))? {
            Some(_) => Self::acquire(root).map(drop),
            None => Ok(()),
        }
    }

    /// Gives the lock up, and removes the file if this process created it.
    pub(super) fn remove(self, disk: &Disk) {
        // While it is locked, so that nobody else locks a file that goes. On Windows one that is open
        // would only go, and its name stay taken, until it is closed.
        let Self { path, file, created } = self;
        let _held = Some(file).filter(|_| !cfg!(windows));
        if created {
            let _ = disk.remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time_and_none_after_the_file_was_removed() {
        let temp = tempfile::tempdir().unwrap();
        let first = Lock::acquire(temp.path()).unwrap();
        let refused = Lock::acquire(temp.path()).err().expect("a second lock");
        assert!(matches!(refused, Error::Run { problem: RunProblem::Locked, .. }), "{refused}");
        first.remove(&Disk::default());
        let second = Lock::acquire(temp.path()).unwrap();
        assert!(Lock::acquire(temp.path()).is_err());
        drop(second);
        let third = Lock::acquire(temp.path()).unwrap();
        third.remove(&Disk::default());
        assert!(temp.path().join(LOCK).exists(), "it was there before");
    }

    #[cfg(unix)]
    #[test]
    fn a_lock_that_is_a_link_is_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("elsewhere", temp.path().join(LOCK)).unwrap();
        assert!(Lock::acquire(temp.path()).is_err());
        assert!(!temp.path().join("elsewhere").exists());
    }
}
