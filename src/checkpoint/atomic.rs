//! Files and folders replaced in one step: after a crash at any moment, either the old contents or the
//! new ones are there, complete. Nothing is removed but a checkpoint's own files.

use std::fs;
use std::path::{Path, PathBuf};

use crate::checkpoint::contents::{
    Contents, contents, ensure_file_or_nothing, ensure_lines, foreign, is_of_checkpoint,
};
use crate::checkpoint::disk::Disk;
use crate::checkpoint::format::CONFIG;
use crate::checkpoint::lines::Line;
use crate::error::{Error, Result};

/// Replaces a run's file of lines: writes `bytes` to a file beside `path`, flushes it, and renames it there.
///
/// # Errors
/// [`Error::Io`], and [`Error::Run`] if something else is at either place; the old file stays.
pub(super) fn replace_lines<L: Line>(disk: &Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    replace_checked(disk, path, bytes, ensure_lines::<L>)
}

/// The same for a file that is not a run's, with the same errors: only a regular file is replaced.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> Result<()> {
    replace_checked(&Disk::default(), path, bytes, ensure_file_or_nothing)
}

fn replace_checked(
    disk: &Disk,
    path: &Path,
    bytes: &[u8],
    check: impl Fn(&Path) -> Result<()>,
) -> Result<()> {
    let new = with_suffix(path, ".new");
    check(path)?;
    ensure_file_or_nothing(&new)?;
    if new.exists() {
        check(&new)?;
        disk.remove_file(&new).map_err(Error::io("remove", &new))?;
    }
    let written = disk.write_new(&new, bytes).and_then(|()| disk.rename(&new, path));
    if written.is_err() {
        // Frees the space if the disk is full.
        let _ = disk.remove_file(&new);
    }
    written.map_err(Error::io("write", path))
}

/// Replaces the checkpoint at `place` by one of these files, in the order in which they are written.
/// Other files in its folder move into the new one.
///
/// They are written into `place.new`. The two are then swapped: `place` → `place.old`, `place.new` →
/// `place`. After a crash between these two renames `place` is missing, and both other folders are
/// complete: [`recover`] finishes the swap, and [`existing`] finds the folder to read without writing.
///
/// # Errors
/// [`Error::Run`] if something that is not a checkpoint is at one of these places; [`Error::Io`]. The old
/// checkpoint stays.
pub(super) fn replace_folder(disk: &Disk, place: &Path, files: &[(&str, Vec<u8>)]) -> Result<()> {
    recover(disk, place)?;
    let (new, old) = (with_suffix(place, ".new"), with_suffix(place, ".old"));
    let replaces = contents(place)? != Contents::Nothing;
    let filled = fill(disk, &new, files);
    if let Err(error) = filled {
        let _ = discard(disk, &new, None);
        return Err(error);
    }
    if replaces {
        rename(disk, place, &old)?;
    }
    rename(disk, &new, place)?;
    if let Some(parent) = place.parent() {
        disk.sync_folder(parent).map_err(Error::io("flush", parent))?;
    }
    discard(disk, &old, Some(place))
}

fn fill(disk: &Disk, folder: &Path, files: &[(&str, Vec<u8>)]) -> Result<()> {
    disk.create_folder(folder).map_err(Error::io("create the folder", folder))?;
    for (name, bytes) in files {
        let path = folder.join(name);
        disk.write_new(&path, bytes).map_err(Error::io("write", &path))?;
    }
    disk.sync_folder(folder).map_err(Error::io("flush", folder))
}

/// Finishes a [`replace_folder`] or a [`remove`] that a crash interrupted. Only the process that holds the
/// run's lock may call it.
///
/// # Errors
/// [`Error::Run`] if something that is not a checkpoint is in the way; [`Error::Io`].
pub(super) fn recover(disk: &Disk, place: &Path) -> Result<()> {
    let (new, old) = (with_suffix(place, ".new"), with_suffix(place, ".old"));
    let (there, has_new, has_old) = (contents(place)?, contents(&new)?, contents(&old)?);
    if there == Contents::Nothing && has_old != Contents::Nothing {
        // The old folder was moved aside, so that the new one is complete.
        let complete = if matches!(has_new, Contents::Checkpoint(_)) { &new } else { &old };
        rename(disk, complete, place)?;
    }
    discard(disk, &new, Some(place))?;
    discard(disk, &old, Some(place))
}

/// Removes the checkpoint at `place`. A crash leaves it whole or leaves none.
///
/// # Errors
/// Those of [`recover`], and [`Error::Run`] if other files are in its folder.
pub(super) fn remove(disk: &Disk, place: &Path) -> Result<()> {
    recover(disk, place)?;
    ensure_no_other_files(place)?;
    if contents(place)? == Contents::Nothing {
        return Ok(());
    }
    // By this name it counts as a save that was cut off, which nobody reads.
    let new = with_suffix(place, ".new");
    rename(disk, place, &new)?;
    discard(disk, &new, None)
}

/// Refuses the places of a checkpoint if something else is at one of them.
///
/// # Errors
/// [`Error::Run`], or [`Error::Io`] if they cannot be read.
pub(super) fn ensure_checkpoint_or_nothing(place: &Path) -> Result<()> {
    places(place).iter().try_for_each(|place| contents(place).map(drop))
}

/// Refuses the places of a checkpoint if other files are in a folder there.
///
/// # Errors
/// Those of [`ensure_checkpoint_or_nothing`].
pub(super) fn ensure_no_other_files(place: &Path) -> Result<()> {
    for place in places(place) {
        if let Contents::Checkpoint(others) = contents(&place)?
            && let Some(other) = others.first()
        {
            return Err(foreign(&place, format!("it holds {}", Path::new(other).display())));
        }
    }
    Ok(())
}

fn places(place: &Path) -> [PathBuf; 3] {
    [place.to_path_buf(), with_suffix(place, ".new"), with_suffix(place, ".old")]
}

/// The folder that holds the last complete contents of `place`, if there is one.
pub(super) fn existing(place: &Path) -> Option<PathBuf> {
    // A swap may end after `place` was found missing and before `place.old` is: then `place` is there.
    const LOOKS: usize = 10;
    let (new, old) = (with_suffix(place, ".new"), with_suffix(place, ".old"));
    (0..LOOKS).find_map(|_| {
        if place.is_dir() {
            return Some(place.to_path_buf());
        }
        let complete = if new.is_dir() { &new } else { &old };
        old.is_dir().then(|| complete.clone())
    })
}

/// Removes a checkpoint's folder, if it is there. Other files in it move to `heir`; without one they stay
/// where they are, which is an error.
fn discard(disk: &Disk, folder: &Path, heir: Option<&Path>) -> Result<()> {
    let others = match contents(folder)? {
        Contents::Nothing => return Ok(()),
        Contents::Fragment => Vec::new(),
        Contents::Checkpoint(others) => others,
    };
    for other in &others {
        match heir.filter(|heir| heir.is_dir() && !heir.join(other).exists()) {
            Some(heir) => rename(disk, &folder.join(other), &heir.join(other))?,
            None => {
                let why = format!("it holds {}", Path::new(other).display());
                return Err(foreign(folder, why));
            }
        }
    }
    let remove = || -> std::io::Result<()> {
        let mut names: Vec<_> = fs::read_dir(folder)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<Result<_, _>>()?;
        // config.json goes last: without it the others would no longer be known as a checkpoint's.
        names.sort_by_key(|name| name == CONFIG);
        for name in names.iter().filter(|name| is_of_checkpoint(name)) {
            disk.remove_file(&folder.join(name))?;
        }
        disk.remove_folder(folder)
    };
    remove().map_err(Error::io("remove", folder))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(suffix);
    path.with_file_name(name)
}

fn rename(disk: &Disk, from: &Path, to: &Path) -> Result<()> {
    disk.rename(from, to).map_err(Error::io("move something to", to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::format::Metrics;

    fn config(text: &str) -> Vec<u8> {
        format!("{{\n  \"format\": 1,\n  \"chargru\": \"{text}\"\n}}\n").into_bytes()
    }

    fn files(text: &str) -> Vec<(&'static str, Vec<u8>)> {
        vec![(CONFIG, config(text)), ("model.safetensors", text.into())]
    }

    fn put(folder: &Path, text: &str) {
        fs::create_dir_all(folder).unwrap();
        for (name, bytes) in files(text) {
            fs::write(folder.join(name), bytes).unwrap();
        }
    }

    fn read(place: &Path) -> String {
        let weights = |folder: PathBuf| fs::read_to_string(folder.join("model.safetensors"));
        existing(place).map_or_else(String::new, |folder| weights(folder).unwrap_or_default())
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Every state that a kill can leave, in the order in which `replace_folder` and `remove` pass through
    /// them.
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
                put(&temp.path().join(name), text);
            }
            assert_eq!(read(&place), expected, "read before recovery: {folders:?}");
            recover(&Disk::default(), &place)?;
            assert_eq!(read(&place), expected, "read after recovery: {folders:?}");
            assert_eq!(names(temp.path()), ["last"]);
        }
        Ok(())
    }

    #[test]
    fn a_removal_that_was_cut_off_is_finished() -> Result<()> {
        let temp = tempfile::tempdir().unwrap();
        let (place, disk) = (temp.path().join("best"), Disk::default());
        put(&place, "one");
        remove(&disk, &place)?;
        assert_eq!(names(temp.path()), [""; 0]);
        put(&temp.path().join("best.new"), "one");
        fs::remove_file(temp.path().join("best.new/model.safetensors")).unwrap();
        assert_eq!(existing(&place), None);
        recover(&disk, &place)?;
        assert_eq!(names(temp.path()), [""; 0]);
        Ok(())
    }

    /// A reader that holds a file open makes the rename of its folder fail on Windows.
    #[test]
    fn a_folder_is_replaced_while_its_file_is_read() -> Result<()> {
        let temp = tempfile::tempdir().unwrap();
        let (place, disk) = (temp.path().join("last"), Disk::default());
        replace_folder(&disk, &place, &files("one"))?;
        let reader = fs::File::open(place.join("model.safetensors")).unwrap();
        let end = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(100));
            drop(reader);
        });
        replace_folder(&disk, &place, &files("two"))?;
        assert_eq!(read(&place), "two");
        end.join().unwrap();
        Ok(())
    }

    /// A file manager may put its own files there, at any moment.
    #[test]
    fn other_files_in_a_checkpoint_s_folder_stay_with_it() -> Result<()> {
        let temp = tempfile::tempdir().unwrap();
        let (place, disk) = (temp.path().join("last"), Disk::default());
        replace_folder(&disk, &place, &files("one"))?;
        fs::write(place.join("notes.txt"), "mine").unwrap();
        replace_folder(&disk, &place, &files("two"))?;
        assert_eq!(read(&place), "two");
        assert_eq!(names(&place), ["config.json", "model.safetensors", "notes.txt"]);
        assert_eq!(names(temp.path()), ["last"]);
        let refused = remove(&disk, &place).unwrap_err().to_string();
        assert!(refused.contains("it holds notes.txt"), "{refused}");
        Ok(())
    }

    #[test]
    fn what_is_not_chargru_s_is_refused_and_stays() {
        for taken in ["last", "last.new", "last.old"] {
            let temp = tempfile::tempdir().unwrap();
            let (place, disk) = (temp.path().join("last"), Disk::default());
            let mine = temp.path().join(taken);
            fs::create_dir(&mine).unwrap();
            fs::write(mine.join("beach.jpg"), "a picture").unwrap();
            for refused in [
                replace_folder(&disk, &place, &files("one")),
                recover(&disk, &place),
                remove(&disk, &place),
                ensure_checkpoint_or_nothing(&place),
            ] {
                let message = refused.unwrap_err().to_string();
                let says = format!("{} is in the way of the run", mine.display());
                assert!(message.starts_with(&says) && message.contains("beach.jpg"), "{message}");
            }
            assert_eq!(names(temp.path()), [taken]);
            assert_eq!(fs::read_to_string(mine.join("beach.jpg")).unwrap(), "a picture");
        }
    }

    #[test]
    fn metrics_are_replaced_and_another_file_of_that_name_is_not() -> Result<()> {
        let temp = tempfile::tempdir().unwrap();
        let (path, disk) = (temp.path().join("metrics.jsonl"), Disk::default());
        replace_lines::<Metrics>(&disk, &path, b"{\"step\":1")?;
        fs::write(temp.path().join("metrics.jsonl.new"), b"{\"step\":7").unwrap();
        replace_lines::<Metrics>(&disk, &path, b"{\"step\":2")?;
        assert_eq!(fs::read(&path).unwrap(), b"{\"step\":2");
        assert_eq!(names(temp.path()), ["metrics.jsonl"]);
        for name in ["metrics.jsonl", "metrics.jsonl.new"] {
            fs::write(temp.path().join(name), "my own notes\n").unwrap();
            replace_lines::<Metrics>(&disk, &path, b"{\"step\":3").unwrap_err();
            assert_eq!(fs::read_to_string(temp.path().join(name)).unwrap(), "my own notes\n");
            fs::remove_file(temp.path().join(name)).unwrap();
        }
        Ok(())
    }
}
