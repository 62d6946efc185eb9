//! The operations that change the disk during a save. Every one of them goes through [`Disk`], so that a test
//! can make any of them fail.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

/// Carries out operations on the file system. One that a signal interrupts is tried again.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    #[cfg(test)]
    pub(crate) faults: Option<std::sync::Arc<dyn Faults>>,
}

/// An operation on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation<'a> {
    CreateFolder,
    CreateFile,
    OpenToAppend,
    /// Of so many bytes.
    Write(usize),
    SyncFile,
    SyncFolder,
    /// To this path.
    Rename(&'a Path),
    RemoveFile,
    RemoveFolder,
}

/// Faults of a disk, for tests.
#[cfg(test)]
pub(crate) trait Faults: Send + Sync {
    /// Called before each operation: an error stands in for it. Of a write, only so many bytes as
    /// are returned are written; a flush is left out where that is 0.
    fn before(&self, operation: Operation, path: &Path) -> io::Result<usize>;
}

impl Disk {
    fn run<T>(
        &self,
        operation: Operation,
        path: &Path,
        mut act: impl FnMut(usize) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            match self.before(operation, path).and_then(&mut act) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }

    #[cfg(test)]
    fn before(&self, operation: Operation, path: &Path) -> io::Result<usize> {
        self.faults.as_ref().map_or(Ok(usize::MAX), |faults| faults.before(operation, path))
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "tests have faults")]
    fn before(&self, _: Operation, _: &Path) -> io::Result<usize> {
        Ok(usize::MAX)
    }

    /// Creates one folder, which must not be there.
    pub(super) fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.run(Operation::CreateFolder, path, |_| fs::create_dir(path))
    }

    /// Writes a file, which must not be there, and flushes it to the disk.
    pub(super) fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.run(Operation::CreateFile, path, |_| {
            OpenOptions::new().write(true).create_new(true).open(path)
        })?;
        self.write_all(&mut file, path, bytes)?;
        self.sync(&file, path)
    }

    /// Adds `bytes` to the end of a file; creates it where there is none.
    pub(super) fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.open_to_append(path)?;
        self.write_all(&mut file, path, bytes)
    }

    /// Flushes a file that was appended to to the disk.
    pub(super) fn sync_appended(&self, path: &Path) -> io::Result<()> {
        let file = self.open_to_append(path)?;
        self.sync(&file, path)
    }

    fn open_to_append(&self, path: &Path) -> io::Result<File> {
        self.run(Operation::OpenToAppend, path, |_| {
            OpenOptions::new().create(true).append(true).open(path)
        })
    }

    fn write_all(&self, file: &mut File, path: &Path, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = self.run(Operation::Write(bytes.len()), path, |most| {
                file.write(&bytes[..bytes.len().min(most)])
            })?;
            if written == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
            bytes = &bytes[written..];
        }
        Ok(())
    }

    fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
        where_supported(
            self.run(
                Operation::SyncFile,
                path,
                |most| {
                    if most > 0 { file.sync_all() } else { Ok(()) }
                },
            ),
        )
    }

    /// Flushes the names in a folder to the disk. Windows has no such call, and needs none.
    pub(super) fn sync_folder(&self, path: &Path) -> io::Result<()> {
        where_supported(self.run(Operation::SyncFolder, path, |most| {
            if cfg!(unix) && most > 0 { File::open(path)?.sync_all() } else { Ok(()) }
        }))
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let rename = |_| retry_while(is_in_use, || fs::rename(from, to));
        self.run(Operation::Rename(to), from, rename)
    }

    pub(super) fn remove_file(&self, path: &Path) -> io::Result<()> {
        let remove = |_| retry_while(is_in_use, || fs::remove_file(path));
        self.run(Operation::RemoveFile, path, remove)
    }

    /// Removes a folder, which must be empty.
    pub(super) fn remove_folder(&self, path: &Path) -> io::Result<()> {
        let remove = |_| retry_while(is_in_use, || fs::remove_dir(path));
        self.run(Operation::RemoveFolder, path, remove)
    }
}

/// Whether Windows says that another process has a file open: ERROR_ACCESS_DENIED,
/// ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION. A folder it has just emptied may not be so yet:
/// ERROR_DIR_NOT_EMPTY.
fn is_in_use(error: &io::Error) -> bool {
    cfg!(windows) && matches!(error.raw_os_error(), Some(5 | 32 | 33 | 145))
}

/// Does `work` again, after longer and longer waits of together two seconds, while it fails for a reason
/// that may pass: a reader of a checkpoint comes to its end.
fn retry_while<T>(
    may_pass: impl Fn(&io::Error) -> bool,
    mut work: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    const WAITS_MS: [u64; 9] = [1, 5, 10, 25, 50, 100, 250, 500, 1000];
    for wait in WAITS_MS {
        match work() {
            Err(error) if may_pass(&error) => std::thread::sleep(Duration::from_millis(wait)),
            result => return result,
        }
    }
    work()
}

/// Some network and FUSE file systems cannot flush a folder, and a folder that may be written but not
/// read cannot be opened for it. There the system decides when names reach the disk.
fn where_supported(flushed: io::Result<()>) -> io::Result<()> {
    match flushed {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::PermissionDenied
            ) =>
        {
            Ok(())
        }
        flushed => flushed,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[cfg(unix)]
    struct FailTo(fn(Operation) -> bool, i32);

    #[cfg(unix)]
    impl Faults for FailTo {
        fn before(&self, operation: Operation, _: &Path) -> io::Result<usize> {
            if self.0(operation) {
                Err(io::Error::from_raw_os_error(self.1))
            } else {
                Ok(usize::MAX)
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_cannot_be_flushed_does_not_end_a_save() {
        let temp = tempfile::tempdir().unwrap();
        let (einval, enotsup, eio) = (22, if cfg!(target_os = "macos") { 45 } else { 95 }, 5);
        let sync = |number| {
            let fails = FailTo(|operation| operation == Operation::SyncFolder, number);
            Disk { faults: Some(Arc::new(fails)) }.sync_folder(temp.path())
        };
        sync(einval).unwrap();
        sync(enotsup).unwrap();
        assert_eq!(sync(eio).unwrap_err().raw_os_error(), Some(eio));
    }

    #[test]
    fn what_a_reader_holds_for_a_moment_is_replaced_after_it() {
        let busy = || io::Error::from(ErrorKind::ResourceBusy);
        let is_busy = |error: &io::Error| error.kind() == ErrorKind::ResourceBusy;
        let mut tries = 0;
        let mut held_until = |end: usize| {
            tries = 0;
            retry_while(is_busy, || {
                tries += 1;
                if tries < end { Err(busy()) } else { Ok(tries) }
            })
        };
        assert_eq!(held_until(4).unwrap(), 4);
        assert!(is_busy(&held_until(usize::MAX).unwrap_err()));
        // Any other failure is final.
        tries = 0;
        let gone = retry_while(is_busy, || {
            tries += 1;
            Err::<(), _>(io::Error::from(ErrorKind::NotFound))
        });
        assert_eq!((gone.unwrap_err().kind(), tries), (ErrorKind::NotFound, 1));
    }

    /// Writes at most three bytes at a time.
    struct Short;

    impl Faults for Short {
        fn before(&self, _: Operation, _: &Path) -> io::Result<usize> {
            Ok(3)
        }
    }

    #[test]
    fn a_short_write_goes_on_where_it_stopped() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a");
        let disk = Disk { faults: Some(Arc::new(Short)) };
        disk.write_new(&path, b"0123456789").unwrap();
        disk.append(&path, b"abcd").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"0123456789abcd");
        assert_eq!(disk.write_new(&path, b"x").unwrap_err().kind(), ErrorKind::AlreadyExists);
    }
}
