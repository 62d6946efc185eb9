//! The window of ids that one training step reads.

use crate::data::right_context::RightContext;

/// One step's window of B rows (streams of a text, or packed documents), all `[T, B]` time-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The ids that the network reads.
    pub inputs: Vec<u32>,
    /// The id after each input.
    pub targets: Vec<u32>,
    /// 1 where a document begins: the state that enters the time step must be zero. None for streams.
    pub resets: Option<Vec<u8>>,
    /// T
    pub t: usize,
    /// B
    pub b: usize,
    /// The state that enters this window must be zero in every row.
    pub fresh_state: bool,
    /// What stands on the right, for a network that reads from both sides. None for one direction.
    pub right: Option<RightContext>,
}
