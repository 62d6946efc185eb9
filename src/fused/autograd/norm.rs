//! Layer normalisation and the residual connection as a candle op.

use crate::fused::norm;
use crate::fused::simd::level::{Level, Precision};
use crate::fused::tensors::{self, floats};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, Layout, Result, Shape, Tensor};

/// `gain ∘ (hidden − mean) / √(var + 1e-5)` over the last dimension, plus `below` where it is given: what a
/// layer of a residual network gives the layer above. Everything carries gradient.
///
/// `hidden` and `below` `[.., H]`, `gain` `[H]`, float32 on a CPU. The precision chooses the instruction set
/// alone: nothing is rounded.
///
/// # Errors
/// Other shapes, dtypes or devices, a precision that this processor does not have.
pub fn layer_norm(
    hidden: &Tensor,
    gain: &Tensor,
    below: Option<&Tensor>,
    precision: Precision,
) -> Result<Tensor> {
    let op = NormOp { level: Level::choose(precision)? };
    tensors::expect("hidden", hidden, hidden.dims())?;
    tensors::expect("gain", gain, &[hidden.dim(D::Minus1)?])?;
    let (hidden, gain) = (hidden.contiguous()?, gain.contiguous()?);
    let Some(below) = below else { return hidden.apply_op2(&gain, op) };
    tensors::expect("what the layer read", below, hidden.dims())?;
    hidden.apply_op3(&gain, &below.contiguous()?, op)
}

struct NormOp {
    level: Level,
}

impl NormOp {
    /// The gradients of `hidden` and `gain`.
    fn backward(&self, hidden: &Tensor, gain: &Tensor, grad: &Tensor) -> Result<[Tensor; 2]> {
        let grad = grad.contiguous()?;
        let mut of_hidden = vec![0.0; hidden.elem_count()];
        let of_gain = {
            let (hidden, gain, grad) = (floats(hidden)?, floats(gain)?, floats(&grad)?);
            norm::backward(self.level, &hidden, &gain, &grad, &mut of_hidden)
        };
        Ok([tensors::like(of_hidden, hidden)?, tensors::like(of_gain, gain)?])
    }
}

impl CustomOp2 for NormOp {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        hidden: &CpuStorage,
        layout: &Layout,
        gain: &CpuStorage,
        gain_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (hidden, gain) = (tensors::slice(hidden, layout)?, tensors::slice(gain, gain_layout)?);
        let mut out = vec![0.0; hidden.len()];
        norm::forward(self.level, hidden, gain, None, &mut out);
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(
        &self,
        hidden: &Tensor,
        gain: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [of_hidden, of_gain] = self.backward(hidden, gain, grad)?;
        Ok((Some(of_hidden), Some(of_gain)))
    }
}

impl CustomOp3 for NormOp {
    fn name(&self) -> &'static str {
        "layer-norm-residual"
    }

    fn cpu_fwd(
        &self,
        hidden: &CpuStorage,
        layout: &Layout,
        gain: &CpuStorage,
        gain_layout: &Layout,
        below: &CpuStorage,
        below_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (hidden, gain) = (tensors::slice(hidden, layout)?, tensors::slice(gain, gain_layout)?);
        let below = tensors::slice(below, below_layout)?;
        let mut out = vec![0.0; hidden.len()];
        norm::forward(self.level, hidden, gain, Some(below), &mut out);
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(
        &self,
        hidden: &Tensor,
        gain: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [of_hidden, of_gain] = self.backward(hidden, gain, grad)?;
        Ok((Some(of_hidden), Some(of_gain), Some(grad.clone())))
    }
}
