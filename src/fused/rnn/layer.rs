//! A layer over a window, on plain slices: packs the weights, runs the recurrence, sums the gradients.
//! What makes it a candle op is in `autograd`; what strings layers together, in `window`.

use crate::fused::gemm::panels::Order;
use crate::fused::gemm::product::linear;
use crate::fused::gemm::reduce::{column_sums, scatter_add};
use crate::fused::gemm::transposed::{MatmulTn, zeros};
use crate::fused::rnn::cells::step::{BiasHh, CellStep, Left, Right};
use crate::fused::rnn::cells::{Cell, with_cell};
use crate::fused::rnn::recurrence::{self, BackwardPass, Pass};
use crate::fused::rnn::sizes::{Direction, Reads, Sizes};
use crate::fused::rnn::weights::{LayerWeights, Product};
use crate::fused::simd::level::Level;
use crate::fused::simd::memory::{Buffer, MatRef, Shared};
use crate::fused::tensors::{self, floats};
use crate::fused::workspace::Buffers;
use candle_core::{Result, Tensor};

/// How a layer computes.
#[derive(Clone, Copy)]
pub struct LayerSpec {
    pub cell: Cell,
    pub direction: Direction,
    pub level: Level,
}

/// What a layer is and what its window is.
pub struct Layer {
    pub spec: LayerSpec,
    pub sizes: Sizes,
    pub ids: Option<Vec<u32>>,
    pub resets: Option<Vec<u8>>,
    /// Contiguous.
    pub weights: LayerWeights,
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
    /// A layer and its window.
    ///
    /// # Errors
    /// Shapes, dtypes or devices that do not fit; an id outside the table.
    pub fn new(
        spec: LayerSpec,
        reads: Reads,
        weights: &LayerWeights,
        state: &Tensor,
        resets: Option<&Tensor>,
    ) -> Result<Self> {
        let sizes = Sizes::check(spec.cell, spec.direction, reads, weights, state, resets)?;
        let ids = match reads {
            Reads::Rows { ids, v, .. } => Some(tensors::ids(ids, v)?),
            Reads::Sequence { .. } => None,
        };
        let resets = resets.map(tensors::flags).transpose()?;
        Ok(Self { spec, sizes, ids, resets, weights: weights.contiguous()? })
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
        let LayerSpec { cell, level, .. } = self.spec;
        let positions = self.sizes.positions();
        let (bias, bias_hn) = self.weights.biases(cell)?;
        let input = &mut buffers.input_weights;
        input.pack(level, &floats(&self.weights.weight_ih)?, Order::ColumnMajor, i, width);
        let recurrent = &mut buffers.recurrent_weights;
        self.weights.pack_recurrent(cell, level, h, Product::Forward, recurrent)?;
        let gates = buffers.gates.resized(positions * width);
        let table = match self.ids {
            Some(_) => buffers.table.resized(source_rows * width),
            None => &mut [],
        };
        let projected = match self.ids {
            Some(_) => &mut *table,
            None => &mut *gates,
        };
        linear(level, source, input, Some(&bias), projected);
        let pass = Pass {
            sizes: self.sizes,
            ids: self.ids.as_deref(),
            resets: self.resets.as_deref(),
            weights: recurrent,
            bias_hn: &bias_hn,
            table,
            state,
            gates: Shared::new(gates),
            saved: Shared::new(buffers.saved.resized(positions * h)),
            hidden: Shared::new(hidden),
        };
        recurrence::forward(cell, level, &pass);
        Ok(())
    }

    /// `dL/dstate`, and the weights' gradients in the order of [`LayerWeights::tensors`], for `grad`,
    /// `dL/dhidden`, and `grad_cell`, `dL/dc` after the window or empty. Writes `dL/dsource` to
    /// `grad_source` if asked for.
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

    /// Runs the recurrence backwards; the buffers' gates, saved and bias then hold gradients.
    /// `grad` is `dL/dhidden`; returns `dL/dstate`.
    fn backward_recurrence(
        &self,
        inputs: &Inputs,
        grad: &[f32],
        grad_cell: &[f32],
        buffers: &mut Buffers,
    ) -> Result<Vec<f32>> {
        let Sizes { b, h, gates: width, .. } = self.sizes;
        let LayerSpec { cell, level, .. } = self.spec;
        let positions = self.sizes.positions();
        let recurrent = &mut buffers.recurrent_weights;
        self.weights.pack_recurrent(cell, level, h, Product::Backward, recurrent)?;
        let mut grad_state = vec![0.0; inputs.state.len()];
        let pass = Pass {
            sizes: self.sizes,
            ids: None,
            resets: self.resets.as_deref(),
            weights: recurrent,
            bias_hn: &[],
            table: &[],
            state: inputs.state,
            gates: Shared::new(buffers.gates.resized(positions * width)),
            saved: Shared::new(buffers.saved.resized(positions * h)),
            hidden: Shared::read_only(inputs.hidden),
        };
        let backward = BackwardPass {
            pass: &pass,
            grad,
            grad_cell,
            grad_state: Shared::new(&mut grad_state),
            bias: Shared::new(buffers.bias.resized(b * (width + h))),
        };
        recurrence::backward(cell, level, &backward);
        Ok(grad_state)
    }

    /// The weights' gradients in the order of [`LayerWeights::tensors`], from what
    /// [`Layer::backward_recurrence`] left, and `dL/dsource` into `grad_source` if asked for.
    fn sums(
        &self,
        inputs: &Inputs,
        grad_source: Option<&mut [f32]>,
        buffers: &mut Buffers,
    ) -> Result<Vec<Vec<f32>>> {
        let Sizes { h, i, gates: width, source_rows, .. } = self.sizes;
        let LayerSpec { cell, level, .. } = self.spec;
        let positions = self.sizes.positions();
        let gates = &buffers.gates[..positions * width];
        let saved = &buffers.saved[..positions * h];
        let packed = &mut buffers.packed;
        let weight_hh =
            cell.has_weight_hh().then(|| self.sum_recurrent(inputs, gates, saved, packed));

        // Through the table the characters fall into V sums before they meet `weight_ih`.
        let grads = match &self.ids {
            Some(ids) => {
                let sums = buffers.table.resized(source_rows * width);
                scatter_add(level, ids, gates, width, sums);
                &*sums
            }
            None => gates,
        };
        let mut weight_ih = zeros(width * i);
        MatmulTn {
            level,
            a: MatRef::new(grads, width),
            m: width,
            b: |row: usize| &inputs.source[row * i..][..i],
            n: i,
            k: source_rows,
        }
        .write(packed, &mut weight_ih);
        if let Some(grad_source) = grad_source {
            let input = &mut buffers.input_weights;
            input.pack(level, &floats(&self.weights.weight_ih)?, Order::RowMajor, width, i);
            linear(level, grads, input, None, grad_source);
        }

        let mut bias = column_sums(&buffers.bias, width + h);
        let apart = bias.split_off(width);
        let bias_hh = match cell.bias_hh() {
            BiasHh::None => None,
            BiasHh::Added => Some(bias.clone()),
            BiasHh::LastApart => Some([&bias[..width - h], &apart].concat()),
        };
        Ok([Some(weight_ih), weight_hh, Some(bias), bias_hh].into_iter().flatten().collect())
    }

    /// The gradient of `weight_hh`, section by section.
    fn sum_recurrent(
        &self,
        inputs: &Inputs,
        gates: &[f32],
        saved: &[f32],
        packed: &mut Buffer,
    ) -> Vec<f32> {
        let Sizes { b, h, gates: width, .. } = self.sizes;
        let (level, k) = (self.spec.level, self.sizes.positions());
        let reset = vec![0.0; h];
        let entering = |position: usize| match &self.resets {
            Some(resets) if resets[position] != 0 => &reset[..],
            _ => match self.sizes.before(position / b) {
                None => &inputs.state[position % b * h..][..h],
                Some(before) => &inputs.hidden[(before * b + position % b) * h..][..h],
            },
        };
        let mut sum = zeros(width * h);
        let mut first = 0;
        for section in with_cell!(self.spec.cell, C => C::SECTIONS) {
            let m = section.blocks * h;
            let a = match section.left {
                Left::Gates => MatRef::new(&gates[first..], width),
                Left::Saved => MatRef::new(saved, h),
            };
            let out = &mut sum[first * h..][..m * h];
            match section.right {
                Right::Entering => {
                    MatmulTn { level, a, m, b: entering, n: h, k }.write(packed, out)
                }
                Right::Saved => {
                    let b = |position: usize| &saved[position * h..][..h];
                    MatmulTn { level, a, m, b, n: h, k }.write(packed, out);
                }
            }
            first += m;
        }
        sum
    }
}
