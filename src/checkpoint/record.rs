//! What a run has recorded of itself, read without its weights.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::checkpoint::atomic::existing;
use crate::checkpoint::contents::metadata;
use crate::checkpoint::format::{CONFIG, Config, Metrics};
use crate::checkpoint::lines::{KeptSample, Line, parse};
use crate::checkpoint::read::read_text_file;
use crate::error::{Error, Result};

/// What a run has recorded of itself. It may be training.
#[derive(Clone, Debug)]
pub struct RunRecord {
    /// The folder of the run.
    pub root: PathBuf,
    /// config.json of `last`, or of `best` where there is no `last`.
    pub config: Config,
    /// In the order in which they were written. Empty before the first evaluation.
    pub metrics: Vec<Metrics>,
    /// Lines of the metrics that cannot be read.
    pub broken_lines: usize,
    /// Empty for runs of older versions.
    pub samples: Vec<KeptSample>,
}

/// How often a config.json is looked for that is being replaced.
const LOOKS: u32 = 20;

impl RunRecord {
    /// Reads the record of the run in the folder `root`.
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`] if nothing is at `root`; [`Error::Checkpoint`] if it holds no run, and for a file
    /// that is broken or of another version; [`Error::Io`] for one that cannot be read.
    pub fn read(root: &Path) -> Result<Self> {
        let config = config(root)?;
        let bytes = read_lines_of::<Metrics>(root)?;
        let metrics: Vec<Metrics> = parse(&bytes).collect();
        let written = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).count();
        Ok(Self {
            root: root.to_path_buf(),
            config,
            broken_lines: written - metrics.len(),
            metrics,
            samples: read_samples(root)?,
        })
    }
}

/// The samples that a run has kept; none if it has no such file.
///
/// # Errors
/// [`Error::Io`]; [`Error::Checkpoint`] for something else than a regular file, and for one that is too large.
pub fn read_samples(root: &Path) -> Result<Vec<KeptSample>> {
    Ok(parse(&read_lines_of::<KeptSample>(root)?).collect())
}

fn read_lines_of<L: Line>(root: &Path) -> Result<Vec<u8>> {
    let path = root.join(L::FILE);
    if metadata(&path)?.is_none() { Ok(Vec::new()) } else { read_text_file(&path) }
}

fn config(root: &Path) -> Result<Config> {
    for look in 1..=LOOKS {
        for name in ["last", "best"] {
            let Some(folder) = existing(&root.join(name)) else { continue };
            let path = folder.join(CONFIG);
            match read_text_file(&path) {
                // It is being replaced.
                Err(_) if look < LOOKS => break,
                read => {
                    return Config::from_json(&read?).map_err(|cause| Error::broken(&path, cause));
                }
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    if metadata(root)?.is_none() {
        return Err(Error::NoCheckpoint(root.to_path_buf()));
    }
    Err(Error::checkpoint(
        root,
        format!(
            "{} holds no run: give the folder of a run, which holds last/ or best/",
            root.display()
        ),
    ))
}
