//! The sizes of a layer's window, and what does not fit.

use super::{Cell, Weights, tensors};
use candle_core::{Result, Tensor, bail};

/// What a layer reads.
#[derive(Clone, Copy)]
pub enum Reads<'a> {
    /// Rows of a table `[V, I]`, by ids `[T, B]`.
    Rows { ids: &'a Tensor, v: usize, i: usize },
    /// `[T, B, I]`
    Sequence { t: usize, b: usize, i: usize },
}

/// T, B, H, and I (the input size); `source_rows` is V for a table and T·B for a sequence.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub t: usize,
    pub b: usize,
    pub h: usize,
    pub i: usize,
    pub gates: usize,
    pub source_rows: usize,
}

impl Sizes {
    /// Fails unless weights `[G·H, ·]`, state `[S, B, H]` and resets `[T, B]` fit what is read.
    pub fn check(
        cell: Cell,
        reads: Reads,
        weights: &Weights,
        state: &Tensor,
        resets: Option<&Tensor>,
    ) -> Result<Self> {
        let (t, b, i, source_rows) = match reads {
            Reads::Rows { ids, v, i } => {
                let (t, b) = ids.dims2()?;
                (t, b, i, v)
            }
            Reads::Sequence { t, b, i } => (t, b, i, t.saturating_mul(b)),
        };
        let h = weights.weight_hh.dims2()?.1;
        let gates = cell.gates() * h;
        if [t, b, h, i, source_rows].contains(&0) {
            bail!(
                "a recurrent layer needs T, B, H, I and V of at least 1, got T={t} B={b} H={h} I={i}"
            );
        }
        if t.checked_mul(b).and_then(|rows| rows.checked_mul(gates + h)).is_none() {
            bail!("a window of T={t} B={b} H={h} does not fit in memory");
        }
        weights.check(cell, i, h)?;
        tensors::expect("state", state, &[cell.states(), b, h])?;
        if let Some(resets) = resets.filter(|r| r.dims() != [t, b]) {
            bail!("resets must be [T, B] = [{t}, {b}], got {:?}", resets.dims());
        }
        Ok(Self { t, b, h, i, gates, source_rows })
    }

    /// Characters in the window.
    pub fn cells(&self) -> usize {
        self.t * self.b
    }
}
