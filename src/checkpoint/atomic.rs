//! Files and folders replaced in one step: after a crash at any moment, either the old contents or the
//! new ones are there, complete.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};

/// Writes `bytes` to a file beside `path`, flushes it to the disk, and renames it to `path`.
///
/// # Errors
/// [`Error::Io`]; the old file stays.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = with_suffix(path, ".new");
    let write = || -> io::Result<()> {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);
        rename_with_retry(&beside, path)
    };
    let written = write();
    if written.is_err() {
        // Frees the space if the disk is full.
        let _ = fs::remove_file(&beside);
    }
    written.map_err(Error::io("write", path))
}

/// Replaces the folder `place` by one that `fill` writes into.
///
/// `fill` works in `place.new`. The two are then swapped: `place` → `place.old`, `place.new` → `place`.
/// After a crash between these two renames `place` is missing, and both other folders are complete:
/// [`recover`] finishes the swap, and [`existing`] finds the folder to read without writing.
///
/// # Errors
/// [`Error::Io`], or the error of `fill`; the old folder stays.
pub fn replace_folder(place: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    recover(place)?;
    let new = with_suffix(place, ".new");
    let old = with_suffix(place, ".old");
    remove_folder(&new)?;
    let filled = fs::create_dir_all(&new)
        .map_err(Error::io("create", &new))
        .and_then(|()| fill(&new))
        .and_then(|()| sync_folder(&new));
    if let Err(error) = filled {
        let _ = remove_folder(&new);
        return Err(error);
    }
    remove_folder(&old)?;
    if place.exists() {
        rename(place, &old)?;
    }
    rename(&new, place)?;
    if let Some(parent) = place.parent() {
        sync_folder(parent)?;
    }
    remove_folder(&old)
}

/// Finishes a [`replace_folder`] that a crash interrupted. Only the process that holds the run's lock may
/// call it.
///
/// # Errors
/// [`Error::Io`].
pub fn recover(place: &Path) -> Result<()> {
    let (new, old) = (with_suffix(place, ".new"), with_suffix(place, ".old"));
    if !place.exists() && old.exists() {
        // The old folder was moved aside, so that the new one is complete.
        rename(if new.exists() { &new } else { &old }, place)?;
    }
    remove_folder(&new)?;
    remove_folder(&old)
}

/// The folder that holds the last complete contents of `place`, if there is one.
pub fn existing(place: &Path) -> Option<PathBuf> {
    if place.is_dir() {
        return Some(place.to_path_buf());
    }
    let (new, old) = (with_suffix(place, ".new"), with_suffix(place, ".old"));
    if !old.is_dir() {
        return None;
    }
    Some(if new.is_dir() { new } else { old })
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(suffix);
    path.with_file_name(name)
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    rename_with_retry(from, to).map_err(Error::io("move a folder to", to))
}

/// Renames. Windows refuses that while someone reads `from`, a file in it, or `to`: then it is tried again for
/// about two seconds, in which a reader of a checkpoint comes to its end.
fn rename_with_retry(from: &Path, to: &Path) -> io::Result<()> {
    retry_while(is_in_use, || fs::rename(from, to))
}

/// Whether Windows says that another process has a file open: ERROR_ACCESS_DENIED,
/// ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION.
fn is_in_use(error: &io::Error) -> bool {
    cfg!(windows) && matches!(error.raw_os_error(), Some(5 | 32 | 33))
}

/// Does `work` again, after longer and longer waits, while it fails for a reason that may pass.
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

fn remove_folder(path: &Path) -> Result<()> {
    match retry_while(is_in_use, || fs::remove_dir_all(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Flushes the names in a folder to the disk. Windows has no such call, and needs none.
fn sync_folder(path: &Path) -> Result<()> {
    #[cfg(unix)]
    File::open(path).and_then(|folder| folder.sync_all()).map_err(Error::io("flush", path))?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(folder: &Path, text: &str) -> Result<()> {
        fs::create_dir_all(folder).unwrap();
        write_file(&folder.join("a"), text.as_bytes())
    }

    fn read(place: &Path) -> String {
        existing(place)
            .map_or_else(String::new, |p| fs::read_to_string(p.join("a")).unwrap_or_default())
    }

    /// A reader that holds a file open makes the rename of its folder fail on Windows.
    #[test]
    fn what_a_reader_holds_for_a_moment_is_replaced_after_it() {
        let busy = || io::Error::from(io::ErrorKind::ResourceBusy);
        let is_busy = |error: &io::Error| error.kind() == io::ErrorKind::ResourceBusy;
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
            Err::<(), _>(io::Error::from(io::ErrorKind::NotFound))
        });
        assert_eq!((gone.unwrap_err().kind(), tries), (io::ErrorKind::NotFound, 1));
    }

    #[test]
    fn a_folder_is_replaced_while_its_file_is_read() -> Result<()> {
        let temp = tempfile::tempdir().unwrap();
        let place = temp.path().join("last");
        replace_folder(&place, |dir| put(dir, "one"))?;
        let reader = File::open(place.join("a")).unwrap();
        let end = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            drop(reader);
        });
        replace_folder(&place, |dir| put(dir, "two"))?;
        assert_eq!(read(&place), "two");
        end.join().unwrap();
        Ok(())
    }

    #[test]
    fn a_failed_fill_leaves_the_old_folder() -> Result<()> {
        let temp = tempfile::tempdir().unwrap();
        let place = temp.path().join("last");
        replace_folder(&place, |dir| put(dir, "one"))?;
        let failed = replace_folder(&place, |dir| {
            put(dir, "half")?;
            Err(Error::Text("the disk is full".into()))
        });
        assert_eq!(failed.unwrap_err().to_string(), "the disk is full");
        assert_eq!(read(&place), "one");
        replace_folder(&place, |dir| put(dir, "two"))?;
        assert_eq!(read(&place), "two");
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1, "nothing is left behind");
        Ok(())
    }

    /// Every state that a kill can leave, in the order in which `replace_folder` passes through them.
    #[test]
    fn every_moment_of_a_crash_leaves_a_whole_folder() -> Result<()> {
        let states: [(&[(&str, &str)], &str); 5] = [
            (&[("last", "one"), ("last.new", "hal")], "one"),
            (&[("last", "one"), ("last.new", "two")], "one"),
            (&[("last.old", "one"), ("last.new", "two")], "two"),
            (&[("last", "two"), ("last.old", "one")], "two"),
            (&[("last.old", "one")], "one"),
        ];
        for (folders, expected) in states {
            let temp = tempfile::tempdir().unwrap();
            let place = temp.path().join("last");
            for (name, text) in folders {
                put(&temp.path().join(name), text)?;
            }
            assert_eq!(read(&place), expected, "read before recovery: {folders:?}");
            recover(&place)?;
            assert!(place.is_dir());
            assert_eq!(read(&place), expected, "read after recovery: {folders:?}");
            assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
        }
        Ok(())
    }
}
