//! Runs work on rayon's threads and keeps them awake until it ends.
//!
//! A training step of a small model has about forty parallel sections, most shorter than a millisecond.
//! A thread outside the pool has to hand over each section and wait for it, and a thread of the pool that
//! finds no work between two sections goes to sleep and must be woken. At H = 128 this costs a sixth of
//! the step. So the step runs on a thread of the pool, and the others look for work until it ends.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long to wait for the other threads. Normally they come within microseconds. If other work keeps one
/// busy for longer, none is kept awake.
const PATIENCE: Duration = Duration::from_millis(1);

/// Runs `work` on a thread of the current rayon pool. Until it ends, the other threads of the pool spin
/// when they have no work, so `work` should be mostly parallel.
pub fn on_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let (entered, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    rayon::scope(|scope| {
        let here = rayon::current_thread_index();
        let others = rayon::current_num_threads() - 1;
        // The others stop when this is dropped, also if `work` panics.
        let _guard = SetOnDrop(&done);
        if others > 0 {
            let (entered, done) = (&entered, &done);
            scope.spawn_broadcast(move |_, context| {
                if Some(context.index()) != here {
                    entered.fetch_add(1, Ordering::Relaxed);
                    stay_awake(done);
                }
            });
            // All of them must come before `work` begins. A thread that ran `stay_awake` later, while
            // it waits inside a part of `work`, would wait for the end of that same `work`.
            let start = Instant::now();
            while entered.load(Ordering::Relaxed) < others {
                if start.elapsed() > PATIENCE {
                    done.store(true, Ordering::Relaxed);
                    break;
                }
                std::hint::spin_loop();
            }
        }
        work()
    })
}

/// Runs the pool's tasks until `done`.
fn stay_awake(done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        if rayon::yield_now() != Some(rayon::Yield::Executed) {
            // With more threads than processors, lets a thread with work run.
            std::thread::yield_now();
        }
    }
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;

    fn sum(pool: &rayon::ThreadPool) -> u64 {
        pool.install(|| on_pool(|| (0..10_000u64).into_par_iter().sum()))
    }

    #[test]
    fn it_gives_the_work_s_result_on_any_number_of_threads() {
        for threads in 1..=4 {
            let pool =
                rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            for _ in 0..100 {
                assert_eq!(sum(&pool), 49_995_000);
            }
        }
    }

    #[test]
    fn two_at_once_and_one_within_another_come_to_an_end() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("a pool");
        let twice = pool.install(|| rayon::join(|| on_pool(|| sum(&pool)), || sum(&pool)));
        assert_eq!(twice, (49_995_000, 49_995_000));
    }

    #[test]
    fn a_panic_in_the_work_passes_and_leaves_the_pool_usable() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("a pool");
        let work =
            std::panic::AssertUnwindSafe(|| pool.install(|| on_pool(|| panic!("on purpose"))));
        let panic = std::panic::catch_unwind(work).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
        assert_eq!(sum(&pool), 49_995_000);
    }
}
