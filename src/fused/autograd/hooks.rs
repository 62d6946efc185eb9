//! How one op gets more than three arguments and gives more than one result.
//!
//! candle's custom ops take three tensors, return one, and give each argument a gradient. So a
//! weight is not an argument: it goes through a [`Hook`], whose result is a handle of one element,
//! and the handles, joined, are an argument. The op's backward pass leaves the weights' gradients in
//! the workspace and returns zeros for the handles; candle then runs each hook's backward pass, which
//! returns its weight's gradient. No weight is copied on the way. [`FinalCell`] is the same for a
//! second result.

use crate::fused::rnn::sizes::Sizes;
use crate::fused::tensors;
use crate::fused::workspace::Workspace;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// The generations of the workspace that an op's two passes left, known once they ran.
#[derive(Default)]
pub struct Generations {
    pub forward: AtomicU64,
    pub backward: AtomicU64,
}

/// A handle for each of `parameters`, as one tensor. The op whose argument it becomes stores its
/// generations.
pub fn handles(workspace: &Workspace, parameters: &[Tensor]) -> Result<(Tensor, Arc<Generations>)> {
    let generations = Arc::<Generations>::default();
    let hook = |(index, parameter): (usize, &Tensor)| {
        parameter.apply_op1(Hook {
            index,
            workspace: workspace.clone(),
            generations: generations.clone(),
        })
    };
    let handles: Vec<Tensor> = parameters.iter().enumerate().map(hook).collect::<Result<_>>()?;
    Ok((Tensor::cat(&handles, 0)?, generations))
}

struct Hook {
    index: usize,
    workspace: Workspace,
    generations: Arc<Generations>,
}

impl CustomOp1 for Hook {
    fn name(&self) -> &'static str {
        "weight-hook"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.0]), Shape::from(1)))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        self.workspace.with(self.generations.backward.load(Ordering::Relaxed), |buffers| {
            match buffers.grads.get_mut(self.index).and_then(Option::take) {
                Some(grad) => Ok(Some(grad)),
                None => bail!("the gradient of weight {} was already taken", self.index),
            }
        })
    }
}

/// Gives out the LSTM's c after the window, `[1, B, H]`; its gradient goes to the layer's backward through the
/// workspace.
pub struct FinalCell {
    pub sizes: Sizes,
    pub workspace: Workspace,
    pub generations: Arc<Generations>,
}

impl CustomOp1 for FinalCell {
    fn name(&self) -> &'static str {
        "final-cell"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.workspace.with(self.generations.forward.load(Ordering::Relaxed), |buffers| {
            let last = buffers.saved[self.sizes.last()].to_vec();
            Ok((CpuStorage::F32(last), Shape::from((1, self.sizes.b, self.sizes.h))))
        })
    }

    fn bwd(&self, hidden: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        tensors::expect("the gradient of c", &grad, grad.dims())?;
        self.workspace.with(self.generations.forward.load(Ordering::Relaxed), |buffers| {
            buffers.grad_cell = Some(grad);
            Ok(())
        })?;
        hidden.zeros_like().map(Some)
    }
}
