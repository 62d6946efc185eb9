//! How many threads the tasks of a section may be spread over.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What [`set_threads`] was given, or 0.
static COUNT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// What [`with_threads`] says on this thread, or 0.
    static HERE: Cell<usize> = const { Cell::new(0) };
}

/// The number of threads that work begun by this thread is spread over: what [`with_threads`] or else
/// [`set_threads`] says, or else the processors that this process may use.
pub fn threads() -> usize {
    match (HERE.get(), COUNT.load(Ordering::Relaxed)) {
        (0, 0) => processors(),
        (0, count) | (count, _) => count,
    }
}

/// Sets what [`threads`] answers in the whole process, but not above the number of processors that it
/// may use: more threads would take turns.
///
/// # Panics
/// If `count` is zero.
pub fn set_threads(count: usize) {
    assert!(count > 0, "work needs a thread");
    COUNT.store(count.min(processors()), Ordering::Relaxed);
}

/// Runs `work` with [`threads`] answering `count`, be there as many processors or not. Holds for what
/// this thread does; a count of 1 keeps the work on it.
///
/// # Panics
/// If `count` is zero.
pub fn with_threads<R>(count: usize, work: impl FnOnce() -> R) -> R {
    /// Also where `work` panics.
    struct Restore(usize);
    impl Drop for Restore {
        fn drop(&mut self) {
            HERE.set(self.0);
        }
    }
    assert!(count > 0, "work needs a thread");
    let _restore = Restore(HERE.replace(count));
    work()
}

/// As many as the affinity mask and the control group of the process allow when this is first asked.
fn processors() -> usize {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    *PROCESSORS.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_number_holds_until_its_work_ends_or_panics() {
        let outside = threads();
        with_threads(7, || {
            assert_eq!(threads(), 7);
            let panics = std::panic::catch_unwind(|| with_threads(3, || panic!("on purpose")));
            assert!(panics.is_err());
            assert_eq!(threads(), 7);
            // Another thread has its own.
            let other = std::thread::spawn(threads).join().expect("no panic");
            assert_eq!(other, outside);
        });
        assert_eq!(threads(), outside);
    }

    #[test]
    fn no_more_threads_than_processors_are_set() {
        // What other tests see does not change by it.
        set_threads(processors() + 1);
        assert_eq!(COUNT.load(Ordering::Relaxed), processors());
    }
}
