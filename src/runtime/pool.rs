//! Threads that share the tasks of a section.
//!
//! The thread that has a section publishes it and begins with its tasks. Workers that are free come and
//! take tasks too. When no task is left, the section is closed: nobody can enter it any more, and its
//! thread waits for those tasks only that workers have begun. So a worker that is late, asleep or kept
//! from its processor by other programs costs nothing; in the worst case the thread does all by itself.
//!
//! There is one section at a time. A thread that finds the pool taken, be it by another thread or by
//! the section whose task it is in, runs its tasks alone, at once.
//!
//! A training step of a small model has about forty sections, most shorter than a millisecond. So a
//! worker that finds no section looks for the next one for a while ([`LINGER`]) before it sleeps.

#![allow(unsafe_code)]

use crate::runtime::threads::with_threads;
use std::any::Any;
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// How long a worker looks for a section before it sleeps: longer than what lies between two sections of
/// a step, and between two steps. Waking it takes about 50 µs.
const LINGER: Duration = Duration::from_micros(200);
/// How long the thread of a section looks for its end before it sleeps. Not longer: its processor may be
/// the one that the worker needs.
const PATIENCE: Duration = Duration::from_micros(50);
/// How often one looks before one looks at the clock, or lets other threads run.
const LOOKS: usize = 32;

/// The most workers of a pool.
const MOST_WORKERS: usize = 1023;

// The gate of a section, from the lowest bit: workers inside, whether the section's thread sleeps until
// there are none, places left for workers, the section's number. Without places it is closed.
const ONE_INSIDE: u64 = 1;
const INSIDE: u64 = 0x7fff;
const AWAITED: u64 = 0x8000;
const ONE_PLACE: u64 = 1 << 16;
const PLACES: u64 = 0xffff << 16;
const NUMBER: u32 = 32;

/// A ticket for the first or for the last of the tasks that are left. The section's thread takes the
/// first ones and workers the last ones, so that the same thread tends to get the same part of the data
/// in one section after another.
#[derive(Clone, Copy, PartialEq)]
#[repr(u64)]
enum Ticket {
    First = 1,
    Last = 1 << 32,
}

/// A section's work.
struct Job<'a> {
    task: &'a (dyn Fn(usize) + Sync),
    tasks: usize,
    /// The panic of a task that a worker ran.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// Aligned so that what is written often shares no pair of cache lines with anything else.
#[repr(align(128))]
struct Apart<T>(T);

/// Whether a worker sleeps and was not woken yet.
type Sleep = AtomicBool;

/// Workers, started when they are first needed. They live as long as the process.
pub struct Pool {
    /// Whether a section holds the pool.
    taken: AtomicBool,
    gate: Apart<AtomicU64>,
    /// How many first tickets (lower half) and last tickets (upper half) were asked for.
    tickets: Apart<AtomicU64>,
    /// The section that the gate belongs to.
    job: AtomicPtr<Job<'static>>,
    started: AtomicUsize,
    /// How many may be started: fewer than [`MOST_WORKERS`] once the system has refused one.
    most: AtomicUsize,
    /// Locked only by who holds the pool.
    workers: Mutex<Vec<(Thread, Arc<Sleep>)>>,
    /// How many workers sleep and were not woken yet. It may wrap below zero while one falls asleep.
    asleep: AtomicUsize,
    /// The end of a section whose thread sleeps.
    end: (Mutex<()>, Condvar),
}

impl Pool {
    pub const fn new() -> Self {
        Self {
            taken: AtomicBool::new(false),
            gate: Apart(AtomicU64::new(0)),
            tickets: Apart(AtomicU64::new(0)),
            job: AtomicPtr::new(std::ptr::null_mut()),
            started: AtomicUsize::new(0),
            most: AtomicUsize::new(MOST_WORKERS),
            workers: Mutex::new(Vec::new()),
            asleep: AtomicUsize::new(0),
            end: (Mutex::new(()), Condvar::new()),
        }
    }

    /// Calls `task` with each of `0..tasks`, on this thread and at most `threads - 1` workers, and
    /// returns when all calls have. A task's own sections run on its thread.
    ///
    /// # Panics
    /// If a task does. Tasks that have not begun by then may be left out.
    pub fn run(&'static self, threads: usize, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let helpers = threads.min(tasks).saturating_sub(1);
        let alone = || (0..tasks).for_each(task);
        if helpers == 0 {
            return alone();
        }
        // Tickets are counted in 32 bits, with room for those that come too late.
        if tasks > 1 << 31 || self.taken.swap(true, Ordering::Acquire) {
            return with_threads(1, alone);
        }
        let places = self.start(helpers);
        let job = Job { task, tasks, panic: Mutex::new(None) };
        self.open(&job, places);
        let here = catch_unwind(AssertUnwindSafe(|| {
            with_threads(1, || self.take_tasks(&job, Ticket::First));
        }));
        if here.is_err() {
            self.leave_out_the_rest(&job);
        }
        self.close();
        self.taken.store(false, Ordering::Release);
        let there = job.panic.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(panic) = here.err().or(there) {
            resume_unwind(panic);
        }
    }

    /// Sees to it that there are as many workers, if the system lets us. Returns how many there are for
    /// a section that wants so many.
    fn start(&'static self, wanted: usize) -> usize {
        let wanted = wanted.min(self.most.load(Ordering::Relaxed));
        let started = self.started.load(Ordering::Relaxed);
        for i in started..wanted {
            let sleep = Arc::new(Sleep::new(false));
            let thread = std::thread::Builder::new().name(format!("chargru-{i}"));
            let Ok(handle) = thread.spawn({
                let sleep = Arc::clone(&sleep);
                move || self.serve(&sleep)
            }) else {
                self.most.store(i, Ordering::Relaxed);
                return i;
            };
            lock(&self.workers).push((handle.thread().clone(), sleep));
            // Only who holds the pool changes it.
            self.started.store(i + 1, Ordering::Relaxed);
        }
        wanted
    }

    /// Lets `places` workers into `job`. [`Pool::close`] must follow before `job` ends.
    fn open(&self, job: &Job, places: usize) {
        self.tickets.0.store(0, Ordering::Relaxed);
        self.job.store(std::ptr::from_ref(job).cast_mut().cast(), Ordering::Relaxed);
        let number = (self.gate.0.load(Ordering::Relaxed) >> NUMBER) as u32;
        let gate = (u64::from(number.wrapping_add(1)) << NUMBER) | (places as u64 * ONE_PLACE);
        // A worker that enters sees everything that was written before. One that goes to sleep at this
        // moment has counted itself before this, or else finds the gate open.
        self.gate.0.store(gate, Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) > 0 {
            self.wake(places);
        }
    }

    #[cold]
    fn wake(&self, count: usize) {
        lock(&self.workers)
            .iter()
            .filter(|(_, sleep)| self.end_sleep(sleep))
            .take(count)
            .for_each(|(thread, _)| thread.unpark());
    }

    /// Whether it was this call that ended it.
    fn end_sleep(&self, sleep: &Sleep) -> bool {
        let ended = sleep.swap(false, Ordering::Relaxed);
        self.asleep.fetch_sub(usize::from(ended), Ordering::Relaxed);
        ended
    }

    /// Lets nobody in any more, and waits for those who are inside.
    fn close(&self) {
        // What they wrote until they left is seen from here on.
        let mut gate = self.gate.0.fetch_and(!PLACES, Ordering::Acquire);
        let mut since = None;
        while gate & INSIDE != 0 {
            for _ in 0..LOOKS {
                spin_loop();
                gate = self.gate.0.load(Ordering::Acquire);
                if gate & INSIDE == 0 {
                    return;
                }
            }
            if since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                return self.sleep_until_empty();
            }
        }
    }

    fn sleep_until_empty(&self) {
        let (mutex, condition) = &self.end;
        let mut guard = lock(mutex);
        let mut gate = self.gate.0.fetch_or(AWAITED, Ordering::Acquire);
        while gate & INSIDE != 0 {
            guard = condition.wait(guard).unwrap_or_else(PoisonError::into_inner);
            gate = self.gate.0.load(Ordering::Acquire);
        }
    }

    /// What a worker does.
    fn serve(&self, sleep: &Sleep) {
        with_threads(1, || {
            let mut last = 0;
            loop {
                self.find(&mut last, sleep);
                let job = self.job.load(Ordering::Relaxed);
                // SAFETY: `find` has entered a section, and what it read there was written by `open`
                // after the section's job was stored: this is that job. Its thread keeps it in place
                // and unchanged until `close` returns, also if a task panics, and `close` waits for
                // every worker that has entered to leave. `run_for` keeps no reference to it. The
                // lifetime of its parts ends later than `close` too; a task may be called from any
                // thread, as it is `Sync`, and a panic's payload is `Send`.
                self.run_for(unsafe { &*job });
                self.leave();
            }
        });
    }

    /// Waits until this worker could enter a section that has another number than `last`.
    fn find(&self, last: &mut u32, sleep: &Sleep) {
        loop {
            let since = Instant::now();
            while since.elapsed() < LINGER {
                for _ in 0..LOOKS {
                    if self.enter(last) {
                        return;
                    }
                    spin_loop();
                }
                // The processor may be the one that the section's thread needs.
                std::thread::yield_now();
            }
            sleep.store(true, Ordering::Relaxed);
            // After this, who opens a section wakes this worker, and it sees those opened before.
            self.asleep.fetch_add(1, Ordering::SeqCst);
            while sleep.load(Ordering::Relaxed) {
                if self.enter(last) {
                    self.end_sleep(sleep);
                    return;
                }
                std::thread::park();
            }
        }
    }

    /// Enters the section if it has a place and is not the `last`, where all tasks were taken.
    fn enter(&self, last: &mut u32) -> bool {
        let mut gate = self.gate.0.load(Ordering::SeqCst);
        loop {
            let number = (gate >> NUMBER) as u32;
            if gate & PLACES == 0 || number == *last {
                return false;
            }
            let entered = gate - ONE_PLACE + ONE_INSIDE;
            let exchange = self.gate.0.compare_exchange_weak(
                gate,
                entered,
                Ordering::Acquire,
                Ordering::Relaxed,
            );
            match exchange {
                Ok(_) => {
                    *last = number;
                    return true;
                }
                Err(now) => gate = now,
            }
        }
    }

    /// After this a worker touches nothing of the section.
    fn leave(&self) {
        let before = self.gate.0.fetch_sub(ONE_INSIDE, Ordering::Release);
        if before & (INSIDE | AWAITED) == ONE_INSIDE | AWAITED {
            // The lock is free only when the sleeper sleeps or has seen that this one left.
            drop(lock(&self.end.0));
            self.end.1.notify_one();
        }
    }

    /// Runs tasks for another thread's section.
    fn run_for(&self, job: &Job) {
        let work = AssertUnwindSafe(|| self.take_tasks(job, Ticket::Last));
        if let Err(panic) = catch_unwind(work) {
            self.leave_out_the_rest(job);
            *lock(&job.panic) = Some(panic);
        }
    }

    /// Runs tasks that nobody has begun until there are none.
    fn take_tasks(&self, job: &Job, ticket: Ticket) {
        loop {
            let taken = self.tickets.0.fetch_add(ticket as u64, Ordering::Relaxed);
            let (first, last) = (taken as u32 as usize, (taken >> 32) as usize);
            if first + last >= job.tasks {
                return;
            }
            (job.task)(if ticket == Ticket::First { first } else { job.tasks - 1 - last });
        }
    }

    fn leave_out_the_rest(&self, job: &Job) {
        self.tickets.0.store(job.tasks as u64, Ordering::Relaxed);
    }
}

/// No lock here guards what a panic could leave half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
