//! Counts the memory that a thread holds, and ends the process where one input takes more than is allowed.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Most memory that one input may take, in bytes. The largest are some tens of KB; the table from code
/// point to id alone can take 4 MB.
const LIMIT: isize = 64 << 20;

thread_local! {
    /// Bytes allocated less bytes freed, since the input began. None: not counted.
    static HELD: Cell<Option<isize>> = const { Cell::new(None) };
    static MOST: Cell<isize> = const { Cell::new(0) };
    /// What to print of the input that took too much.
    static INPUT: Cell<(&'static str, u64)> = const { Cell::new(("", 0)) };
}

pub struct Counting;

/// Runs `work`; gives the most memory that its thread held at once, in bytes. What other threads
/// allocate is not counted. `input` names the target and the seed.
pub fn counted<T>(input: (&'static str, u64), work: impl FnOnce() -> T) -> (T, usize) {
    INPUT.set(input);
    MOST.set(0);
    HELD.set(Some(0));
    let result = work();
    HELD.set(None);
    (result, usize::try_from(MOST.get()).unwrap_or(0))
}

fn add(bytes: isize) {
    // A thread that is ending has no counter any more.
    let _ = HELD.try_with(|held| {
        let Some(before) = held.get() else {
            return;
        };
        let now = before + bytes;
        held.set(Some(now));
        MOST.set(MOST.get().max(now));
        if now > LIMIT {
            held.set(None);
            let (target, seed) = INPUT.get();
            eprintln!(
                "{target}, seed {seed}: {now} bytes are held after an allocation of {bytes}; at most \
                 {LIMIT} are allowed"
            );
            std::process::abort();
        }
    });
}

// SAFETY: every call goes to the system's allocator with the arguments as they came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size() as isize);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size() as isize);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(size as isize - layout.size() as isize);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        add(-(layout.size() as isize));
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(old, layout) }
    }
}
