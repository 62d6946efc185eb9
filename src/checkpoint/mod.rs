//! A folder on disk ↔ model, tokenizer, training state. Every checkpoint is replaced in one move,
//! and everything read is checked.

mod atomic;
mod format;
mod load;
mod run;
mod save;

pub use format::{Config, FORMAT, Metrics, Progress, Snapshot, TrainingRecord, TrainingState};
pub use load::Checkpoint;
pub use run::{IfExists, RunFolder, newest_run, read_metrics};
pub use save::{save, tensors_to_bytes};
