//! The space that a run's checkpoints take on the disk.

use std::path::Path;

use crate::error::{Error, Result, RunProblem, ensure};

/// Bytes that the checkpoints of a run take: two copies of best and of last, because a new one is written
/// beside the old, and 1 MB of JSON. `weights` and `state` are numbers in float32.
pub(crate) fn space_needed(weights: u128, state: u128) -> u64 {
    u64::try_from(2 * 4 * (2 * weights + state) + (1 << 20)).unwrap_or(u64::MAX)
}

/// Checks that the disk of `folder`, or of the folder that it would be created in, has `needed` bytes free.
///
/// # Errors
/// [`RunProblem::DiskFull`].
pub fn ensure_space(folder: &Path, needed: u64) -> Result<()> {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    let Some(Ok(free)) = absolute.ancestors().find(|path| path.exists()).map(fs4::available_space)
    else {
        return Ok(());
    };
    ensure!(
        free >= needed,
        Error::Run {
            path: folder.to_path_buf(),
            problem: RunProblem::DiskFull {
                free_mb: free >> 20,
                needed_mb: needed.div_ceil(1 << 20),
            },
        }
    );
    Ok(())
}
