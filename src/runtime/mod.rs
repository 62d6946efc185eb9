//! Settings of the process, and work on its threads. Imports nothing of the crate.

mod pool;
mod process;

pub use pool::on_pool;
#[cfg(unix)]
pub use process::is_ignored;
pub use process::prepare_process;
