//! Saves and loads a network, its tokenizer and the state of its training. A checkpoint is replaced in one
//! step, and everything that is read is checked.
//!
//! | file | what it owns |
//! |---|---|
//! | `format` | the contents of the files |
//! | `load`, `save` | a checkpoint folder read · written |
//! | `run` | the folder of a run: its two checkpoints, its metrics, its lock |
//! | `atomic` | files and folders replaced in one step |

mod atomic;
mod format;
mod load;
mod run;
mod save;

pub use format::{Config, FORMAT, Metrics, Progress, Snapshot, TrainingRecord, TrainingState};
pub use load::Checkpoint;
pub(crate) use run::space_needed;
pub use run::{IfExists, RunFolder, ensure_space, newest_run, read_metrics};
pub use save::{save, tensors_to_bytes};
