//! What the tests of the kernels share.

use std::io::Write;
use std::sync::Once;

use crate::fused::simd::isa::{Isa, Task};
use crate::fused::simd::level::{Level, Precision};

/// Environment variable that names levels which this processor must have, separated by commas, as in
/// `avx512,bf16`. Without one of them the tests fail, so that a machine that has lost an instruction
/// set does not pass them by testing less.
const EXPECTED: &str = "CHARGRU_EXPECT_SIMD";

/// Every level that this processor has, the one for bfloat16 included.
pub fn levels() -> Vec<Level> {
    let mut levels = Level::all();
    levels.extend(Level::choose(Precision::Bf16));
    let names: Vec<&str> = levels.iter().map(|level| level.name()).collect();
    // Past the harness, which shows what a test prints only when it fails.
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        let line = format!("the kernels are tested at: {}\n", names.join(", "));
        let _ = std::io::stderr().write_all(line.as_bytes());
    });
    let expected = std::env::var(EXPECTED).unwrap_or_default();
    for name in expected.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        assert!(names.contains(&name), "{EXPECTED} asks for {name}, but there is only {names:?}");
    }
    levels
}

/// Floats in a vector of `level`.
pub fn lanes(level: Level) -> usize {
    struct Lanes;
    impl Task for Lanes {
        type Output = usize;

        #[inline(always)]
        fn run<I: Isa>(self, isa: I) -> usize {
            crate::fused::simd::isa::lanes(isa.simd())
        }
    }
    level.run(Lanes)
}

/// Each of `edges`, the number before it and the number after it, ascending, each once.
pub fn around(edges: &[usize]) -> Vec<usize> {
    let mut sizes: Vec<usize> =
        edges.iter().flat_map(|&n| [n.saturating_sub(1), n, n + 1]).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

fn random_bits(seed: u32) -> impl FnMut() -> u32 {
    let mut x = seed.wrapping_mul(2_654_435_769) | 1;
    move || {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        x
    }
}

/// `count` numbers between -0.5 and 0.5.
pub fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut next = random_bits(seed);
    (0..count).map(|_| next() as f32 / u32::MAX as f32 - 0.5).collect()
}

/// `count` integers between -3 and 3, none of them 0. Sums of thousands of their products are exact
/// in float32, and the integers themselves in bfloat16: a product must be right to the bit.
pub fn integers(count: usize, seed: u32) -> Vec<f32> {
    let mut next = random_bits(seed);
    (0..count).map(|_| [-3.0, -2.0, -1.0, 1.0, 2.0, 3.0][next() as usize % 6]).collect()
}
