//! Finds the files of a corpus, and names it. Reads nothing of them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::error::{Error, Result, ensure, reorders};

/// Where a part of a corpus comes from.
pub(super) enum Source {
    Stdin,
    File { path: PathBuf, size: u64 },
}

impl Source {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Stdin => "standard input".into(),
            Self::File { path, .. } => path.display().to_string(),
        }
    }

    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Stdin => 0,
            Self::File { size, .. } => *size,
        }
    }
}

pub(super) fn find(paths: &[PathBuf]) -> Result<Vec<Source>> {
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

/// What a run on `path` is called by default: the file's name without its extension, made safe as the
/// name of a folder.
pub(super) fn name_of(path: &Path) -> String {
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
        .map_or_else(|| UNNAMED.into(), |name| one_component(&name))
}

const UNNAMED: &str = "corpus";

/// Names of devices on Windows, where `con.v2` is one too.
const RESERVED: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];

/// `name` as one component of a path on any system, which is not hidden and leads nowhere else.
fn one_component(name: &str) -> String {
    let unsafe_in_a_path = |c: char| {
        c.is_control() || reorders(c) || matches!(c, '/' | '\\' | ':' | char::REPLACEMENT_CHARACTER)
    };
    let name = name.replace(unsafe_in_a_path, "_");
    let name = name.trim_start_matches(['.', ' ']).trim_end_matches(['.', ' ']);
    if name.is_empty() {
        return UNNAMED.into();
    }
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_lowercase();
    let port = stem.strip_prefix("com").or_else(|| stem.strip_prefix("lpt"));
    let is_port = port.is_some_and(|port| {
        port.chars().count() == 1
            && port.contains(|c: char| c.is_ascii_digit() || "¹²³".contains(c))
    });
    if is_port || RESERVED.contains(&stem.as_str()) { format!("_{name}") } else { name.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_s_name_is_one_safe_component_of_a_path() {
        for (path, name) in [
            ("poems.txt", "poems"),
            ("...txt", "corpus"),
            ("....txt", "corpus"),
            (".hidden.txt", "hidden"),
            ("... a .txt", "a"),
            ("C:\\texts\\a.txt", "C__texts_a"),
            ("a\u{1b}[31m\u{202e}b.txt", "a_[31m_b"),
            ("tale.of.two.md", "tale.of.two"),
            ("con.txt", "_con"),
            ("Nul.v2.txt", "_Nul.v2"),
            ("lpt1.txt", "_lpt1"),
            ("com\u{b9}.txt", "_com\u{b9}"),
            ("com10.txt", "com10"),
            ("/", "corpus"),
            ("-", "stdin"),
        ] {
            if !(cfg!(windows) && path.contains(['\\', ':'])) {
                assert_eq!(name_of(path.as_ref()), name, "{path:?}");
            }
        }
    }
}
