//! The bytes of a file that is not trusted.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// The bytes of a regular file of at most `most` bytes. Anything else, a pipe or a device, might never
/// end.
///
/// # Errors
/// Those of the system; one of kind [`ErrorKind::InvalidInput`] for what is no regular file,
/// [`ErrorKind::FileTooLarge`] for a longer one, and [`ErrorKind::OutOfMemory`].
pub(crate) fn read_regular_file(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // Else the opening of a pipe waits until someone writes.
        options.custom_flags(libc::O_NONBLOCK);
    }
    let irregular = || {
        let message = "it is not a regular file: put its content into one";
        io::Error::new(ErrorKind::InvalidInput, message)
    };
    if cfg!(windows) && path.is_dir() {
        // There a folder cannot be opened.
        return Err(irregular());
    }
    let file = options.open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(irregular());
    }
    let length = metadata.len();
    let mut bytes = Vec::new();
    if length <= most {
        let reserved = usize::try_from(length).is_ok_and(|n| bytes.try_reserve_exact(n).is_ok());
        if !reserved {
            let message = format!("it has {length} bytes, for which there is no memory");
            return Err(io::Error::new(ErrorKind::OutOfMemory, message));
        }
        // A file may be longer than it says, as those in /proc are.
        file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    }
    let length = length.max(bytes.len() as u64);
    if length > most {
        let message = format!("it has {length} bytes or more but at most {most} are read");
        return Err(io::Error::new(ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_bound_and_nothing_else_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read_regular_file(&path, 5).unwrap(), b"12345");
        let error = read_regular_file(&path, 4).unwrap_err();
        assert_eq!(error.to_string(), "it has 5 bytes or more but at most 4 are read");
        assert!(read_regular_file(folder.path(), 5).unwrap_err().to_string().contains("regular"));
        #[cfg(unix)]
        for endless in ["/dev/zero", "/dev/null"] {
            let error = read_regular_file(endless.as_ref(), 5).unwrap_err();
            assert!(error.to_string().contains("not a regular file"), "{error}");
        }
    }
}
