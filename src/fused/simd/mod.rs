//! What is written once for each instruction set. Knows no matrices.

pub mod activations;
pub mod bf16;
pub mod isa;
pub mod level;
pub mod memory;
pub mod tile;
