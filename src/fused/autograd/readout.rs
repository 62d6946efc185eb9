//! The readout and its loss as a candle op.

use crate::fused::autograd::hooks::{self, Generations};
use crate::fused::readout::single::Readout;
use crate::fused::simd::level::{Level, Precision};
use crate::fused::tensors::{self, floats};
use crate::fused::workspace::Workspace;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use std::sync::{Arc, atomic::Ordering};

/// Mean cross-entropy, in nats, of `softmax(hidden · weight^T + bias)` against `targets`.
///
/// `hidden` `[T, B, H]`, `weight` `[V, H]`, `bias` `[V]`, `targets` `[T, B]` of u32. Returns a
/// scalar that carries gradient to all but the targets.
///
/// # Errors
/// Other shapes, dtypes or devices, a target outside V; in the backward pass, a `workspace` that was
/// used again before.
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
    let (handles, generations) = hooks::handles(workspace, &readout.parameters)?;
    let op = ReadoutOp { readout, workspace: workspace.clone(), generations };
    hidden.contiguous()?.apply_op2(&handles, op)
}

struct ReadoutOp {
    readout: Readout,
    workspace: Workspace,
    generations: Arc<Generations>,
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
        self.generations.forward.store(self.workspace.finish(buffers), Ordering::Relaxed);
        Ok((CpuStorage::F32(vec![loss]), Shape::from(())))
    }

    fn bwd(
        &self,
        hidden: &Tensor,
        handles: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let mut buffers =
            self.workspace.resume(self.generations.forward.load(Ordering::Relaxed))?;
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
        self.generations.backward.store(self.workspace.finish(buffers), Ordering::Relaxed);
        Ok((Some(tensors::like(grad_hidden, hidden)?), Some(handles.zeros_like()?)))
    }
}
