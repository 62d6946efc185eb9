//! A whole layer over a whole window as one op: the driver that all cells share.
//!
//! Every worker takes some rows of the batch and runs all T steps for them, so no step waits for
//! another worker. Rows do not touch each other, and each sum has one order, so the result does not
//! depend on how many workers there are.

use super::{
    Cell, Level, Precision, Workspace,
    cells::{Backward, CellStep, Forward, Gru, GruResetAfter, Lstm, Rnn, Step},
    gradients::{self, Outer},
    matmul::{Buffer, Panels, Rows, Shared, Strides, product},
    simd::{Isa, Task},
    taps::{self, FinalCell, Passes},
    tensors::{self, floats},
    workspace::Buffers,
};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::sync::{Arc, atomic::Ordering};

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
                    panels.pack(level, weight, h, len, Strides { row: 1, column: h });
                } else {
                    panels.pack(level, weight, len, h, Strides { row: h, column: 1 });
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

    fn cells(&self) -> usize {
        self.t * self.b
    }
}

struct Sequence {
    cell: Cell,
    level: Level,
    sizes: Sizes,
    ids: Option<Vec<u32>>,
    resets: Option<Vec<u8>>,
    /// weight_ih, weight_hh, bias_ih, perhaps bias_hh; contiguous.
    parameters: Vec<Tensor>,
    workspace: Workspace,
    passes: Arc<Passes>,
}

/// What the workers of one pass share.
struct Pass<'a> {
    sizes: Sizes,
    ids: Option<&'a [u32]>,
    resets: Option<&'a [u8]>,
    weights: &'a [Panels; 2],
    bias_n: &'a [f32],
    /// `[V, G·H]` where there are ids.
    table: &'a [f32],
    /// `[S, B, H]`
    state: &'a [f32],
    gates: Shared<'a>,
    extra: Shared<'a>,
    hidden: Shared<'a>,
}

impl Pass<'_> {
    /// Rows `first..first + rows` of the batch at step t, of a `[T, B, width]` buffer.
    ///
    /// # Safety
    /// The caller is the only worker of these rows of the batch, and keeps no overlapping part.
    #[inline(always)]
    unsafe fn part<'b>(
        &self,
        buffer: Shared<'b>,
        width: usize,
        t: usize,
        first: usize,
        rows: usize,
    ) -> &'b mut [f32] {
        debug_assert!(t < self.sizes.t && first + rows <= self.sizes.b);
        // SAFETY: the caller's.
        unsafe { buffer.part((t * self.sizes.b + first) * width, rows * width) }
    }

    /// A state as it enters step t: what left the step before, or the given one; zero after a reset.
    ///
    /// # Safety
    /// As for [`Pass::part`]; nobody writes these rows of step t - 1 while the result is alive.
    #[inline(always)]
    unsafe fn entering<'b>(
        &'b self,
        given: &'b [f32],
        sequence: Shared<'b>,
        t: usize,
        first: usize,
        rows: usize,
        room: &'b mut [f32],
    ) -> &'b [f32] {
        let h = self.sizes.h;
        let before: &[f32] = match t {
            0 => &given[first * h..][..rows * h],
            // SAFETY: the caller's.
            _ => unsafe { sequence.read(((t - 1) * self.sizes.b + first) * h, rows * h) },
        };
        let Some(resets) = self.resets_at(t, first, rows) else {
            return before;
        };
        for ((row, before), &reset) in room
            .chunks_exact_mut(h)
            .zip(before.chunks_exact(h))
            .zip(resets)
        {
            if reset == 0 {
                row.copy_from_slice(before)
            } else {
                row.fill(0.0)
            }
        }
        room
    }

    /// The rows' resets at step t, if there is any.
    #[inline(always)]
    fn resets_at(&self, t: usize, first: usize, rows: usize) -> Option<&[u8]> {
        let resets = &self.resets?[t * self.sizes.b + first..][..rows];
        resets.iter().any(|&reset| reset != 0).then_some(resets)
    }
}

struct ForwardBlock<'a, C> {
    pass: &'a Pass<'a>,
    first: usize,
    rows: usize,
    cell: C,
}

impl<C: CellStep> Task for ForwardBlock<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self {
            pass,
            first,
            rows,
            cell,
        } = self;
        let Sizes {
            t: steps,
            b,
            h,
            gates: width,
            ..
        } = pass.sizes;
        let (mut h_room, mut c_room) = (vec![0.0; rows * h], vec![0.0; rows * h]);
        let mut scratch = Buffer::default();
        let (h_given, c_given) = pass.state.split_at(b * h);
        for t in 0..steps {
            // SAFETY: no other worker has these rows; `gates`, `extra` and `out` are step t of
            // three buffers, and the entering states step t - 1.
            let (gates, extra, out, h_in, c_in) = unsafe {
                (
                    pass.part(pass.gates, width, t, first, rows),
                    pass.part(pass.extra, h, t, first, rows),
                    pass.part(pass.hidden, h, t, first, rows),
                    pass.entering(h_given, pass.hidden, t, first, rows, &mut h_room),
                    if c_given.is_empty() {
                        c_given
                    } else {
                        pass.entering(c_given, pass.extra, t, first, rows, &mut c_room)
                    },
                )
            };
            if let Some(ids) = pass.ids {
                for (row, &id) in gates.chunks_exact_mut(width).zip(&ids[t * b + first..]) {
                    row.copy_from_slice(&pass.table[id as usize * width..][..width]);
                }
            }
            let step = Step {
                hidden_size: h,
                weights: pass.weights,
                extra,
                gates,
                h: h_in,
                c: c_in,
                scratch: &mut scratch,
            };
            cell.forward(
                isa,
                step,
                Forward {
                    bias_n: pass.bias_n,
                    out,
                },
            );
        }
    }
}

/// What the backward workers write and read besides.
struct BackwardPass<'a> {
    pass: &'a Pass<'a>,
    /// `dL/dhidden [T, B, H]`
    grad: &'a [f32],
    /// `dL/dc_T [B, H]`, or empty.
    grad_cell: &'a [f32],
    /// `dL/dstate [S, B, H]`
    grad_state: Shared<'a>,
    /// `[B, (G+1)·H]`
    bias: Shared<'a>,
}

struct BackwardBlock<'a, C> {
    backward: &'a BackwardPass<'a>,
    first: usize,
    rows: usize,
    cell: C,
}

impl<C: CellStep> Task for BackwardBlock<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self {
            backward,
            first,
            rows,
            cell,
        } = self;
        let pass = backward.pass;
        let Sizes {
            t: steps,
            b,
            h,
            gates: width,
            ..
        } = pass.sizes;
        let [mut h_room, mut c_room, mut room] = std::array::from_fn(|_| vec![0.0; rows * h]);
        let mut scratch = Buffer::default();
        let (h_given, c_given) = pass.state.split_at(b * h);
        // SAFETY: no other worker has these rows.
        let (dh, dc, bias) = unsafe {
            let dc = if c_given.is_empty() {
                &mut []
            } else {
                backward.grad_state.part((b + first) * h, rows * h)
            };
            let bias = backward.bias.part(first * (width + h), rows * (width + h));
            (backward.grad_state.part(first * h, rows * h), dc, bias)
        };
        dh.fill(0.0);
        match backward.grad_cell {
            [] => dc.fill(0.0),
            grad => dc.copy_from_slice(&grad[first * h..][..rows * h]),
        }
        bias.fill(0.0);
        for t in (0..steps).rev() {
            // SAFETY: as in `ForwardBlock`.
            let (gates, extra, h_in, c_in) = unsafe {
                (
                    pass.part(pass.gates, width, t, first, rows),
                    pass.part(pass.extra, h, t, first, rows),
                    pass.entering(h_given, pass.hidden, t, first, rows, &mut h_room),
                    if c_given.is_empty() {
                        c_given
                    } else {
                        pass.entering(c_given, pass.extra, t, first, rows, &mut c_room)
                    },
                )
            };
            let step = Step {
                hidden_size: h,
                weights: pass.weights,
                extra,
                gates,
                h: h_in,
                c: c_in,
                scratch: &mut scratch,
            };
            let grad = &backward.grad[(t * b + first) * h..][..rows * h];
            cell.backward(
                isa,
                step,
                Backward {
                    grad,
                    dh,
                    dc,
                    room: &mut room,
                },
            );
            for (row, &reset) in pass
                .resets_at(t, first, rows)
                .unwrap_or_default()
                .iter()
                .enumerate()
            {
                if reset != 0 {
                    dh[row * h..][..h].fill(0.0);
                    dc.chunks_exact_mut(h)
                        .nth(row)
                        .unwrap_or_default()
                        .fill(0.0);
                }
            }
            // SAFETY: as above; the cell's borrows have ended.
            let (gates, extra) = unsafe {
                (
                    pass.part(pass.gates, width, t, first, rows),
                    pass.part(pass.extra, h, t, first, rows),
                )
            };
            for (sums, (gates, extra)) in bias
                .chunks_exact_mut(width + h)
                .zip(gates.chunks_exact(width).zip(extra.chunks_exact(h)))
            {
                let (gate_sums, extra_sums) = sums.split_at_mut(width);
                gate_sums
                    .iter_mut()
                    .zip(gates)
                    .for_each(|(sum, g)| *sum += g);
                if C::APART {
                    extra_sums
                        .iter_mut()
                        .zip(extra)
                        .for_each(|(sum, g)| *sum += g);
                }
            }
        }
    }
}

/// Splits the batch into one block of rows for each thread, whole tiles each.
fn blocks(level: Level, rows: usize) -> Vec<(usize, usize)> {
    let size = rows
        .div_ceil(rayon::current_num_threads())
        .next_multiple_of(level.tile_rows());
    (0..rows)
        .step_by(size)
        .map(|first| (first, size.min(rows - first)))
        .collect()
}

/// `out[rows, n] = x[rows, k] · B + bias`, in parallel over the rows.
pub(super) fn project(
    level: Level,
    x: &[f32],
    k: usize,
    panels: &Panels,
    bias: Option<&[f32]>,
    n: usize,
    out: &mut [f32],
) {
    struct Project<'a>(
        Rows<'a>,
        &'a Panels,
        Option<&'a [f32]>,
        usize,
        &'a mut [f32],
    );
    impl Task for Project<'_> {
        type Output = ();

        #[inline(always)]
        fn run<I: Isa>(self, isa: I) {
            let Self(x, panels, bias, n, out) = self;
            if let Some(bias) = bias {
                out.chunks_exact_mut(n)
                    .for_each(|row| row.copy_from_slice(bias));
            }
            product(
                isa,
                x,
                panels,
                out,
                n,
                bias.is_some(),
                &mut Buffer::default(),
            );
        }
    }
    // 64 rows: they and one panel fit the second-level cache.
    out.par_chunks_mut(64 * n)
        .enumerate()
        .for_each(|(chunk, out)| {
            let x = Rows {
                data: &x[chunk * 64 * k..],
                stride: k,
            };
            level.run(Project(x, panels, bias, n, out));
        });
}

impl Sequence {
    fn forward(&self, source: &[f32], state: &[f32], buffers: &mut Buffers) -> Result<Vec<f32>> {
        let Sizes {
            b,
            h,
            i,
            gates: width,
            source_rows,
            ..
        } = self.sizes;
        let cells = self.sizes.cells();
        let [weight_ih, weight_hh, bias_ih] = [0, 1, 2].map(|i| &self.parameters[i]);
        let weights = Weights {
            weight_ih,
            weight_hh,
            bias_ih,
            bias_hh: self.parameters.get(3),
        };
        let (bias, bias_n) = weights.biases(self.cell)?;
        let weight_ih = floats(&self.parameters[0])?;
        buffers.input_weights.pack(
            self.level,
            &weight_ih,
            i,
            width,
            Strides { row: 1, column: i },
        );
        self.cell.pack_recurrent(
            self.level,
            &floats(&self.parameters[1])?,
            h,
            true,
            &mut buffers.recurrent_weights,
        );
        let gates = buffers.gates.resized(cells * width);
        let table = buffers.table.resized(if self.ids.is_some() {
            source_rows * width
        } else {
            0
        });
        let projected = if self.ids.is_some() {
            &mut *table
        } else {
            &mut *gates
        };
        project(
            self.level,
            source,
            i,
            &buffers.input_weights,
            Some(&bias),
            width,
            projected,
        );
        let mut hidden = vec![0.0; cells * h];
        let pass = Pass {
            sizes: self.sizes,
            ids: self.ids.as_deref(),
            resets: self.resets.as_deref(),
            weights: &buffers.recurrent_weights,
            bias_n: &bias_n,
            table,
            state,
            gates: Shared::new(gates),
            extra: Shared::new(buffers.extra.resized(cells * h)),
            hidden: Shared::new(&mut hidden),
        };
        blocks(self.level, b)
            .into_par_iter()
            .for_each(|(first, rows)| {
                let pass = &pass;
                match self.cell {
                    Cell::Gru => self.level.run(ForwardBlock {
                        pass,
                        first,
                        rows,
                        cell: Gru,
                    }),
                    Cell::GruResetAfter => self.level.run(ForwardBlock {
                        pass,
                        first,
                        rows,
                        cell: GruResetAfter,
                    }),
                    Cell::Lstm => self.level.run(ForwardBlock {
                        pass,
                        first,
                        rows,
                        cell: Lstm,
                    }),
                    Cell::Rnn => self.level.run(ForwardBlock {
                        pass,
                        first,
                        rows,
                        cell: Rnn,
                    }),
                }
            });
        Ok(hidden)
    }

    /// Runs the recurrence backwards; gates and extra then hold gradients. Returns `dL/dstate`.
    fn backward_recurrence(
        &self,
        hidden: &[f32],
        grad: &[f32],
        state: &[f32],
        grad_cell: &[f32],
        buffers: &mut Buffers,
    ) -> Result<Vec<f32>> {
        let Sizes {
            b, h, gates: width, ..
        } = self.sizes;
        let cells = self.sizes.cells();
        self.cell.pack_recurrent(
            self.level,
            &floats(&self.parameters[1])?,
            h,
            false,
            &mut buffers.recurrent_weights,
        );
        let mut grad_state = vec![0.0; state.len()];
        let pass = Pass {
            sizes: self.sizes,
            ids: None,
            resets: self.resets.as_deref(),
            weights: &buffers.recurrent_weights,
            bias_n: &[],
            table: &[],
            state,
            gates: Shared::new(buffers.gates.resized(cells * width)),
            extra: Shared::new(buffers.extra.resized(cells * h)),
            hidden: Shared::read_only(hidden),
        };
        let backward = BackwardPass {
            pass: &pass,
            grad,
            grad_cell,
            grad_state: Shared::new(&mut grad_state),
            bias: Shared::new(buffers.bias.resized(b * (width + h))),
        };
        blocks(self.level, b)
            .into_par_iter()
            .for_each(|(first, rows)| {
                let backward = &backward;
                match self.cell {
                    Cell::Gru => self.level.run(BackwardBlock {
                        backward,
                        first,
                        rows,
                        cell: Gru,
                    }),
                    Cell::GruResetAfter => self.level.run(BackwardBlock {
                        backward,
                        first,
                        rows,
                        cell: GruResetAfter,
                    }),
                    Cell::Lstm => self.level.run(BackwardBlock {
                        backward,
                        first,
                        rows,
                        cell: Lstm,
                    }),
                    Cell::Rnn => self.level.run(BackwardBlock {
                        backward,
                        first,
                        rows,
                        cell: Rnn,
                    }),
                }
            });
        Ok(grad_state)
    }
}

impl Sequence {
    /// `dL/dsource`, if asked for, and the weights' gradients in the order of `parameters`, from the
    /// gradients that the recurrence left in `buffers`.
    fn sums(
        &self,
        source: &[f32],
        hidden: &[f32],
        state: &[f32],
        wanted: bool,
        buffers: &mut Buffers,
    ) -> Result<(Option<Vec<f32>>, Vec<Vec<f32>>)> {
        let Sizes {
            b,
            h,
            i,
            gates: width,
            source_rows,
            ..
        } = self.sizes;
        let (cells, level) = (self.sizes.cells(), self.level);
        let gates = &buffers.gates[..cells * width];
        let extra = &buffers.extra[..cells * h];
        let packed = &mut buffers.packed;

        let zeros = vec![0.0; h];
        let entered = |row: usize| match &self.resets {
            Some(resets) if resets[row] != 0 => &zeros[..],
            _ if row < b => &state[row * h..][..h],
            _ => &hidden[(row - b) * h..][..h],
        };
        let kept = |row: usize| &extra[row * h..][..h];
        let mut weight_hh = vec![0.0; width * h];
        let whole = Outer {
            level,
            a: Rows {
                data: gates,
                stride: width,
            },
            m: width,
            b: entered,
            n: h,
            k: cells,
        };
        match self.cell {
            Cell::Lstm | Cell::Rnn => whole.write(packed, &mut weight_hh),
            Cell::Gru | Cell::GruResetAfter => {
                let (reset_update, candidate) = weight_hh.split_at_mut(2 * h * h);
                Outer { m: 2 * h, ..whole }.write(packed, reset_update);
                if self.cell == Cell::Gru {
                    let a = Rows {
                        data: &gates[2 * h..],
                        stride: width,
                    };
                    Outer {
                        level,
                        a,
                        m: h,
                        b: kept,
                        n: h,
                        k: cells,
                    }
                    .write(packed, candidate);
                } else {
                    let a = Rows {
                        data: extra,
                        stride: h,
                    };
                    Outer {
                        level,
                        a,
                        m: h,
                        b: entered,
                        n: h,
                        k: cells,
                    }
                    .write(packed, candidate);
                }
            }
        }

        // Through the table the characters fall into V sums before they meet `weight_ih`.
        let grads = match &self.ids {
            Some(ids) => {
                let sums = buffers.table.resized(source_rows * width);
                gradients::scatter(ids, gates, width, sums);
                &*sums
            }
            None => gates,
        };
        let mut weight_ih = vec![0.0; width * i];
        let row = |row: usize| &source[row * i..][..i];
        Outer {
            level,
            a: Rows {
                data: grads,
                stride: width,
            },
            m: width,
            b: row,
            n: i,
            k: source_rows,
        }
        .write(packed, &mut weight_ih);
        let grad_source = if wanted {
            let weight_ih = floats(&self.parameters[0])?;
            buffers
                .input_weights
                .pack(level, &weight_ih, width, i, Strides { row: i, column: 1 });
            let mut grad_source = vec![0.0; source_rows * i];
            project(
                level,
                grads,
                width,
                &buffers.input_weights,
                None,
                i,
                &mut grad_source,
            );
            Some(grad_source)
        } else {
            None
        };

        let mut bias = gradients::column_sums(&buffers.bias, width + h);
        let apart = bias.split_off(width);
        let mut all = vec![weight_ih, weight_hh, bias];
        if self.cell.has_bias_hh() {
            let mut recurrent = all[2].clone();
            if self.cell == Cell::GruResetAfter {
                recurrent[2 * h..].copy_from_slice(&apart);
            }
            all.push(recurrent);
        }
        Ok((grad_source, all))
    }
}

impl CustomOp3 for Sequence {
    fn name(&self) -> &'static str {
        "recurrent-sequence"
    }

    fn cpu_fwd(
        &self,
        source: &CpuStorage,
        source_layout: &Layout,
        _: &CpuStorage,
        _: &Layout,
        state: &CpuStorage,
        state_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let source = tensors::slice(source, source_layout)?;
        let state = tensors::slice(state, state_layout)?;
        let mut buffers = self.workspace.begin();
        let hidden = self.forward(source, state, &mut buffers)?;
        self.passes
            .forward
            .store(self.workspace.finish(buffers), Ordering::Relaxed);
        Ok((
            CpuStorage::F32(hidden),
            Shape::from((self.sizes.t, self.sizes.b, self.sizes.h)),
        ))
    }

    fn bwd(
        &self,
        source: &Tensor,
        tokens: &Tensor,
        state: &Tensor,
        hidden: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let mut buffers = self
            .workspace
            .resume(self.passes.forward.load(Ordering::Relaxed))?;
        let grad_cell = match buffers.grad_cell.take() {
            Some(grad) => floats(&grad)?.to_vec(),
            None => Vec::new(),
        };
        let (grad_source, grads, grad_state) = {
            let (source_data, hidden, state, grad) = (
                floats(source)?,
                floats(hidden)?,
                floats(state)?,
                floats(&grad)?,
            );
            let grad_state =
                self.backward_recurrence(&hidden, &grad, &state, &grad_cell, &mut buffers)?;
            let (grad_source, grads) = self.sums(
                &source_data,
                &hidden,
                &state,
                source.track_op(),
                &mut buffers,
            )?;
            (grad_source, grads, grad_state)
        };
        let like = |data: Vec<f32>, tensor: &Tensor| {
            Tensor::from_vec(data, tensor.shape(), tensor.device())
        };
        buffers.grads = grads
            .into_iter()
            .zip(&self.parameters)
            .map(|(grad, parameter)| like(grad, parameter).map(Some))
            .collect::<Result<_>>()?;
        self.passes
            .backward
            .store(self.workspace.finish(buffers), Ordering::Relaxed);
        Ok((
            grad_source.map(|grad| like(grad, source)).transpose()?,
            Some(tokens.zeros_like()?),
            state
                .track_op()
                .then(|| like(grad_state, state))
                .transpose()?,
        ))
    }
}
