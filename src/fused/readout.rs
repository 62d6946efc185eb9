//! Logits, softmax and mean cross-entropy as one op. The only array of the size of the logits is
//! their gradient, which the forward pass computes while a block of them is in cache.

use super::{
    Precision, Workspace,
    activations::exp,
    gradients::{self, Outer},
    matmul::{Order, Panels, Rows, product, project},
    memory::Buffer,
    simd::{Isa, Level, Task, for_vectors, load, store},
    taps::{self, Passes},
    tensors::{self, floats},
    workspace::Buffers,
};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use pulp::Simd;
use rayon::prelude::*;
use std::sync::{Arc, atomic::Ordering};

/// Mean cross-entropy, in nats, of `softmax(hidden · weight^T + bias)` against `targets`.
///
/// `hidden` `[T, B, H]`, `weight` `[V, H]`, `bias` `[V]`, `targets` `[T, B]` of u32. Returns a
/// scalar that carries gradient to all but the targets.
///
/// Fails on other shapes, dtypes or devices, on a target outside V, and in backward when
/// `workspace` was used again before.
pub fn readout_loss(
    hidden: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    targets: &Tensor,
    precision: Precision,
    workspace: &Workspace,
) -> Result<Tensor> {
    let (t, b, h) = hidden.dims3()?;
    tensors::expect("hidden", hidden, &[t, b, h])?;
    let level = Level::choose(precision)?;
    let readout = Readout::new(level, [t, b, h], weight, bias, targets)?;
    let (tokens, passes) = taps::tokens(workspace, &readout.parameters)?;
    let op = ReadoutOp { readout, workspace: workspace.clone(), passes };
    hidden.contiguous()?.apply_op2(&tokens, op)
}

/// The readout of a window, on plain slices.
pub(super) struct Readout {
    level: Level,
    h: usize,
    v: usize,
    targets: Vec<u32>,
    /// weight, bias; contiguous.
    pub parameters: [Tensor; 2],
}

/// A block of rows: logits, then their gradients, then the nats of each row.
struct Block<'a> {
    hidden: Rows<'a>,
    panels: &'a Panels,
    bias: &'a [f32],
    targets: &'a [u32],
    /// `1 / (T·B)`
    share: f32,
    /// `[rows, V]`
    grad: &'a mut [f32],
    nats: &'a mut [f32],
}

impl Task for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let (simd, v) = (isa.simd(), self.bias.len());
        self.grad.chunks_exact_mut(v).for_each(|row| row.copy_from_slice(self.bias));
        product(isa, self.hidden, self.panels, self.grad, v, true, &mut Buffer::default());
        for ((row, &target), nats) in self.grad.chunks_exact_mut(v).zip(self.targets).zip(self.nats)
        {
            // A NaN anywhere must reach the loss; it does through the sum.
            let top = row.iter().copied().fold(f32::MIN, f32::max);
            let target_logit = row[target as usize];
            let mut sums = simd.splat_f32s(0.0);
            for_vectors!(simd, v, |j, n| {
                let e = exp(simd, simd.sub_f32s(load(simd, row, j, n), simd.splat_f32s(top)));
                store(simd, row, j, n, e);
                // Lanes beyond the row are stored nowhere: read back, they are zero.
                sums = simd.add_f32s(sums, load(simd, row, j, n));
            });
            let sum = simd.reduce_sum_f32s(sums);
            *nats = top - target_logit + sum.ln();
            let scale = self.share / sum;
            row.iter_mut().for_each(|p| *p *= scale);
            row[target as usize] -= self.share;
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
        buffers.input_weights.pack(self.level, &weight, Order::Columns, h, v);
        let panels = &buffers.input_weights;
        let (grad, nats) = buffers.gates.resized(rows * (v + 1)).split_at_mut(rows * v);
        let blocks = grad
            .par_chunks_mut(64 * v)
            .zip(nats.par_chunks_mut(64))
            .zip(self.targets.par_chunks(64));
        blocks.enumerate().for_each(|(i, ((grad, nats), targets))| {
            let hidden = Rows { data: &hidden[i * 64 * h..], stride: h };
            let share = 1.0 / rows as f32;
            self.level.run(Block { hidden, panels, bias: &bias, targets, share, grad, nats });
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
            grad.par_iter_mut().for_each(|g| *g *= scale);
        }
        let weight = floats(&self.parameters[0])?;
        buffers.input_weights.pack(self.level, &weight, Order::Rows, v, h);
        project(self.level, grad, v, &buffers.input_weights, None, h, grad_hidden);
        let mut grad_weight = vec![0.0; v * h];
        let row = |row: usize| &hidden[row * h..][..h];
        Outer { level: self.level, a: Rows { data: grad, stride: v }, m: v, b: row, n: h, k: rows }
            .write(&mut buffers.packed, &mut grad_weight);
        Ok([grad_weight, gradients::column_sums(grad, v)])
    }
}

struct ReadoutOp {
    readout: Readout,
    workspace: Workspace,
    passes: Arc<Passes>,
}

impl CustomOp2 for ReadoutOp {
    fn name(&self) -> &'static str {
        "readout-loss"
    }

    fn cpu_fwd(
        &self,
        hidden: &CpuStorage,
        layout: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let mut buffers = self.workspace.begin();
        let hidden = tensors::slice(hidden, layout)?;
        let loss = self.readout.forward(hidden, &mut buffers)?;
        self.passes.forward.store(self.workspace.finish(buffers), Ordering::Relaxed);
        Ok((CpuStorage::F32(vec![loss]), Shape::from(())))
    }

    fn bwd(
        &self,
        hidden: &Tensor,
        tokens: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let mut buffers = self.workspace.resume(self.passes.forward.load(Ordering::Relaxed))?;
        let mut grad_hidden = vec![0.0; hidden.elem_count()];
        let grads = self.readout.backward(
            &floats(hidden)?,
            grad.to_scalar()?,
            &mut grad_hidden,
            &mut buffers,
        )?;
        buffers.grads = grads
            .into_iter()
            .zip(&self.readout.parameters)
            .map(|(grad, parameter)| tensors::like(grad, parameter).map(Some))
            .collect::<Result<_>>()?;
        self.passes.backward.store(self.workspace.finish(buffers), Ordering::Relaxed);
        Ok((Some(tensors::like(grad_hidden, hidden)?), Some(tokens.zeros_like()?)))
    }
}
