//! Settings of the whole process: those that make the kernels faster, and what it does with a signal. They
//! need `unsafe`.

#![allow(unsafe_code)]

/// Prepares the process; call it first in `main`. It changes the speed and no result:
///
/// - candle's own pool gets one thread (`CANDLE_NUM_THREADS=1`, unless the user has set it), because its
///   threads compete with those of the kernels;
/// - glibc's allocator keeps the memory of one training step for the next. Otherwise it would return it
///   to the system, and every step would begin with page faults.
///
/// The first is left out if another thread runs already, and both on other systems than Linux.
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
        // Large blocks come from the heap, not from maps that are removed when they are freed,
        (libc::M_MMAP_MAX, 0),
        // the end of the heap is not returned to the system,
        (libc::M_TRIM_THRESHOLD, i32::MAX),
        // and the heap grows by 64 MiB at a time.
        (libc::M_TOP_PAD, 64 << 20),
    ] {
        // SAFETY: mallopt takes two numbers, locks what it changes, and refuses what it does not know.
        unsafe { libc::mallopt(option, value) };
    }
}

/// Whether the process ignores this signal, as when `nohup` started it. False for no signal.
#[cfg(unix)]
pub fn is_ignored(signal: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action sigaction changes nothing; it writes the present one to a place that
    // has its size and lives until it returns.
    let found = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) } == 0;
    // SAFETY: a sigaction of zeros is a valid one, of SIG_DFL without flags, if the call wrote none.
    let action = unsafe { action.assume_init() };
    found && action.sa_sigaction == libc::SIG_IGN
}
