//! What a folder or a file in a run is: a checkpoint, the beginning of one, or something that is not
//! chargru's and must be left alone.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use crate::checkpoint::format::{CONFIG, Config, FILES};
use crate::checkpoint::lines::{HEAD, Line, parse};
use crate::error::{Error, Result, RunProblem};

/// What stands at the place of a checkpoint.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Contents {
    Nothing,
    /// A checkpoint of any version, whole or not, and the names of what else is in its folder.
    Checkpoint(Vec<OsString>),
    /// An empty folder, or one with the first part of a config.json: a save or a removal was cut off.
    Fragment,
}

/// What is at `place`.
///
/// # Errors
/// [`Error::Run`] for what is not a checkpoint: a file, a symbolic link, a folder with other files;
/// [`Error::Io`] if it cannot be read.
pub(super) fn contents(place: &Path) -> Result<Contents> {
    let Some(found) = metadata(place)? else { return Ok(Contents::Nothing) };
    if !found.is_dir() {
        return Err(foreign(place, format!("it is {}", kind(&found))));
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(place).map_err(Error::io("read", place))? {
        names.push(entry.map_err(Error::io("read", place))?.file_name());
    }
    let head = config_in(place)?;
    if head.as_deref().is_some_and(Config::is_one) {
        let others = names.into_iter().filter(|name| !is_of_checkpoint(name));
        return Ok(Contents::Checkpoint(others.collect()));
    }
    let fragment = head.as_deref().is_some_and(Config::may_become_one);
    match names.iter().find(|name| !fragment || *name != CONFIG) {
        None => Ok(Contents::Fragment),
        Some(name) => Err(foreign(place, format!("it holds {}", Path::new(name).display()))),
    }
}

/// Whether `folder` holds a config.json of chargru's.
///
/// # Errors
/// [`Error::Io`] if it cannot be read.
pub(super) fn is_checkpoint(folder: &Path) -> Result<bool> {
    Ok(config_in(folder)?.as_deref().is_some_and(Config::is_one))
}

/// What config.json holds in a folder, if that is a regular file.
fn config_in(folder: &Path) -> Result<Option<Vec<u8>>> {
    let path = folder.join(CONFIG);
    match metadata(&path)? {
        Some(found) if found.is_file() => head(&path).map(Some).map_err(Error::io("read", &path)),
        _ => Ok(None),
    }
}

/// Whether a checkpoint has a file of this name. Older versions wrote each file under a name with `.new` first.
pub(super) fn is_of_checkpoint(name: &OsStr) -> bool {
    let name = name.to_str().unwrap_or_default();
    FILES.contains(&name.strip_suffix(".new").unwrap_or(name))
}

/// Refuses `path` if something is there that is not a run's file of such lines.
///
/// # Errors
/// [`Error::Run`], or [`Error::Io`] if it cannot be read.
pub(super) fn ensure_lines<L: Line>(path: &Path) -> Result<()> {
    let Some(found) = metadata(path)? else { return Ok(()) };
    if !found.is_file() {
        return Err(foreign(path, format!("it is {}", kind(&found))));
    }
    let head = head(path).map_err(Error::io("read", path))?;
    if parse::<L>(&head).next().is_some() {
        return Ok(());
    }
    // A crash may have cut the first line off.
    let mut lines = head.split(|&byte| byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let begins = first.starts_with(HEAD) || HEAD.starts_with(first);
    if begins && lines.next().is_none() {
        return Ok(());
    }
    Err(foreign(path, format!("it has no line of {}", L::WHAT)))
}

/// Refuses `path` if something other than a regular file is there.
///
/// # Errors
/// [`Error::Run`], or [`Error::Io`] if it cannot be looked at.
pub(super) fn ensure_file_or_nothing(path: &Path) -> Result<()> {
    match metadata(path)? {
        Some(found) if !found.is_file() => Err(foreign(path, format!("it is {}", kind(&found)))),
        _ => Ok(()),
    }
}

/// Of what is at `path` itself: a symbolic link is not followed.
pub(super) fn metadata(path: &Path) -> Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// The error for something that is not chargru's.
pub(super) fn foreign(path: &Path, why: String) -> Error {
    Error::Run { path: path.to_path_buf(), problem: RunProblem::Foreign { why } }
}

fn kind(found: &Metadata) -> &'static str {
    if found.is_symlink() {
        "a symbolic link"
    } else if found.is_file() {
        "a file"
    } else if found.is_dir() {
        "a folder"
    } else {
        "neither a file nor a folder"
    }
}

/// The first bytes of a file: all of any config.json, and more than the first line of any metrics.
fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(1 << 20).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::format::Metrics;
    use crate::checkpoint::lines::KeptSample;

    const CONFIG_JSON: &str =
        "{\n  \"format\": 1,\n  \"chargru\": \"0.1.0\",\n  \"model\": {}\n}\n";

    fn refused(result: Result<impl std::fmt::Debug>) -> String {
        match result.unwrap_err() {
            Error::Run { problem: RunProblem::Foreign { why }, .. } => why,
            error => panic!("{error}"),
        }
    }

    #[test]
    fn a_checkpoint_is_told_from_what_is_not_chargru_s() {
        let temp = tempfile::tempdir().unwrap();
        let place = temp.path().join("best");
        assert_eq!(contents(&place).unwrap(), Contents::Nothing);
        fs::create_dir(&place).unwrap();
        assert_eq!(contents(&place).unwrap(), Contents::Fragment);
        let config = place.join(CONFIG);
        for length in [0, 1, 9, CONFIG_JSON.len() - 3] {
            fs::write(&config, &CONFIG_JSON[..length]).unwrap();
            assert_eq!(contents(&place).unwrap(), Contents::Fragment, "{length}");
        }
        fs::write(&config, CONFIG_JSON).unwrap();
        assert_eq!(contents(&place).unwrap(), Contents::Checkpoint(vec![]));
        fs::write(place.join("notes.txt"), "mine").unwrap();
        fs::write(place.join("tokenizer.json.new"), "{").unwrap();
        assert_eq!(contents(&place).unwrap(), Contents::Checkpoint(vec!["notes.txt".into()]));
        fs::remove_file(place.join("tokenizer.json.new")).unwrap();
        fs::remove_file(&config).unwrap();
        assert_eq!(refused(contents(&place)), "it holds notes.txt");
        // A model of Hugging Face has files of the same names.
        fs::remove_file(place.join("notes.txt")).unwrap();
        fs::write(&config, "{\n  \"architectures\": [\"GPT2\"]\n}\n").unwrap();
        assert_eq!(refused(contents(&place)), "it holds config.json");
        fs::remove_dir_all(&place).unwrap();
        fs::write(&place, "a file").unwrap();
        assert_eq!(refused(contents(&place)), "it is a file");
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_is_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        let (target, link) = (temp.path().join("target"), temp.path().join("best"));
        fs::create_dir(&target).unwrap();
        fs::write(target.join(CONFIG), CONFIG_JSON).unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert_eq!(refused(contents(&link)), "it is a symbolic link");
        assert_eq!(refused(ensure_file_or_nothing(&link)), "it is a symbolic link");
        // Nor one within a checkpoint's place.
        fs::remove_file(&link).unwrap();
        fs::create_dir(&link).unwrap();
        std::os::unix::fs::symlink(target.join(CONFIG), link.join(CONFIG)).unwrap();
        assert_eq!(refused(contents(&link)), "it holds config.json");
    }

    #[test]
    fn metrics_are_told_from_another_file_of_that_name() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("metrics.jsonl");
        ensure_lines::<Metrics>(&path).unwrap();
        let line = "{\"step\":1,\"epoch\":0,\"train_loss\":2.0,\"val_loss\":null,\"lr\":0.1,\
                    \"chars_per_second\":1.0,\"elapsed_seconds\":1.0}\n";
        let broken = format!("{{\"st\u{FFFD}\n{line}");
        for mine in ["", "{\"st", &line[..30], line, &format!("{line}{line}\u{FFFD}"), &broken] {
            fs::write(&path, mine).unwrap();
            ensure_lines::<Metrics>(&path).unwrap();
        }
        for foreign in ["{\"loss\": 1}\n", "hello", "{\"st\n"] {
            fs::write(&path, foreign).unwrap();
            assert_eq!(refused(ensure_lines::<Metrics>(&path)), "it has no line of metrics");
            assert_eq!(refused(ensure_lines::<KeptSample>(&path)), "it has no line of samples");
        }
    }
}
