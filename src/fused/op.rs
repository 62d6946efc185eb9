//! [`Sequence`]: a layer over a window as a candle op. Lays the weights out, runs the recurrence,
//! sums the gradients.

use super::{
    Cell, Level, Weights, Workspace,
    gradients::{self, Outer},
    matmul::{Order, Rows, Shared, project},
    recurrence::{self, BackwardPass, Pass},
    sequence::Sizes,
    taps::Passes,
    tensors::{self, floats},
    workspace::Buffers,
};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use std::sync::{Arc, atomic::Ordering};

/// The op of [`super::sequence()`]: its arguments are the input or table, the weights' tokens, and
/// the state.
pub struct Sequence {
    pub cell: Cell,
    pub level: Level,
    pub sizes: Sizes,
    pub ids: Option<Vec<u32>>,
    pub resets: Option<Vec<u8>>,
    /// weight_ih, weight_hh, bias_ih, perhaps bias_hh; contiguous.
    pub parameters: Vec<Tensor>,
    pub workspace: Workspace,
    pub passes: Arc<Passes>,
}

impl Sequence {
    fn forward(&self, source: &[f32], state: &[f32], buffers: &mut Buffers) -> Result<Vec<f32>> {
        let Sizes {
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
        buffers
            .input_weights
            .pack(self.level, &weight_ih, Order::Columns, i, width);
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
        recurrence::forward(self.cell, self.level, &pass);
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
        recurrence::backward(self.cell, self.level, &backward);
        Ok(grad_state)
    }
}

/// `dL/dsource`, if asked for, and the gradients of the weights.
type Sums = (Option<Vec<f32>>, Vec<Vec<f32>>);

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
    ) -> Result<Sums> {
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
                gradients::scatter(level, ids, gates, width, sums);
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
                .pack(level, &weight_ih, Order::Rows, width, i);
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
