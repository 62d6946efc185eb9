//! Texts that the user names on the command line, read by the rules of the checkpoint's own text.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::Result;

use crate::cli::output::log;
use crate::error::Error;
use crate::text::{Corpus, MAX_CORPUS_BYTES, ReadOptions};

/// How long nothing may come from standard input before it is said that it is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether `path` is neither a file nor a folder nor missing: a pipe, as of `<(command)`, or a device.
pub(crate) fn is_pipe(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// The text of one file, pipe or device of at most `most` bytes; it may be empty.
pub(crate) fn read_text(path: &Path, most: u64, options: &ReadOptions) -> Result<Corpus> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    Ok(Corpus::from_reader(path.to_string_lossy(), file, most, options)?)
}

/// The text of one file or pipe, or for `-` of standard input; there, if nothing comes for a while, `waiting`
/// is written to the log.
pub(crate) fn read_one(
    path: &Path,
    options: &ReadOptions,
    waiting: &'static str,
) -> Result<Corpus> {
    if path == Path::new("-") {
        return read_stdin(MAX_CORPUS_BYTES, options, waiting);
    }
    if is_pipe(path) {
        return read_text(path, MAX_CORPUS_BYTES, options);
    }
    Ok(Corpus::read(&[path.to_path_buf()], options)?)
}

/// The text of standard input, of at most `most` bytes; it may be empty. If nothing comes for a while,
/// `waiting` is written to the log.
pub(crate) fn read_stdin(
    most: u64,
    options: &ReadOptions,
    waiting: &'static str,
) -> Result<Corpus> {
    Ok(Corpus::from_reader("standard input", watched_stdin(waiting), most, options)?)
}

/// Standard input. If nothing comes for a while, `waiting` is written to the log.
pub(crate) fn watched_stdin(waiting: &'static str) -> impl Read {
    let (alive, watched) = channel::<()>();
    // Without a thread for it, nothing is said.
    let _ = std::thread::Builder::new().spawn(move || {
        if watched.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            log!("{waiting}");
        }
    });
    Watched { input: io::stdin(), silent: Some(alive) }
}

/// Drops `silent` as soon as something has been read, or the end.
struct Watched<R> {
    input: R,
    silent: Option<Sender<()>>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer);
        self.silent = None;
        read
    }
}
