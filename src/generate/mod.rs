//! Logits → id (`sampling`, which knows no model) and model → a stream of text (`generator`).

mod generator;
mod sampling;
mod utf8;

pub use generator::{GenerateConfig, Generator, Piece};
pub use sampling::{Sampler, SamplingConfig};
pub use utf8::Utf8Stream;
