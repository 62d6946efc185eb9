//! Settings of the process, and work on its threads. Imports nothing of the crate.

mod pool;
mod process;

pub use pool::on_pool;
pub use process::prepare_process;
