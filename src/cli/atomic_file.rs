//! Files that a command writes: each is there whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Writes `bytes` to `path` in one move; a file that is there is replaced. What is no regular file, such as
/// /dev/null or a pipe, is written to as it is.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Refuses to replace a regular file that does not have `mark` at byte `at`: one that is no `what` of chargru.
pub(crate) fn ensure_replaceable(path: &Path, at: u64, mark: &str, what: &str) -> Result<()> {
    if !fs::metadata(path).is_ok_and(|found| found.is_file()) {
        return Ok(());
    }
    let mut head = vec![0; mark.len()];
    let is_ours = File::open(path)
        .and_then(|mut file| {
            file.seek(SeekFrom::Start(at))?;
            file.read_exact(&mut head)
        })
        .is_ok_and(|()| head == mark.as_bytes());
    if !is_ours {
        bail!(
            "{} is there and is no {what} of chargru: move it, or name another file with --out",
            path.display()
        );
    }
    Ok(())
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A link stays, and what it names is replaced.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return File::options().write(true).open(path)?.write_all(bytes);
    }
    let mut name = OsString::from(".");
    name.push(path.file_name().ok_or_else(|| io::Error::other("it names no file"))?);
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)
    })();
    if written.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::AlreadyExists) {
        let _ = fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("report.html");
        for text in ["one", "two"] {
            write(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
        let error = write(&temp.path().join("nowhere/report.html"), b"x").unwrap_err();
        assert!(error.to_string().starts_with("cannot write "), "{error}");
        // A folder is not replaced.
        fs::create_dir(temp.path().join("folder")).unwrap();
        write(&temp.path().join("folder"), b"x").unwrap_err();
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_and_a_device_stay_what_they_are() {
        let temp = tempfile::tempdir().unwrap();
        let (path, link) = (temp.path().join("a"), temp.path().join("link"));
        fs::write(&path, "one").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        write(&link, b"two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let device = temp.path().join("device");
        std::os::unix::fs::symlink("/dev/null", &device).unwrap();
        write(&device, b"three").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
