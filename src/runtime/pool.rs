//! Work on rayon's threads, with none of them asleep.
//!
//! A training step of a small model is some forty parallel sections, few longer than a millisecond. From
//! a thread outside the pool each section is handed over and waited for, and a pool's thread that
//! found nothing to do between two sections has to be woken again: together a sixth of the step at
//! H = 128. So a step runs on one of the pool's threads, while the others look for work until it ends.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long the other threads are waited for. Normally they come within microseconds; where
/// something else keeps one busy, the work begins without any of them kept awake.
const PATIENCE: Duration = Duration::from_millis(1);

/// Runs `work` on a thread of the current rayon pool and keeps the pool's other threads awake
/// meanwhile: they spin where there is nothing to do, so call it for stretches that are mostly parallel.
pub fn on_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let (entered, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    rayon::scope(|scope| {
        let here = rayon::current_thread_index();
        let others = rayon::current_num_threads() - 1;
        // Also where `work` panics: the others wait for it.
        let _guard = SetOnDrop(&done);
        if others > 0 {
            let (entered, done) = (&entered, &done);
            scope.spawn_broadcast(move |_, context| {
                if Some(context.index()) != here {
                    entered.fetch_add(1, Ordering::Relaxed);
                    stay_awake(done);
                }
            });
            // A thread that came later, while it waits for a part of `work` within another part of
            // it, would never get back to it: so all come now, or none stays.
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

/// Runs what the pool has to do until `done`.
fn stay_awake(done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        if rayon::yield_now() != Some(rayon::Yield::Executed) {
            // Where there are more threads than processors, the one with work must get its turn.
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
        let panicked = std::panic::catch_unwind(work);
        assert!(panicked.is_err());
        assert_eq!(sum(&pool), 49_995_000);
    }
}
