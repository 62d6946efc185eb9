//! Settings of the whole process that the kernels gain from. They stand here because `unsafe` does.

#![allow(unsafe_code)]

/// Call it first in `main`. It changes no result, only speed:
///
/// - candle's own pool of threads is kept from spinning beside rayon's (`CANDLE_NUM_THREADS=1`,
///   unless the user has set it);
/// - glibc's allocator keeps the memory of one training step for the next, instead of giving it back
///   and faulting it in again page by page.
///
/// Does nothing on systems where it cannot be done safely.
pub fn prepare_process() {
    #[cfg(target_os = "linux")]
    keep_candle_quiet();
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    keep_memory();
}

#[cfg(target_os = "linux")]
fn keep_candle_quiet() {
    const VARIABLE: &str = "CANDLE_NUM_THREADS";
    let threads = std::fs::read_dir("/proc/self/task").map_or(usize::MAX, Iterator::count);
    if threads != 1 || std::env::var_os(VARIABLE).is_some() {
        return;
    }
    // SAFETY: the environment must not be read or written by another thread meanwhile, and this
    // process has no other thread: the kernel has just listed one task.
    unsafe { std::env::set_var(VARIABLE, "1") };
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn keep_memory() {
    for (option, value) in [
        // Large blocks come from the heap too, not from maps that are thrown away when freed.
        (libc::M_MMAP_MAX, 0),
        // The heap's end is not given back,
        (libc::M_TRIM_THRESHOLD, i32::MAX),
        // and grows in large strides.
        (libc::M_TOP_PAD, 64 << 20),
    ] {
        // SAFETY: mallopt takes two numbers, locks what it changes, and refuses what it does not know.
        unsafe { libc::mallopt(option, value) };
    }
}
