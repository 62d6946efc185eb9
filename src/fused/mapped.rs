//! A file's bytes without a copy. It stands here because `unsafe` does.

use std::fs::File;
use std::io;

use memmap2::Mmap;

/// Maps a whole file for reading.
///
/// # Errors
/// What the operating system says; an empty file cannot be mapped on every system.
pub fn map_file(file: &File) -> io::Result<Mmap> {
    // SAFETY: the bytes must not change under the map. A checkpoint's files are never written in place:
    // each is written beside its name and renamed over it, and the map then keeps the old file. What
    // another program does to the file cannot be ruled out; the caller copies the numbers out at once,
    // each read being of plain bytes for which every bit pattern is a value.
    unsafe { Mmap::map(file) }
}
