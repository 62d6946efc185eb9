//! The targets of tests/fuzz/ under libFuzzer, which seeks inputs that reach new code. Half of its mutations
//! are those of tests/fuzz/mutate.rs, half its own.

pub use libfuzzer_sys;

#[path = "../../tests/fuzz/bidirectional.rs"]
pub mod bidirectional;
#[path = "../../tests/fuzz/mutate.rs"]
pub mod mutate;
#[path = "../../tests/fuzz/targets.rs"]
pub mod targets;

use std::path::Path;

use crate::targets::{Stage, target};

thread_local! {
    static STAGE: Stage = Stage::new();
}

/// Puts valid inputs into the corpus of libFuzzer, before it is read.
pub fn prepare(name: &str) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let seeds = STAGE.with(|stage| target(name).seeds(stage));
    std::fs::create_dir_all(&corpus).expect("the folder of the corpus");
    for (index, input) in seeds.iter().enumerate() {
        std::fs::write(corpus.join(format!("seed-{index}")), input).expect("a seed is written");
    }
}

/// Runs one input of the target `name`.
///
/// # Panics
/// For a promise that is broken.
pub fn run(name: &str, input: &[u8]) {
    STAGE.with(|stage| target(name).run(stage, input));
}

/// Changes the first `size` bytes of `data`; gives the new size.
pub fn mutate_in_place(name: &str, data: &mut [u8], size: usize, max: usize, seed: u32) -> usize {
    if seed % 2 == 0 {
        return libfuzzer_sys::fuzzer_mutate(data, size, max);
    }
    let changed = mutate::mutate(target(name).kind, &data[..size], u64::from(seed));
    let size = changed.len().min(max);
    data[..size].copy_from_slice(&changed[..size]);
    size
}

/// The `main` of a target.
#[macro_export]
macro_rules! fuzz {
    ($name:literal) => {
        use $crate::libfuzzer_sys;

        libfuzzer_sys::fuzz_target!(init: $crate::prepare($name), |input: &[u8]| $crate::run($name, input));
        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            $crate::mutate_in_place($name, data, size, max_size, seed)
        });
    };
}
