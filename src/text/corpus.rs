//! Finds and reads corpus files. Knows nothing of vocabularies and ids.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use crate::error::{Error, Result, ensure};
use crate::text::decode::{ReadOptions, normalise};

/// Largest corpus. A larger one is most likely a mistake: a sparse file, or a pipe that never ends.
const MAX_CORPUS_BYTES: u64 = 64 << 30;

/// The text of one or more files, normalised and joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    name: String,
    text: String,
    /// Where each file ends in `text`, in bytes; the last one is the length of `text`.
    ends: Vec<usize>,
}

enum Source {
    Stdin,
    File { path: PathBuf, size: u64 },
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
                Source::Stdin => read_into(&mut stdin, &mut bytes),
                Source::File { path, .. } => {
                    File::open(path).and_then(|mut file| read_into(&mut file, &mut bytes))
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

    /// SHA-256 of the normalised text, in hexadecimal. How the text is divided into files does not matter.
    pub fn fingerprint(&self) -> String {
        let digest = Sha256::digest(self.text.as_bytes());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Source {
    fn name(&self) -> String {
        match self {
            Self::Stdin => "standard input".into(),
            Self::File { path, .. } => path.display().to_string(),
        }
    }

    fn size(&self) -> u64 {
        match self {
            Self::Stdin => 0,
            Self::File { size, .. } => *size,
        }
    }
}

fn find(paths: &[PathBuf]) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            ensure!(
                !sources.iter().any(|source| matches!(source, Source::Stdin)),
                Error::Text(
                    "`-` (standard input) is named twice but can be read once: name it once".into()
                )
            );
            sources.push(Source::Stdin);
            continue;
        }
        let metadata = fs::metadata(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Error::Text(format!("the corpus {} does not exist: check the path", path.display()))
            }
            _ => Error::io("read", path)(error),
        })?;
        if metadata.is_dir() {
            find_in_folder(path, &mut sources)?;
        } else if metadata.is_file() {
            sources.push(Source::File { path: path.clone(), size: metadata.len() });
        } else {
            return Err(Error::Text(format!(
                "{} is neither a file nor a folder: pipe its content in and name `-`",
                path.display()
            )));
        }
    }
    Ok(sources)
}

fn find_in_folder(folder: &Path, sources: &mut Vec<Source>) -> Result<()> {
    let before = sources.len();
    for entry in WalkDir::new(folder).follow_links(true).sort_by_file_name() {
        let entry = entry.map_err(|error| Error::io("search", folder)(error.into()))?;
        let is_text = |path: &Path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("txt"));
        if entry.file_type().is_file() && is_text(entry.path()) {
            let size = entry.metadata().map_or(0, |metadata| metadata.len());
            sources.push(Source::File { path: entry.into_path(), size });
        }
    }
    ensure!(
        sources.len() > before,
        Error::Text(format!(
            "the folder {} has no *.txt files: name the files themselves",
            folder.display()
        ))
    );
    Ok(())
}

fn read_into(from: &mut impl Read, bytes: &mut Vec<u8>) -> io::Result<()> {
    let room = MAX_CORPUS_BYTES.saturating_sub(bytes.len() as u64);
    let read = from.take(room.saturating_add(1)).read_to_end(bytes)? as u64;
    if read > room {
        let message = format!("the corpus has more than {MAX_CORPUS_BYTES} bytes: give less");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(())
}

fn name_of(path: &Path) -> String {
    if path.as_os_str() == "-" {
        return "stdin".into();
    }
    let named = |path: &Path| {
        // A folder called `tales.v2` keeps its whole name.
        let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
        name.map(|name| name.to_string_lossy().into_owned())
    };
    named(path) // `.` and `..` have a name only once they are resolved
        .or_else(|| fs::canonicalize(path).ok().and_then(|path| named(&path)))
        .unwrap_or_else(|| "corpus".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Encoding, Newlines};

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    fn read(paths: &[PathBuf], stdin: &str) -> Result<Corpus> {
        Corpus::read_with_stdin(paths, &ReadOptions::default(), stdin.as_bytes())
    }

    fn error(paths: &[PathBuf]) -> String {
        format!("{:#}", read(paths, "").unwrap_err())
    }

    #[test]
    fn a_folder_is_read_recursively_in_order_and_joined_by_newlines() {
        let folder = folder(&[
            ("b.txt", "two\r\n"),
            ("a.txt", "one"),
            ("c/inner.TXT", "\u{FEFF}three"),
            ("c/skipped.md", "no"),
            ("d.txt", ""),
            ("e.txt", "four"),
        ]);
        let corpus = read(&[folder.path().into()], "").unwrap();
        assert_eq!(corpus.text(), "one\ntwo\nthree\nfour");
        let files: Vec<_> = corpus.files().collect();
        assert_eq!(files.concat(), corpus.text());
        assert_eq!(files.len(), 5);
        assert_eq!(&files[..2], ["one\n", "two\n"]);
        let folder_name = folder.path().file_name().unwrap().to_str().unwrap();
        assert_eq!(corpus.name(), folder_name);
    }

    #[test]
    fn a_file_named_outright_needs_no_txt_and_stdin_joins_in() {
        let folder = folder(&[("tale.of.two.md", "file")]);
        let file = folder.path().join("tale.of.two.md");
        let corpus = read(&[file.clone(), "-".into()], "typed\n").unwrap();
        assert_eq!(corpus.text(), "file\ntyped\n");
        assert_eq!(corpus.name(), "tale.of.two");
        assert_eq!(read(&["-".into()], "x").unwrap().name(), "stdin");
        assert!(error(&["-".into(), "-".into()]).contains("named twice"));
    }

    #[test]
    fn what_cannot_be_read_says_why_and_what_to_do() {
        let folder = folder(&[("empty.txt", ""), ("sub/x.md", "text")]);
        let inside = |name: &str| vec![folder.path().join(name)];
        assert!(error(&inside("missing.txt")).contains("missing.txt does not exist: check"));
        assert!(error(&inside("sub")).contains("no *.txt files: name the files"));
        assert!(error(&inside("empty.txt")).contains("the corpus is empty (0 characters"));
        assert!(error(&[]).contains("no corpus named"));
        #[cfg(unix)]
        assert!(error(&["/dev/null".into()]).contains("neither a file nor a folder"));
        fs::write(folder.path().join("bad.txt"), b"ab\xFF").unwrap();
        let bad = error(&inside("bad.txt"));
        assert!(bad.contains("bad.txt is not UTF-8: it has byte 0xFF at offset 2;"), "{bad}");
        assert!(bad.contains("`encoding` latin1"), "{bad}");
    }

    #[test]
    fn offsets_in_errors_count_from_the_start_of_their_own_file() {
        let folder = folder(&[("a.txt", "0123456789"), ("b.txt", "")]);
        fs::write(folder.path().join("b.txt"), b"\xEF\xBB\xBFa\xE9!").unwrap();
        let error = error(&[folder.path().into()]);
        assert!(error.contains("b.txt") && error.contains("offset 4;"), "{error}");
        let options = ReadOptions { encoding: Encoding::Latin1, newlines: Newlines::Lf };
        let corpus = Corpus::read(&[folder.path().into()], &options).unwrap();
        assert_eq!(corpus.text(), "0123456789\naé!");
    }

    #[test]
    fn the_fingerprint_is_the_sha256_of_the_text() {
        // printf abc | sha256sum
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Corpus::from_text("x", "abc").fingerprint(), abc);
    }

    #[test]
    fn the_shipped_text_is_the_one_its_readme_describes() {
        let corpus = Corpus::shipped();
        let readme = include_str!("../../corpus/README.md");
        assert!(readme.contains(&corpus.fingerprint()));
        assert_eq!(corpus.text().chars().count(), 277_290);
        assert_eq!(corpus.name(), "lantern-coast");
    }
}
