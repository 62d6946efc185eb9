//! AdamW, the average of the weights and the norm of a gradient, each in one pass over the memory.

use crate::fused::parallel;
use crate::fused::tensors;
use crate::fused::tensors::floats;
use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, bail};
use std::sync::Mutex;

/// Elements per task. Sums are per block, then over the blocks in order: a fixed order for any
/// number of threads.
const BLOCK: usize = 16 * 1024;

/// The sum of the squares of a float32 tensor, in float64.
///
/// # Errors
/// A tensor that is not float32 on a CPU.
pub fn squared_norm(grad: &Tensor) -> Result<f64> {
    let grad = grad.contiguous()?;
    let grad = floats(&grad)?;
    let block_sum = |block: &[f32]| {
        let mut lanes = [0f64; 16];
        let chunks = block.chunks_exact(16);
        for (lane, &x) in lanes.iter_mut().zip(chunks.remainder()) {
            *lane += f64::from(x) * f64::from(x);
        }
        for chunk in chunks {
            for (lane, &x) in lanes.iter_mut().zip(chunk) {
                *lane += f64::from(x) * f64::from(x);
            }
        }
        lanes.iter().sum::<f64>()
    };
    let mut sums = vec![0.0; grad.len().div_ceil(BLOCK)];
    let blocks = sums.iter_mut().zip(grad.chunks(BLOCK));
    parallel::for_items(blocks, |(sum, block)| *sum = block_sum(block));
    Ok(sums.iter().sum())
}

/// Moves `average` in place towards `value`, of the same shape, by the share `share` of the difference.
///
/// # Errors
/// Tensors that are not contiguous float32 on a CPU, or of different shapes.
pub fn average(average: &Tensor, value: &Tensor, share: f64) -> Result<()> {
    tensors::expect("average", average, average.dims())?;
    tensors::expect("value", value, average.dims())?;
    average.inplace_op2(&value.contiguous()?, &Average { share: share as f32 })
}

struct Average {
    share: f32,
}

impl InplaceOp2 for Average {
    fn name(&self) -> &'static str {
        "average"
    }

    fn cpu_fwd(
        &self,
        average: &mut CpuStorage,
        layout: &Layout,
        value: &CpuStorage,
        value_layout: &Layout,
    ) -> Result<()> {
        let value = tensors::slice(value, value_layout)?;
        let (CpuStorage::F32(average), Some((start, end))) = (average, layout.contiguous_offsets())
        else {
            bail!("an average must be contiguous float32");
        };
        let tasks = parallel::tasks(value.len(), BLOCK / 4..=BLOCK);
        let blocks = parallel::shares(&mut average[start..end], 1, tasks);
        parallel::for_items(blocks, |(range, average)| {
            for (a, v) in average.iter_mut().zip(&value[range]) {
                *a += self.share * (v - *a);
            }
        });
        Ok(())
    }
}

/// One step of AdamW (Loshchilov and Hutter 2019), as PyTorch computes it.
#[derive(Clone, Copy, Debug)]
pub struct AdamWStep {
    pub lr: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
    /// `1 - beta1^step`, with the first step 1.
    pub bias_correction1: f64,
    /// `1 - beta2^step`
    pub bias_correction2: f64,
    /// What the gradient is multiplied by: 1, or the clipping factor.
    pub grad_scale: f64,
}

/// Updates `param` and its two moments in place, from a gradient of the same shape.
///
/// # Errors
/// Tensors that are not float32 on a CPU; a gradient or moments of another size.
pub fn adamw(
    param: &Tensor,
    grad: &Tensor,
    first: &mut [f32],
    second: &mut [f32],
    step: &AdamWStep,
) -> Result<()> {
    tensors::expect("parameter", param, param.dims())?;
    tensors::expect("gradient", grad, param.dims())?;
    let count = param.elem_count();
    if first.len() != count || second.len() != count {
        bail!(
            "a parameter of {count} elements has moments of {} and {}",
            first.len(),
            second.len()
        );
    }
    param.inplace_op2(
        &grad.contiguous()?,
        &Update { moments: Mutex::new((first, second)), step: *step },
    )
}

struct Update<'a> {
    moments: Mutex<(&'a mut [f32], &'a mut [f32])>,
    step: AdamWStep,
}

impl InplaceOp2 for Update<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(
        &self,
        param: &mut CpuStorage,
        layout: &Layout,
        grad: &CpuStorage,
        grad_layout: &Layout,
    ) -> Result<()> {
        let grad = tensors::slice(grad, grad_layout)?;
        let (CpuStorage::F32(param), Some((start, end))) = (param, layout.contiguous_offsets())
        else {
            bail!("adamw was given a parameter that is not contiguous float32");
        };
        let mut moments = self.moments.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let (first, second) = &mut *moments;
        let s = &self.step;
        let decay = (1.0 - s.lr * s.weight_decay) as f32;
        let step_size = (s.lr / s.bias_correction1) as f32;
        let correction2 = (1.0 / s.bias_correction2.sqrt()) as f32;
        let (beta1, beta2) = (s.beta1 as f32, s.beta2 as f32);
        let (rest1, rest2) = ((1.0 - s.beta1) as f32, (1.0 - s.beta2) as f32);
        let (eps, scale) = (s.eps as f32, s.grad_scale as f32);
        let tasks = parallel::tasks(grad.len(), BLOCK / 4..=BLOCK);
        let blocks = parallel::shares(&mut param[start..end], 1, tasks)
            .zip(parallel::shares(first, 1, tasks).zip(parallel::shares(second, 1, tasks)));
        parallel::for_items(blocks, |((range, param), ((_, first), (_, second)))| {
            for ((p, g), (m, v)) in
                param.iter_mut().zip(&grad[range]).zip(first.iter_mut().zip(second.iter_mut()))
            {
                let g = g * scale;
                *m = beta1 * *m + rest1 * g;
                *v = beta2 * *v + rest2 * (g * g);
                *p = *p * decay - step_size * *m / (v.sqrt() * correction2 + eps);
            }
        });
        Ok(())
    }
}
