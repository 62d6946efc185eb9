//! The bytes of a file that is not trusted.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The bytes of a regular file of at most `most` bytes. Anything else, a pipe or a device, might never
/// end.
///
/// # Errors
/// Those of the system; one of kind [`io::ErrorKind::InvalidInput`] for what is no regular file, and
/// [`io::ErrorKind::FileTooLarge`] for a longer one.
pub(crate) fn read_regular_file(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let refused = |kind, message: String| Err(io::Error::new(kind, message));
    // Before it is opened, which for a pipe waits until someone writes.
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        let message = "it is not a regular file: put its content into one";
        return refused(io::ErrorKind::InvalidInput, message.into());
    }
    let length = metadata.len();
    let mut bytes = Vec::new();
    if length <= most {
        // A file may be longer than it says, as those in /proc are.
        File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    }
    let length = length.max(bytes.len() as u64);
    if length > most {
        let message = format!("it has {length} bytes or more but at most {most} are read");
        return refused(io::ErrorKind::FileTooLarge, message);
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
