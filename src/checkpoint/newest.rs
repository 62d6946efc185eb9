//! Which run is meant where none is named.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::checkpoint::atomic::existing;
use crate::checkpoint::format::{CONFIG, Config};
use crate::checkpoint::read::read_text_file;

/// The runs that ship with the program.
const SHIPPED: [&str; 2] = ["demo-bidirectional", "demo"];

/// The run in the folder `checkpoints` that was saved last. Those that ship with the program count only if
/// there is no other, and `demo` before `demo-bidirectional`.
pub fn newest_run(checkpoints: &Path) -> Option<PathBuf> {
    newest(checkpoints, |_| true)
}

/// The bidirectional run in the folder `checkpoints` that was saved last, as [`newest_run`] finds it.
pub fn newest_bidirectional_run(checkpoints: &Path) -> Option<PathBuf> {
    newest(checkpoints, |config| {
        let config = read_text_file(config).ok().and_then(|json| Config::from_json(&json).ok());
        config.is_some_and(|config| config.model.bidirectional)
    })
}

/// The newest run with a checkpoint whose config.json is `wanted`.
fn newest(checkpoints: &Path, wanted: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let written = |run: &Path| -> Option<SystemTime> {
        ["best", "last"]
            .iter()
            .filter_map(|name| existing(&run.join(name)))
            .map(|folder| folder.join(CONFIG))
            .filter(|config| wanted(config))
            .filter_map(|config| fs::metadata(config).ok()?.modified().ok())
            .max()
    };
    fs::read_dir(checkpoints)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter_map(|run| {
            let is_run = |name: &&str| run.file_name().is_some_and(|found| found == *name);
            let rank = SHIPPED.iter().position(is_run).unwrap_or(SHIPPED.len());
            Some(((rank, written(&run)?), run))
        })
        .max()
        .map(|(_, run)| run)
}
