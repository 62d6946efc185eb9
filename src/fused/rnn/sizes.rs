//! The sizes of a layer's window, its direction of time, and what does not fit.

use crate::fused::rnn::cells::Cell;
use crate::fused::rnn::weights::LayerWeights;
use crate::fused::tensors;
use candle_core::{Result, Tensor, bail};
use std::ops::Range;

/// Which way a layer goes through the T steps of its window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// From step 0 to step T - 1.
    #[default]
    Forward,
    /// From step T - 1 to step 0: the state after the window is that of step 0.
    Reverse,
}

/// What a layer reads.
#[derive(Clone, Copy)]
pub enum Reads<'a> {
    /// Rows of a table `[V, I]`, by ids `[T, B]`.
    Rows { ids: &'a Tensor, v: usize, i: usize },
    /// `[T, B, I]`
    Sequence { t: usize, b: usize, i: usize },
}

/// T, B, H, I (the input size) and G·H; `source_rows` is V for a table and T·B for a sequence.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub t: usize,
    pub b: usize,
    pub h: usize,
    pub i: usize,
    pub gates: usize,
    pub source_rows: usize,
    pub direction: Direction,
}

/// Whether a table of `rows` is looked up before the input product: where it has more rows than the
/// window has positions, the rows in use are the smaller product.
pub fn look_up_first(rows: usize, positions: usize) -> bool {
    rows > positions
}

impl Sizes {
    /// The sizes of a window.
    ///
    /// # Errors
    /// A size of 0; weights `[G·H, ·]`, a state `[S, B, H]` or resets `[T, B]` that do not fit what is
    /// read.
    pub fn check(
        cell: Cell,
        direction: Direction,
        reads: Reads,
        weights: &LayerWeights,
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
        let h = weights.hidden_size(cell)?;
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
        Ok(Self { t, b, h, i, gates, source_rows, direction })
    }

    /// Characters in the window: T·B.
    pub fn positions(&self) -> usize {
        self.t * self.b
    }

    /// The steps in the order in which the layer takes them; a backward pass takes them reversed.
    pub fn order(&self) -> impl DoubleEndedIterator<Item = usize> + use<> {
        let (steps, direction) = (self.t, self.direction);
        (0..steps).map(move |step| match direction {
            Direction::Forward => step,
            Direction::Reverse => steps - 1 - step,
        })
    }

    /// The step that the layer takes before step t; None where the given state enters.
    pub fn before(&self, t: usize) -> Option<usize> {
        match self.direction {
            Direction::Forward => t.checked_sub(1),
            Direction::Reverse => Some(t + 1).filter(|&before| before < self.t),
        }
    }

    /// The final state in a `[T, B, H]` buffer.
    pub fn last(&self) -> Range<usize> {
        let step = match self.direction {
            Direction::Forward => self.t - 1,
            Direction::Reverse => 0,
        };
        step * self.b * self.h..(step + 1) * self.b * self.h
    }
}
