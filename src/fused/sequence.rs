//! A recurrent layer over a window: what it takes, what it gives, and what it refuses.

use super::{
    Cell, Level, Precision, Workspace,
    layer::Layer,
    matmul::{Order, Panels},
    op::Sequence,
    sizes::Reads,
    taps::{self, FinalCell},
    tensors,
};
use candle_core::{Result, Tensor, bail};

/// What the layer reads.
pub enum Input<'a> {
    /// `[T, B, I]`, float32.
    Sequence(&'a Tensor),
    /// Row `ids[t, b]` of `table`: as `Sequence` of the looked-up rows, but the table goes through
    /// `weight_ih` once instead of every character.
    Embedded {
        /// `[T, B]`, u32.
        ids: &'a Tensor,
        /// `[V, I]`
        table: &'a Tensor,
    },
}

/// A layer's weights, as PyTorch stores them; G gates stacked as r, z, n (LSTM i, f, g, o).
#[derive(Clone, Copy)]
pub struct Weights<'a> {
    /// `[G·H, I]`
    pub weight_ih: &'a Tensor,
    /// `[G·H, H]`
    pub weight_hh: &'a Tensor,
    /// `[G·H]`
    pub bias_ih: &'a Tensor,
    /// `[G·H]`, exactly where [`Cell::has_bias_hh`].
    pub bias_hh: Option<&'a Tensor>,
}

impl Weights<'_> {
    /// Fails unless the shapes are those of a layer of `cell` from I to H.
    pub(super) fn check(&self, cell: Cell, i: usize, h: usize) -> Result<()> {
        let gates = cell.gates() * h;
        tensors::expect("weight_ih", self.weight_ih, &[gates, i])?;
        tensors::expect("weight_hh", self.weight_hh, &[gates, h])?;
        tensors::expect("bias_ih", self.bias_ih, &[gates])?;
        match self.bias_hh {
            Some(bias) if cell.has_bias_hh() => tensors::expect("bias_hh", bias, &[gates]),
            None if !cell.has_bias_hh() => Ok(()),
            _ => bail!(
                "bias_hh must be given exactly for the cells that have one, not so for {cell:?}"
            ),
        }
    }

    /// `b_ih`, with what of `b_hh` adds to it, and the rest of `b_hh`.
    pub(super) fn biases(&self, cell: Cell) -> Result<(Vec<f32>, Vec<f32>)> {
        let mut bias: Vec<f32> = self.bias_ih.to_vec1()?;
        let Some(recurrent) = self.bias_hh else {
            return Ok((bias, Vec::new()));
        };
        let recurrent: Vec<f32> = recurrent.to_vec1()?;
        let apart = if cell == Cell::GruResetAfter { recurrent.len() / 3 } else { 0 };
        let (added, apart) = recurrent.split_at(recurrent.len() - apart);
        bias.iter_mut().zip(added).for_each(|(b, r)| *b += r);
        Ok((bias, apart.to_vec()))
    }
}

impl Cell {
    /// `weight_hh` `[G·H, H]` in panels, section by section, for `h · W^T` or for `dG · W`.
    pub(super) fn pack_recurrent(
        self,
        level: Level,
        weight: &[f32],
        h: usize,
        transposed: bool,
        panels: &mut [Panels; 2],
    ) {
        let mut first = 0;
        for (panels, section) in panels.iter_mut().zip(self.sections()) {
            let len = section * h;
            if len > 0 {
                let weight = &weight[first * h..];
                if transposed {
                    panels.pack(level, weight, Order::Columns, h, len);
                } else {
                    panels.pack(level, weight, Order::Rows, len, h);
                }
            }
            first += len;
        }
    }
}

/// Runs one recurrent layer over a window.
///
/// `state` is `[S, B, H]` with S = [`Cell::states`] (h; the LSTM's c after it). Where `resets`
/// `[T, B]` (u8) is not 0, the state entering that step is zero and no gradient passes.
/// Returns the hidden sequence `[T, B, H]` and the final state `[S, B, H]`; both carry gradient to
/// the input (or table), the weights and `state`. Detach the final state where no gradient should
/// flow: it then costs nothing.
///
/// Fails on other shapes, dtypes or devices, on an id outside the table, and in backward when
/// `workspace` was used again before.
pub fn sequence(
    cell: Cell,
    input: Input,
    weights: &Weights,
    state: &Tensor,
    resets: Option<&Tensor>,
    precision: Precision,
    workspace: &Workspace,
) -> Result<(Tensor, Tensor)> {
    sequence_at(Level::choose(precision)?, cell, input, weights, state, resets, workspace)
}

/// [`sequence`] at a given level.
pub(super) fn sequence_at(
    level: Level,
    cell: Cell,
    input: Input,
    weights: &Weights,
    state: &Tensor,
    resets: Option<&Tensor>,
    workspace: &Workspace,
) -> Result<(Tensor, Tensor)> {
    let looked_up;
    let (source, ids) = match input {
        // A vocabulary larger than the window: the rows in use are the smaller product.
        Input::Embedded { ids, table } if table.dim(0)? > ids.elem_count() => {
            let (t, b) = ids.dims2()?;
            looked_up = table.index_select(&ids.flatten_all()?, 0)?.reshape((t, b, ()))?;
            (&looked_up, None)
        }
        Input::Embedded { ids, table } => (table, Some(ids)),
        Input::Sequence(x) => (x, None),
    };
    let reads = match ids {
        Some(ids) => {
            let (v, i) = source.dims2()?;
            Reads::Rows { ids, v, i }
        }
        None => {
            let (t, b, i) = source.dims3()?;
            Reads::Sequence { t, b, i }
        }
    };
    tensors::expect("input", source, source.dims())?;
    let layer = Layer::new(level, cell, reads, weights, state, resets)?;
    let (tokens, passes) = taps::tokens(workspace, &layer.parameters)?;
    let steps = layer.sizes.t;
    let op = Sequence { layer, workspace: workspace.clone(), passes: passes.clone() };
    let hidden = source.contiguous()?.apply_op3(&tokens, &state.contiguous()?, op)?;
    let last = hidden.narrow(0, steps - 1, 1)?;
    let state = if cell.states() == 2 {
        let c = hidden.apply_op1(FinalCell { workspace: workspace.clone(), passes })?;
        Tensor::cat(&[&last, &c], 0)?
    } else {
        last
    };
    Ok((hidden, state))
}
