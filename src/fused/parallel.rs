//! The one place where work is given to several threads. Knows nothing of what the work is.
//!
//! A section is one call of [`for_each`] or [`for_items`]: tasks that may run at the same time and in
//! any order. It ends when all have. No result may depend on how many threads there are.
//!
//! [`record`] runs the sections of some work on one thread and times every task, to model how long
//! the work takes on more processors than the machine has.

use crate::runtime::{self, section};
use std::cell::{Cell, RefCell};
use std::ops::{Range, RangeInclusive};
use std::panic::Location;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Threads that the tasks of a section are spread over.
pub fn threads() -> usize {
    RECORDER.get().map_or_else(runtime::threads, |recorder| recorder.threads)
}

/// Calls `task` with each of `0..tasks`.
#[track_caller]
pub fn for_each(tasks: usize, task: impl Fn(usize) + Sync + Send) {
    match RECORDER.get() {
        None => section(tasks, task),
        Some(recorder) => recorder.run(Location::caller(), 0..tasks, task),
    }
}

/// Calls `task` with each of `items`, such as the chunks of a slice. There should be few of them:
/// they are listed first.
#[track_caller]
pub fn for_items<T: Send>(items: impl IntoIterator<Item = T>, task: impl Fn(T) + Sync + Send) {
    match RECORDER.get() {
        None => {
            // Each lock is taken once: it hands the item to whichever thread takes the task.
            let items: Vec<_> = items.into_iter().map(|item| Mutex::new(Some(item))).collect();
            section(items.len(), |i| {
                let item = items[i].lock().unwrap_or_else(PoisonError::into_inner).take();
                item.into_iter().for_each(&task);
            });
        }
        Some(recorder) => recorder.run(Location::caller(), items, task),
    }
}

/// How many tasks to cut `len` units of work into: tasks of about as many units as `units` allows, at
/// most its end, and the same number for every thread where its start allows that.
pub fn tasks(len: usize, units: RangeInclusive<usize>) -> usize {
    let (least, most) = units.into_inner();
    len.div_ceil(most).next_multiple_of(threads()).min(len.div_ceil(least))
}

/// The units of task `i` where `len` units are cut into `tasks`: no task has more than one unit more
/// than another.
pub fn share(len: usize, tasks: usize, i: usize) -> Range<usize> {
    i * len / tasks..(i + 1) * len / tasks
}

/// Cuts `data` into the shares of so many tasks, in units of `unit` elements; the last unit may be
/// shorter. Gives the units of each share, and its elements.
pub fn shares<T>(
    mut data: &mut [T],
    unit: usize,
    tasks: usize,
) -> impl Iterator<Item = (Range<usize>, &mut [T])> {
    let units = data.len().div_ceil(unit);
    (0..tasks).map(move |i| {
        let range = share(units, tasks, i);
        let len = data.len().min(range.len() * unit);
        let (part, rest) = std::mem::take(&mut data).split_at_mut(len);
        data = rest;
        (range, part)
    })
}

thread_local! {
    /// Where this thread records.
    static RECORDER: Cell<Option<Recorder>> = const { Cell::new(None) };
    static SECTIONS: RefCell<Vec<Section>> = const { RefCell::new(Vec::new()) };
}

/// A section as it ran on one thread.
#[derive(Clone, Debug)]
pub struct Section {
    /// The line of the program that has the section.
    pub place: &'static Location<'static>,
    /// How long each task took, in their order.
    pub tasks: Vec<Duration>,
    /// From the section's begin to its end.
    pub wall: Duration,
}

impl Section {
    /// How long the tasks take on so many threads, each task going to the thread that is free first.
    pub fn makespan(&self, threads: usize) -> Duration {
        let mut busy = vec![Duration::ZERO; threads.max(1)];
        for &task in &self.tasks {
            if let Some(first_free) = busy.iter_mut().min() {
                *first_free += task;
            }
        }
        busy.into_iter().max().unwrap_or_default()
    }
}

#[derive(Clone, Copy)]
struct Recorder {
    /// What [`threads`] answers.
    threads: usize,
    clock: fn() -> Duration,
}

impl Recorder {
    /// Runs a section's tasks on this thread and notes how long each took.
    fn run<T>(
        self,
        place: &'static Location<'static>,
        items: impl IntoIterator<Item = T>,
        task: impl Fn(T),
    ) {
        let start = (self.clock)();
        let mut tasks = Vec::new();
        for item in items {
            let start = (self.clock)();
            task(item);
            tasks.push((self.clock)() - start);
        }
        let wall = (self.clock)() - start;
        SECTIONS.with_borrow_mut(|sections| sections.push(Section { place, tasks, wall }));
    }
}

/// Runs `work` on this thread as if there were `threads`: the work is cut as for so many, and the
/// tasks of a section run one after another. Returns also the sections, and the time outside of them.
/// `clock` tells the time since any fixed moment.
pub fn record<R>(
    threads: usize,
    clock: fn() -> Duration,
    work: impl FnOnce() -> R,
) -> (R, Vec<Section>, Duration) {
    /// Also where `work` panics.
    struct Stop;
    impl Drop for Stop {
        fn drop(&mut self) {
            RECORDER.set(None);
        }
    }
    SECTIONS.take();
    let stop = Stop;
    RECORDER.set(Some(Recorder { threads, clock }));
    let start = clock();
    let result = work();
    let wall = clock() - start;
    drop(stop);
    let sections = SECTIONS.take();
    let inside = sections.iter().map(|section| section.wall).sum();
    (result, sections, wall.saturating_sub(inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(tasks: &[u64]) -> Section {
        let tasks = tasks.iter().map(|&ms| Duration::from_millis(ms)).collect();
        Section { place: Location::caller(), tasks, wall: Duration::ZERO }
    }

    #[test]
    fn the_thread_that_is_free_first_takes_the_next_task() {
        for (tasks, threads, want) in [
            (&[][..], 4, 0),
            (&[5], 4, 5),
            (&[3, 1, 2], 1, 6),
            (&[1, 1, 1, 1, 1], 2, 3),
            (&[4, 1, 1, 1, 3], 2, 6),
            (&[2, 2, 2, 9], 3, 11),
            (&[7, 1, 1], 8, 7),
        ] {
            let got = section(tasks).makespan(threads);
            assert_eq!(got, Duration::from_millis(want), "{tasks:?} on {threads}");
        }
    }

    #[test]
    fn shares_cover_everything_once_and_differ_by_at_most_one() {
        for len in 1..70 {
            for count in 1..=len.min(17) {
                let mut next = 0;
                for i in 0..count {
                    let range = share(len, count, i);
                    assert_eq!(range.start, next, "{len} in {count}");
                    assert!((len / count..=len.div_ceil(count)).contains(&range.len()));
                    next = range.end;
                }
                assert_eq!(next, len);
                // The last unit is cut short.
                let mut data = vec![0; 3 * len - 1];
                for (units, part) in shares(&mut data, 3, count) {
                    assert_eq!(part.len(), (3 * units.end).min(3 * len - 1) - 3 * units.start);
                    part.iter_mut().for_each(|x| *x += 1);
                }
                assert!(data.iter().all(|&x| x == 1), "{len} in {count}");
            }
        }
    }

    #[test]
    fn every_thread_gets_as_many_tasks() {
        let counts = |threads| {
            record(threads, || Duration::ZERO, || [32, 1000, 5, 0].map(|len| tasks(len, 2..=64))).0
        };
        assert_eq!(counts(1), [1, 16, 1, 0]);
        assert_eq!(counts(3), [3, 18, 3, 0]);
        assert_eq!(counts(8), [8, 16, 3, 0]);
    }

    #[test]
    fn a_recording_has_every_section_and_ends_with_the_work() {
        let ((), sections, _) = record(
            5,
            || Duration::ZERO,
            || {
                for_each(threads(), |_| {});
                for_items([1, 2], |_| {});
            },
        );
        let counts: Vec<_> = sections.iter().map(|section| section.tasks.len()).collect();
        assert_eq!(counts, [5, 2]);
        assert!(sections[0].place.line() + 1 == sections[1].place.line());
        assert_eq!(threads(), runtime::threads());
        let panics =
            std::panic::catch_unwind(|| record(5, || Duration::ZERO, || panic!("on purpose")));
        assert!(panics.is_err() && RECORDER.get().is_none());
    }
}
