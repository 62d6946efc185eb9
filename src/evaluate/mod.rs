//! How well a network predicts a text.

mod loss;

pub use loss::{Reading, Score, evaluate, read_through};
