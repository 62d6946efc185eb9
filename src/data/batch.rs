//! What one training step reads. Knows nothing of where it comes from.

/// One step's window of B rows (streams of a text, or packed documents), all `[T, B]` time-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub inputs: Vec<u32>,
    /// The id after each input.
    pub targets: Vec<u32>,
    /// 1 where the state that enters the step must be zero: a document begins. None for streams.
    pub resets: Option<Vec<u8>>,
    /// T
    pub t: usize,
    /// B
    pub b: usize,
    /// The state that enters this window must be zero in every row.
    pub fresh_state: bool,
}
