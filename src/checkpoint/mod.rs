//! Saves and loads a network, its tokenizer and the state of its training. A checkpoint is replaced in one
//! step, and everything that is read is checked.
//!
//! | file | what it owns |
//! |---|---|
//! | `format` | the contents of the files |
//! | `load`, `save` | a checkpoint folder read · written |
//! | `read` | the bytes and the tensors of one file |
//! | `run`, `lock` | the folder of a run: its two checkpoints, its metrics, its samples · its lock |
//! | `lines` | the files of a run that grow by lines |
//! | `record` | what a run has recorded of itself |
//! | `newest` | which run is meant where none is named |
//! | `atomic` | files and folders replaced in one step |
//! | `contents` | what in a run's folder is chargru's, and what is not |
//! | `disk`, `space` | the operations of a save on the file system · the space it takes |

mod atomic;
mod contents;
pub(crate) mod disk;
mod format;
mod lines;
mod load;
mod lock;
mod newest;
mod read;
mod record;
mod run;
mod save;
mod space;

pub(crate) use atomic::replace_file;
pub use format::{
    Config, FORMAT, GradientNorms, Metrics, Progress, Snapshot, TrainingRecord, TrainingState,
};
pub use lines::KeptSample;
pub use load::Checkpoint;
pub use newest::{newest_bidirectional_run, newest_run};
pub use record::{RunRecord, read_samples};
pub use run::{IfExists, RunFolder, read_metrics};
pub use save::{save, tensors_to_bytes};
pub use space::ensure_space;
pub(crate) use space::space_needed;
