//! A recurrent layer over a window: what it takes, what it gives, and what it refuses.

use super::{
    Cell, Level, Precision, Workspace,
    matmul::{Order, Panels},
    op::Sequence,
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
        let apart = if cell == Cell::GruResetAfter {
            recurrent.len() / 3
        } else {
            0
        };
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
    sequence_at(
        Level::choose(precision)?,
        cell,
        input,
        weights,
        state,
        resets,
        workspace,
    )
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
            looked_up = table
                .index_select(&ids.flatten_all()?, 0)?
                .reshape((t, b, ()))?;
            (&looked_up, None)
        }
        Input::Embedded { ids, table } => (table, Some(ids)),
        Input::Sequence(x) => (x, None),
    };
    let sizes = Sizes::check(cell, source, ids, weights, state, resets)?;
    let ids = ids
        .map(|ids| tensors::ids(ids, sizes.source_rows))
        .transpose()?;
    let resets = resets.map(tensors::flags).transpose()?;
    let bias_hh = weights.bias_hh;
    let mut parameters = vec![weights.weight_ih, weights.weight_hh, weights.bias_ih];
    parameters.extend(bias_hh);
    let parameters: Vec<Tensor> = parameters
        .into_iter()
        .map(Tensor::contiguous)
        .collect::<Result<_>>()?;
    let (tokens, passes) = taps::tokens(workspace, &parameters)?;
    let op = Sequence {
        cell,
        level,
        sizes,
        ids,
        resets,
        parameters,
        workspace: workspace.clone(),
        passes: passes.clone(),
    };
    let hidden = source
        .contiguous()?
        .apply_op3(&tokens, &state.contiguous()?, op)?;
    let last = hidden.narrow(0, sizes.t - 1, 1)?;
    let state = if cell.states() == 2 {
        let c = hidden.apply_op1(FinalCell {
            workspace: workspace.clone(),
            passes,
        })?;
        Tensor::cat(&[&last, &c], 0)?
    } else {
        last
    };
    Ok((hidden, state))
}

/// T, B, H, and I (the input size); `source_rows` is V for a table and T·B for a sequence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub t: usize,
    pub b: usize,
    pub h: usize,
    pub i: usize,
    pub gates: usize,
    pub source_rows: usize,
}

impl Sizes {
    fn check(
        cell: Cell,
        source: &Tensor,
        ids: Option<&Tensor>,
        weights: &Weights,
        state: &Tensor,
        resets: Option<&Tensor>,
    ) -> Result<Self> {
        let (t, b, i) = match ids {
            Some(ids) => (ids.dims2()?.0, ids.dims2()?.1, source.dims2()?.1),
            None => source.dims3()?,
        };
        let h = weights.weight_hh.dims2()?.1;
        let gates = cell.gates() * h;
        if [t, b, h, i, source.elem_count()].contains(&0) {
            bail!(
                "a recurrent layer needs T, B, H, I and V of at least 1, got T={t} B={b} H={h} I={i}"
            );
        }
        if t.checked_mul(b)
            .and_then(|rows| rows.checked_mul(gates + h))
            .is_none()
        {
            bail!("a window of T={t} B={b} H={h} does not fit in memory");
        }
        weights.check(cell, i, h)?;
        tensors::expect("state", state, &[cell.states(), b, h])?;
        tensors::expect("input", source, source.dims())?;
        if let Some(resets) = resets.filter(|r| r.dims() != [t, b]) {
            bail!(
                "resets must be [T, B] = [{t}, {b}], got {:?}",
                resets.dims()
            );
        }
        let source_rows = if ids.is_some() { source.dim(0)? } else { t * b };
        Ok(Self {
            t,
            b,
            h,
            i,
            gates,
            source_rows,
        })
    }

    /// Characters in the window.
    pub fn cells(&self) -> usize {
        self.t * self.b
    }
}
