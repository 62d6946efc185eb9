//! Fuzzing on a stable compiler: mutations of valid files, a test for each way in. `targets` says what is
//! promised for every input; this adds: no panic, no second of work, no more memory than `allocator` allows.
//!
//! Each target runs for a few seconds; the environment may say otherwise:
//!
//! - `CHARGRU_FUZZ_SECONDS`: for how long, each target (2);
//! - `CHARGRU_FUZZ_RUNS`: in place of a time, how many inputs, each target;
//! - `CHARGRU_FUZZ_SEED`: the first input's seed (0); the next ones count up. A failure names its seed:
//!   `CHARGRU_FUZZ_SEED=<seed> CHARGRU_FUZZ_RUNS=1 cargo test --release --test fuzz <target>` repeats it.

mod allocator;
mod bidirectional;
mod mutate;
mod targets;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use crate::allocator::{Counting, counted};
use crate::targets::{Outcome, Stage, Target, target};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Most processor time of one input.
const MAX_TIME: Duration = Duration::from_secs(1);
/// After this time without an end the process is ended. On a busy machine a short work may take long.
const HANGS: Duration = Duration::from_secs(60);

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is {value:?}: give a number")))
}

/// Processor time that this thread has used. Where the system has no such clock, the time of day serves:
/// then only a real hang is found.
fn thread_time(_begun: Instant) -> Duration {
    #[cfg(target_os = "linux")]
    {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the call writes one timespec, which lives on this stack.
        #[allow(unsafe_code)]
        let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
        assert_eq!(failed, 0, "the thread's clock");
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
    #[cfg(not(target_os = "linux"))]
    {
        _begun.elapsed() / 10
    }
}

/// Ends the process if an input takes longer than [`HANGS`]: each one counts the returned number up.
fn watch(name: &'static str) -> Arc<AtomicU64> {
    let inputs = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&inputs);
    std::thread::spawn(move || {
        // The one that fuzzes has ended when this is the last that holds the number.
        while Arc::strong_count(&seen) > 1 {
            let before = seen.load(Ordering::Relaxed);
            let begun = Instant::now();
            while seen.load(Ordering::Relaxed) == before && Arc::strong_count(&seen) > 1 {
                std::thread::sleep(Duration::from_millis(100));
                if begun.elapsed() > HANGS {
                    eprintln!("{name}: no end of input {before}, counted from 1, within {HANGS:?}");
                    std::process::abort();
                }
            }
        }
    });
    inputs
}

thread_local! {
    static RUNS_INPUT: Cell<bool> = const { Cell::new(false) };
    static PANIC: Cell<Option<String>> = const { Cell::new(None) };
}

/// Keeps the message of a panic in an input: it is reported once, with the input's seed.
fn keep_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if RUNS_INPUT.get() {
                PANIC.set(Some(info.to_string()));
            } else {
                usual(info);
            }
        }));
    });
}

/// Runs one input; its outcome, and the memory that it took.
fn run(target: &Target, stage: &Stage, seed: u64, input: &[u8]) -> (Outcome, usize) {
    let begun = Instant::now();
    let before = thread_time(begun);
    RUNS_INPUT.set(true);
    let (outcome, memory) = counted((target.name, seed), || {
        catch_unwind(AssertUnwindSafe(|| target.run(stage, input)))
    });
    RUNS_INPUT.set(false);
    let time = thread_time(begun) - before;
    let name = target.name;
    let outcome = outcome.unwrap_or_else(|_| {
        let path = std::env::temp_dir().join(format!("chargru-fuzz-{name}-{seed}"));
        let kept = std::fs::write(&path, input).map_or_else(
            |error| format!("could not be kept: {error}"),
            |()| format!("is kept as {}", path.display()),
        );
        let message = PANIC.take().unwrap_or_default();
        panic!(
            "{name}, seed {seed}: {message}\nthe input {kept}; put it into fuzz/seeds/{name} when it is \
             mended\n{}",
            String::from_utf8_lossy(&input[..input.len().min(1000)])
        );
    });
    assert!(time < MAX_TIME, "{name}, seed {seed}: one input took {time:?}");
    (outcome, memory)
}

fn fuzz(name: &str) {
    let target = target(name);
    let stage = Stage::new();
    let watch = watch(target.name);
    keep_panics();
    for input in target.valid(&stage) {
        watch.fetch_add(1, Ordering::Relaxed);
        let (outcome, _) = run(&target, &stage, 0, &input);
        assert_eq!(outcome, Outcome::Used, "a valid input is refused: {:?}", input.escape_ascii());
    }
    let seeds = target.seeds(&stage);
    for input in &seeds {
        watch.fetch_add(1, Ordering::Relaxed);
        run(&target, &stage, 0, input);
    }
    let first = setting("CHARGRU_FUZZ_SEED").unwrap_or(0);
    let runs = setting("CHARGRU_FUZZ_RUNS");
    let time = Duration::from_secs(setting("CHARGRU_FUZZ_SECONDS").unwrap_or(2));
    let (begun, mut seed, mut used, mut memory) = (Instant::now(), first, 0u64, 0);
    while runs.map_or_else(|| begun.elapsed() < time, |runs| seed - first < runs) {
        watch.fetch_add(1, Ordering::Relaxed);
        let input = mutate::mutate(target.kind, &seeds[seed as usize % seeds.len()], seed);
        let (outcome, took) = run(&target, &stage, seed, &input);
        used += u64::from(outcome == Outcome::Used);
        memory = memory.max(took);
        seed += 1;
    }
    println!(
        "fuzz {name}: {} inputs in {:.1?}, {used} of them used; at most {memory} bytes",
        seed - first,
        begun.elapsed()
    );
}

macro_rules! tests {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            fuzz(stringify!($name));
        })*

        #[test]
        fn every_target_has_a_test() {
            let tested = [$(stringify!($name)),*];
            assert_eq!(targets::TARGETS.map(|target| target.name).to_vec(), tested.to_vec());
        }
    };
}

tests! {
    config_json
    tokenizer_json
    weights
    training_json
    training_tensors
    metrics
    settings
    corpus
    prompt
    network
    fill
    proofread
}
