//! Every test that needs workers has a pool of its own: other tests hold the one of the process.

use super::*;
use crate::runtime::threads::threads;
use std::collections::HashSet;
use std::sync::Barrier;
use std::thread::{ThreadId, current};

fn pool() -> &'static Pool {
    Box::leak(Box::new(Pool::new()))
}

/// Runs a section that counts the calls of every task, and checks that there was one each.
fn check(pool: &'static Pool, threads: usize, tasks: usize) {
    let calls: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
    pool.run(threads, tasks, &|i| {
        calls[i].fetch_add(1, Ordering::Relaxed);
    });
    for (i, calls) in calls.into_iter().enumerate() {
        assert_eq!(calls.into_inner(), 1, "task {i} of {tasks} on {threads}");
    }
}

/// Runs a section of one task for each of so many threads, all of which must come, and gives the threads.
fn gather(pool: &'static Pool, count: usize) -> HashSet<ThreadId> {
    let (all, who) = (Barrier::new(count), Mutex::new(HashSet::new()));
    pool.run(count, count, &|_| {
        who.lock().unwrap().insert(current().id());
        all.wait();
    });
    who.into_inner().unwrap()
}

#[test]
fn every_task_runs_once_on_any_number_of_threads() {
    let pool = pool();
    for threads in 1..=5 {
        for tasks in [0, 1, 2, 3, 4, 5, 6, 17, 100] {
            check(pool, threads, tasks);
        }
    }
}

#[test]
fn what_a_task_wrote_is_read_in_the_next_section() {
    let (pool, tasks) = (pool(), 5);
    let mut sums = vec![0u64; tasks];
    let rounds = if cfg!(miri) { 20 } else { 5000 };
    for round in 0..rounds {
        let items: Vec<Mutex<&mut u64>> = sums.iter_mut().map(Mutex::new).collect();
        // Each thread gets other tasks from round to round.
        pool.run(3, tasks, &|i| **items[(i + round) % tasks].lock().unwrap() += i as u64);
    }
    assert_eq!(sums.iter().sum::<u64>(), rounds as u64 * 10);
}

#[test]
fn there_are_never_more_threads_than_tasks() {
    let pool = pool();
    assert!(pool.started.load(Ordering::Relaxed) == 0);
    check(pool, 8, 1);
    assert_eq!(pool.started.load(Ordering::Relaxed), 0, "one task needs no worker");
    assert_eq!(gather(pool, 3).len(), 3);
    check(pool, 1000, 3);
    assert_eq!(pool.started.load(Ordering::Relaxed), 2, "three tasks need two workers");
}

#[test]
fn a_section_of_fewer_threads_lets_no_more_workers_in() {
    let pool = pool();
    assert_eq!(gather(pool, 5).len(), 5);
    for _ in 0..50 {
        let who = Mutex::new(HashSet::new());
        pool.run(2, 50, &|_| {
            who.lock().unwrap().insert(current().id());
            std::thread::yield_now();
        });
        assert!(who.into_inner().unwrap().len() <= 2);
    }
}

#[test]
fn workers_that_have_gone_to_sleep_come_again() {
    let pool = pool();
    for _ in 0..3 {
        assert_eq!(gather(pool, 3).len(), 3);
        while pool.asleep.load(Ordering::Relaxed) < 2 {
            std::thread::yield_now();
        }
    }
}

#[test]
fn the_thread_of_a_section_sleeps_until_a_long_task_ends() {
    let pool = pool();
    let (caller, both) = (current().id(), Barrier::new(2));
    let ended = AtomicBool::new(false);
    pool.run(2, 2, &|_| {
        both.wait();
        if current().id() != caller {
            while pool.gate.0.load(Ordering::Relaxed) & AWAITED == 0 {
                std::thread::yield_now();
            }
            ended.store(true, Ordering::Relaxed);
        }
    });
    assert!(ended.into_inner());
    check(pool, 2, 9);
}

/// Was a fault: a section began only when all workers were there.
#[test]
fn a_worker_that_never_comes_is_not_waited_for() {
    let pool = pool();
    // The pool believes in four workers and has none.
    pool.started.store(4, Ordering::Relaxed);
    for tasks in [2, 5, 50] {
        check(pool, 5, tasks);
    }
}

/// Was a fault: a training step waited for the end of another thread's work on the same pool.
#[test]
fn a_section_that_finds_the_pool_taken_runs_at_once() {
    let pool = pool();
    let (begun, go_on) = (Barrier::new(3), Barrier::new(3));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pool.run(2, 2, &|_| {
                begun.wait();
                go_on.wait();
            });
        });
        begun.wait();
        // The other section ends only after this one.
        let (caller, who) = (current().id(), Mutex::new(HashSet::new()));
        pool.run(2, 9, &|_| {
            who.lock().unwrap().insert(current().id());
        });
        assert_eq!(who.into_inner().unwrap(), HashSet::from([caller]));
        go_on.wait();
    });
    check(pool, 2, 9);
}

#[test]
fn sections_inside_a_task_run_on_its_thread() {
    let pool = pool();
    let (all, wrong) = (Barrier::new(3), AtomicUsize::new(0));
    pool.run(3, 3, &|_| {
        all.wait();
        let thread = current().id();
        if threads() != 1 {
            wrong.fetch_add(1, Ordering::Relaxed);
        }
        // Also if it asks for more threads.
        for count in [threads(), 4] {
            let calls = AtomicUsize::new(0);
            pool.run(count, 7, &|_| {
                calls.fetch_add(1, Ordering::Relaxed);
                if current().id() != thread {
                    wrong.fetch_add(1, Ordering::Relaxed);
                }
            });
            assert_eq!(calls.into_inner(), 7);
        }
    });
    assert_eq!(wrong.into_inner(), 0);
}

#[test]
fn a_panic_in_a_task_passes_and_leaves_the_pool_usable() {
    let pool = pool();
    let (caller, both) = (current().id(), Barrier::new(2));
    for here in [true, false] {
        let work = AssertUnwindSafe(|| {
            pool.run(2, 2, &|_| {
                both.wait();
                if (current().id() == caller) == here {
                    panic!("on purpose");
                }
            });
        });
        let panic = catch_unwind(work).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"on purpose"), "on the section's thread: {here}");
        assert_eq!(gather(pool, 2).len(), 2);
        check(pool, 2, 9);
    }
    // On both at once, and with tasks that are left out.
    let work = AssertUnwindSafe(|| pool.run(2, 1000, &|_| panic!("on purpose")));
    assert!(catch_unwind(work).is_err());
    check(pool, 2, 9);
}

#[test]
fn a_system_that_gives_no_thread_is_no_error() {
    let pool = pool();
    pool.most.store(1, Ordering::Relaxed);
    check(pool, 4, 20);
    assert_eq!(pool.started.load(Ordering::Relaxed), 1);
    let pool = self::pool();
    pool.most.store(0, Ordering::Relaxed);
    check(pool, 4, 20);
}

#[test]
fn many_short_sections_of_many_threads() {
    let pool = pool();
    let rounds = if cfg!(miri) { 10 } else { 3000 };
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for round in 0..rounds {
                    check(pool, 1 + (thread + round) % 5, round % 7);
                    if round % 500 == 499 {
                        // The workers fall asleep.
                        std::thread::sleep(2 * LINGER);
                    }
                    if round % 100 == 99 {
                        let work =
                            AssertUnwindSafe(|| pool.run(3, 5, &|i| assert!(i != 3, "on purpose")));
                        assert!(catch_unwind(work).is_err());
                    }
                }
            });
        }
    });
    assert!(!pool.taken.load(Ordering::Relaxed));
}
