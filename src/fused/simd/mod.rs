//! Vectors and the product's innermost loop, for each instruction set. Knows no shapes of matrices.

pub mod activations;
#[cfg(target_arch = "x86_64")]
pub mod bf16;
#[cfg(all(test, target_arch = "x86_64"))]
mod bf16_tests;
pub mod isa;
pub mod level;
pub mod memory;
#[cfg(test)]
pub mod testing;
pub mod tile;
