//! The readout of one hidden sequence.

use crate::fused::gemm::panels::{Order, Panels};
use crate::fused::gemm::product::{Accumulate, linear, matmul};
use crate::fused::gemm::reduce::column_sums;
use crate::fused::gemm::transposed::{MatmulTn, zeros};
use crate::fused::parallel;
use crate::fused::readout::softmax::cross_entropy;
use crate::fused::simd::isa::{Isa, Task};
use crate::fused::simd::level::Level;
use crate::fused::simd::memory::{Buffer, MatMut, MatRef};
use crate::fused::tensors::{self, floats};
use crate::fused::workspace::Buffers;
use candle_core::{Result, Tensor, bail};

/// The readout of a window, on plain slices.
pub struct Readout {
    level: Level,
    h: usize,
    v: usize,
    targets: Vec<u32>,
    /// weight, bias; contiguous.
    pub parameters: [Tensor; 2],
}

/// A block of rows: logits, then their gradients, then the nats of each row.
struct RowBlock<'a> {
    hidden: MatRef<'a>,
    panels: &'a Panels,
    bias: &'a [f32],
    targets: &'a [u32],
    /// `1 / (T·B)`
    share: f32,
    /// `[rows, V]`
    grad: &'a mut [f32],
    nats: &'a mut [f32],
}

impl Task for RowBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let v = self.bias.len();
        self.grad.chunks_exact_mut(v).for_each(|row| row.copy_from_slice(self.bias));
        let logits = MatMut::new(self.grad, v);
        matmul(isa, self.hidden, self.panels, logits, Accumulate::Add, &mut Buffer::default());
        let rows = self.grad.chunks_exact_mut(v).zip(self.targets).zip(self.nats);
        for ((row, &target), nats) in rows {
            *nats = cross_entropy(isa, row, target, self.share);
        }
    }
}

impl Readout {
    /// Of a hidden sequence `[T, B, H]`.
    pub fn new(
        level: Level,
        [t, b, h]: [usize; 3],
        weight: &Tensor,
        bias: &Tensor,
        targets: &Tensor,
    ) -> Result<Self> {
        let v = bias.dims1()?;
        if [t, b, h, v].contains(&0) {
            bail!("the readout needs T, B, H and V of at least 1, got T={t} B={b} H={h} V={v}");
        }
        tensors::expect("readout weight", weight, &[v, h])?;
        tensors::expect("readout bias", bias, &[v])?;
        if targets.dims() != [t, b] {
            bail!("targets must be [T, B] = [{t}, {b}], got {:?}", targets.dims());
        }
        Ok(Self {
            level,
            h,
            v,
            targets: tensors::ids(targets, v)?,
            parameters: [weight.contiguous()?, bias.contiguous()?],
        })
    }

    /// The loss; `buffers` keeps the gradient of the logits.
    pub fn forward(&self, hidden: &[f32], buffers: &mut Buffers) -> Result<f32> {
        let (h, v, rows) = (self.h, self.v, self.targets.len());
        let (weight, bias) = (floats(&self.parameters[0])?, floats(&self.parameters[1])?);
        buffers.input_weights.pack(self.level, &weight, Order::ColumnMajor, h, v);
        let panels = &buffers.input_weights;
        let (grad, nats) = buffers.gates.resized(rows * (v + 1)).split_at_mut(rows * v);
        let tasks = parallel::tasks(rows, 1..=64);
        let blocks = parallel::shares(grad, v, tasks).zip(parallel::shares(nats, 1, tasks));
        parallel::for_items(blocks, |((block, grad), (_, nats))| {
            let hidden = MatRef::new(&hidden[block.start * h..], h);
            let targets = &self.targets[block];
            let share = 1.0 / rows as f32;
            self.level.run(RowBlock { hidden, panels, bias: &bias, targets, share, grad, nats });
        });
        Ok((nats.iter().map(|&x| f64::from(x)).sum::<f64>() / rows as f64) as f32)
    }

    /// Writes `dL/dhidden` and returns the gradients of weight and bias, for `dL/dloss = scale`.
    pub fn backward(
        &self,
        hidden: &[f32],
        scale: f32,
        grad_hidden: &mut [f32],
        buffers: &mut Buffers,
    ) -> Result<[Vec<f32>; 2]> {
        let (h, v, rows) = (self.h, self.v, self.targets.len());
        let grad = &mut buffers.gates[..rows * v];
        if scale != 1.0 {
            parallel::for_items(grad.chunks_mut(64 * v), |grad| {
                grad.iter_mut().for_each(|g| *g *= scale);
            });
        }
        let weight = floats(&self.parameters[0])?;
        buffers.input_weights.pack(self.level, &weight, Order::RowMajor, v, h);
        linear(self.level, grad, &buffers.input_weights, None, grad_hidden);
        let mut grad_weight = zeros(v * h);
        let row = |row: usize| &hidden[row * h..][..h];
        MatmulTn { level: self.level, a: MatRef::new(grad, v), m: v, b: row, n: h, k: rows }
            .write(&mut buffers.packed, &mut grad_weight);
        Ok([grad_weight, column_sums(grad, v)])
    }
}
