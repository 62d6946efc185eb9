//! A layer over a window, on plain slices: lays the weights out, runs the recurrence, sums the
//! gradients. What makes it a candle op is in `op`; what strings layers together, in `window`.

use super::{
    Cell, Level, Weights,
    gradients::{self, Outer},
    matmul::{Order, Rows, project},
    memory::{Buffer, Shared},
    recurrence::{self, BackwardPass, Pass},
    sizes::{Reads, Sizes},
    tensors::{self, floats},
    workspace::Buffers,
};
use candle_core::{Result, Tensor};

/// What a layer is and what its window is.
pub struct Layer {
    pub cell: Cell,
    pub level: Level,
    pub sizes: Sizes,
    pub ids: Option<Vec<u32>>,
    pub resets: Option<Vec<u8>>,
    /// weight_ih, weight_hh, bias_ih, perhaps bias_hh; contiguous.
    pub parameters: Vec<Tensor>,
}

/// What the forward pass was given, and what it gave.
pub struct Inputs<'a> {
    /// The table `[V, I]` where there are ids, else `[T, B, I]`.
    pub source: &'a [f32],
    /// `[S, B, H]`
    pub state: &'a [f32],
    /// `[T, B, H]`
    pub hidden: &'a [f32],
}

impl Layer {
    /// Fails on shapes, dtypes or devices that do not fit, and on an id outside the table.
    pub fn new(
        level: Level,
        cell: Cell,
        reads: Reads,
        weights: &Weights,
        state: &Tensor,
        resets: Option<&Tensor>,
    ) -> Result<Self> {
        let sizes = Sizes::check(cell, reads, weights, state, resets)?;
        let ids = match reads {
            Reads::Rows { ids, v, .. } => Some(tensors::ids(ids, v)?),
            Reads::Sequence { .. } => None,
        };
        let mut parameters = vec![weights.weight_ih, weights.weight_hh, weights.bias_ih];
        parameters.extend(weights.bias_hh);
        Ok(Self {
            cell,
            level,
            sizes,
            ids,
            resets: resets.map(tensors::flags).transpose()?,
            parameters: parameters.into_iter().map(Tensor::contiguous).collect::<Result<_>>()?,
        })
    }

    /// Writes the hidden sequence `[T, B, H]`; `buffers` keeps what the backward pass needs.
    pub fn forward(
        &self,
        source: &[f32],
        state: &[f32],
        hidden: &mut [f32],
        buffers: &mut Buffers,
    ) -> Result<()> {
        let Sizes { h, i, gates: width, source_rows, .. } = self.sizes;
        let (cells, level) = (self.sizes.cells(), self.level);
        let [weight_ih, weight_hh, bias_ih] = [0, 1, 2].map(|i| &self.parameters[i]);
        let weights = Weights { weight_ih, weight_hh, bias_ih, bias_hh: self.parameters.get(3) };
        let (bias, bias_n) = weights.biases(self.cell)?;
        let input = &mut buffers.input_weights;
        input.pack(level, &floats(weight_ih)?, Order::Columns, i, width);
        let recurrent = &mut buffers.recurrent_weights;
        self.cell.pack_recurrent(level, &floats(weight_hh)?, h, true, recurrent);
        let gates = buffers.gates.resized(cells * width);
        let table = match self.ids {
            Some(_) => buffers.table.resized(source_rows * width),
            None => &mut [],
        };
        let projected = match self.ids {
            Some(_) => &mut *table,
            None => &mut *gates,
        };
        project(level, source, i, input, Some(&bias), width, projected);
        let pass = Pass {
            sizes: self.sizes,
            ids: self.ids.as_deref(),
            resets: self.resets.as_deref(),
            weights: recurrent,
            bias_n: &bias_n,
            table,
            state,
            gates: Shared::new(gates),
            extra: Shared::new(buffers.extra.resized(cells * h)),
            hidden: Shared::new(hidden),
        };
        recurrence::forward(self.cell, level, &pass);
        Ok(())
    }

    /// `dL/dstate`, and the weights' gradients in the order of `parameters`, for `grad`, `dL/dhidden`,
    /// and `grad_cell`, `dL/dc_T` or empty. Writes `dL/dsource` to `grad_source` if asked for.
    pub fn backward(
        &self,
        inputs: &Inputs,
        grad: &[f32],
        grad_cell: &[f32],
        grad_source: Option<&mut [f32]>,
        buffers: &mut Buffers,
    ) -> Result<(Vec<f32>, Vec<Vec<f32>>)> {
        let grad_state = self.backward_recurrence(inputs, grad, grad_cell, buffers)?;
        Ok((grad_state, self.sums(inputs, grad_source, buffers)?))
    }

    /// Runs the recurrence backwards; the buffers' gates, extra and bias then hold gradients.
    /// `grad` is `dL/dhidden`; returns `dL/dstate`.
    fn backward_recurrence(
        &self,
        inputs: &Inputs,
        grad: &[f32],
        grad_cell: &[f32],
        buffers: &mut Buffers,
    ) -> Result<Vec<f32>> {
        let Sizes { b, h, gates: width, .. } = self.sizes;
        let cells = self.sizes.cells();
        let recurrent = &mut buffers.recurrent_weights;
        let weight_hh = floats(&self.parameters[1])?;
        self.cell.pack_recurrent(self.level, &weight_hh, h, false, recurrent);
        let mut grad_state = vec![0.0; inputs.state.len()];
        let pass = Pass {
            sizes: self.sizes,
            ids: None,
            resets: self.resets.as_deref(),
            weights: recurrent,
            bias_n: &[],
            table: &[],
            state: inputs.state,
            gates: Shared::new(buffers.gates.resized(cells * width)),
            extra: Shared::new(buffers.extra.resized(cells * h)),
            hidden: Shared::read_only(inputs.hidden),
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

    /// The weights' gradients in the order of `parameters`, from what
    /// [`Layer::backward_recurrence`] left, and `dL/dsource` into `grad_source` if asked for.
    fn sums(
        &self,
        inputs: &Inputs,
        grad_source: Option<&mut [f32]>,
        buffers: &mut Buffers,
    ) -> Result<Vec<Vec<f32>>> {
        let Sizes { h, i, gates: width, source_rows, .. } = self.sizes;
        let (cells, level) = (self.sizes.cells(), self.level);
        let gates = &buffers.gates[..cells * width];
        let extra = &buffers.extra[..cells * h];
        let packed = &mut buffers.packed;
        let weight_hh = self.sum_recurrent(inputs, gates, extra, packed);

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
        Outer {
            level,
            a: Rows { data: grads, stride: width },
            m: width,
            b: |row: usize| &inputs.source[row * i..][..i],
            n: i,
            k: source_rows,
        }
        .write(packed, &mut weight_ih);
        if let Some(grad_source) = grad_source {
            let weight_ih = floats(&self.parameters[0])?;
            let input = &mut buffers.input_weights;
            input.pack(level, &weight_ih, Order::Rows, width, i);
            project(level, grads, width, input, None, i, grad_source);
        }

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
        Ok(all)
    }

    /// The gradient of `weight_hh`.
    fn sum_recurrent(
        &self,
        inputs: &Inputs,
        gates: &[f32],
        extra: &[f32],
        packed: &mut Buffer,
    ) -> Vec<f32> {
        let Sizes { b, h, gates: width, .. } = self.sizes;
        let (level, k) = (self.level, self.sizes.cells());
        let zeros = vec![0.0; h];
        let entered = |row: usize| match &self.resets {
            Some(resets) if resets[row] != 0 => &zeros[..],
            _ if row < b => &inputs.state[row * h..][..h],
            _ => &inputs.hidden[(row - b) * h..][..h],
        };
        let kept = |row: usize| &extra[row * h..][..h];
        let rows = |data, stride| Rows { data, stride };
        let mut sum = vec![0.0; width * h];
        // Of the GRUs the candidate's rows have other factors than the reset and update gates'.
        let m = match self.cell {
            Cell::Gru | Cell::GruResetAfter => 2 * h,
            Cell::Lstm | Cell::Rnn => width,
        };
        let (first, candidate) = sum.split_at_mut(m * h);
        Outer { level, a: rows(gates, width), m, b: entered, n: h, k }.write(packed, first);
        match self.cell {
            Cell::Gru => Outer { level, a: rows(&gates[m..], width), m: h, b: kept, n: h, k }
                .write(packed, candidate),
            Cell::GruResetAfter => Outer { level, a: rows(extra, h), m: h, b: entered, n: h, k }
                .write(packed, candidate),
            Cell::Lstm | Cell::Rnn => {}
        }
        sum
    }
}
