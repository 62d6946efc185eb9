//! The pool that all work of the process shares.

use crate::runtime::pool::Pool;
use crate::runtime::threads::threads;

static POOL: Pool = Pool::new();

/// Calls `task` with each of `0..tasks`, on as many of [`threads`] as are free, and returns when all
/// calls have. They may come in any order and at the same time. Sections inside a task run on its thread.
pub(crate) fn section(tasks: usize, task: impl Fn(usize) + Sync) {
    POOL.run(threads(), tasks, &task);
}
