//! Settings of the process, and work on its threads. Imports nothing of the crate.

mod pool;
mod process;
mod rounds;
mod section;
mod threads;

#[cfg(unix)]
pub use process::is_ignored;
pub use process::prepare_process;
pub use rounds::Rounds;
pub(crate) use section::section;
pub use threads::{set_threads, threads, with_threads};
