//! Reads corpus files and other texts. Knows nothing of vocabularies and ids.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result, ensure};
use crate::text::decode::{ReadOptions, normalise};
use crate::text::find::{Source, find, name_of};
use crate::text::units::Documents;

/// Largest corpus. A larger one is most likely a mistake: a sparse file, or a pipe that never ends.
pub const MAX_CORPUS_BYTES: u64 = 64 << 30;

/// The text of one or more files, normalised and joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    name: String,
    text: String,
    /// Where each file ends in `text`, in bytes; the last one is the length of `text`.
    ends: Vec<usize>,
}

impl Corpus {
    /// Reads and joins files, folders (the `*.txt` in them and in their subfolders, in the order of
    /// their names) and, for the path `-`, standard input. A newline is put after a file whose last line
    /// has none, unless it is the last file.
    ///
    /// # Errors
    /// [`Error::Io`] for a path that cannot be read; [`Error::Text`] for one that does not exist, a
    /// folder without `*.txt`, a byte that is not of the encoding, or no text at all.
    pub fn read(paths: &[PathBuf], options: &ReadOptions) -> Result<Self> {
        Self::read_with_stdin(paths, options, io::stdin())
    }

    fn read_with_stdin(
        paths: &[PathBuf],
        options: &ReadOptions,
        mut stdin: impl Read,
    ) -> Result<Self> {
        let first = paths.first().ok_or_else(|| {
            Error::Text("no corpus named: give at least one file or folder".into())
        })?;
        let sources = find(paths)?;
        let total: u64 = sources.iter().map(Source::size).sum();
        ensure!(
            total <= MAX_CORPUS_BYTES,
            Error::Text(format!(
                "the corpus has {total} bytes but at most {MAX_CORPUS_BYTES} are read: give fewer files"
            ))
        );
        let mut bytes = Vec::new();
        usize::try_from(total)
            .ok()
            .and_then(|total| bytes.try_reserve_exact(total.checked_add(sources.len())?).ok())
            .ok_or_else(|| {
                Error::Text(format!(
                    "the corpus has {total} bytes, more than there is memory: give fewer files"
                ))
            })?;
        let mut ends = Vec::with_capacity(sources.len());
        for source in &sources {
            if let Some(end) = ends.last_mut()
                && !bytes.is_empty()
                && !bytes.ends_with(b"\n")
            {
                bytes.push(b'\n');
                *end = bytes.len();
            }
            let start = bytes.len();
            let name = source.name();
            let read = match source {
                Source::Stdin => read_into(&mut stdin, &mut bytes, MAX_CORPUS_BYTES),
                Source::File { path, .. } => {
                    File::open(path).and_then(|file| read_into(file, &mut bytes, MAX_CORPUS_BYTES))
                }
            };
            read.map_err(Error::io("read", Path::new(&name)))?;
            normalise(&mut bytes, start, &name, options)?;
            ends.push(bytes.len());
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::Text("the joined files are not UTF-8".into()))?;
        let (count, plural) = (sources.len(), if sources.len() == 1 { "" } else { "s" });
        ensure!(
            !text.is_empty(),
            Error::Text(format!(
                "the corpus is empty (0 characters in {count} file{plural}, the first is {}): \
             give a file with text in it",
                sources.first().map(Source::name).unwrap_or_default()
            ))
        );
        Ok(Self { name: name_of(first), text, ends })
    }

    /// One text of at most `most` bytes from `from`, read by the rules of a corpus file. It may be empty.
    /// `name` stands for it in errors.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read or is longer; [`Error::Text`] for a byte that is not of the
    /// encoding.
    pub fn from_reader(
        name: impl Into<String>,
        from: impl Read,
        most: u64,
        options: &ReadOptions,
    ) -> Result<Self> {
        let (name, mut bytes) = (name.into(), Vec::new());
        read_into(from, &mut bytes, most).map_err(Error::io("read", Path::new(&name)))?;
        normalise(&mut bytes, 0, &name, options)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::Text(format!("{name} is not UTF-8 after it was read")))?;
        Ok(Self::from_text(name, text))
    }

    /// The text that ships with the library: a cycle of plays, 277,290 characters.
    pub fn shipped() -> Self {
        let text = include_str!("../../corpus/lantern-coast.txt");
        Self::from_text("lantern-coast", text.replace("\r\n", "\n"))
    }

    /// Takes `text` as it is: nothing is normalised.
    pub fn from_text(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { name: name.into(), ends: vec![text.len()], text }
    }

    /// The first path's file name without its extension: what a run is called by default.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Characters of the whole text.
    pub fn characters(&self) -> usize {
        self.text.chars().count()
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The whole text, owned.
    pub fn into_text(self) -> String {
        self.text
    }

    /// The text of each file, in order; joined they are [`Corpus::text`].
    pub fn files(&self) -> impl ExactSizeIterator<Item = &str> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let file = &self.text[start..end];
            start = end;
            file
        })
    }

    /// Its documents, divided as `documents` says, without the empty ones: the lines without their
    /// newlines, or the files; with [`Documents::Off`] the whole text.
    pub fn documents(&self, documents: Documents) -> impl Iterator<Item = &str> {
        let parts: Box<dyn Iterator<Item = &str>> = match documents {
            Documents::Off => Box::new(std::iter::once(self.text())),
            Documents::Lines => Box::new(self.text.split('\n')),
            Documents::Files => Box::new(self.files()),
        };
        parts.filter(|document| !document.is_empty())
    }

    /// SHA-256 of the normalised text, in hexadecimal. How the text is divided into files does not matter.
    pub fn fingerprint(&self) -> String {
        let digest = Sha256::digest(self.text.as_bytes());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Appends all that comes, up to `most` bytes in `bytes`.
fn read_into(from: impl Read, bytes: &mut Vec<u8>, most: u64) -> io::Result<()> {
    let room = most.saturating_sub(bytes.len() as u64);
    let read = from.take(room.saturating_add(1)).read_to_end(bytes)? as u64;
    if read > room {
        let message = format!("it has more than {most} bytes: give less");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(())
}

#[cfg(test)]
#[path = "corpus_tests.rs"]
mod tests;
