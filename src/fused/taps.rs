//! How one op gets more than three arguments and gives more than one result.
//!
//! candle's custom ops take three tensors, return one, and give each argument a gradient. So a
//! weight is not an argument: it goes through a [`Tap`], whose result is a token of one element,
//! and the tokens, joined, are an argument. The op's backward leaves the weights' gradients in the
//! workspace and returns zeros for the tokens; candle then runs each tap's backward, which hands its
//! gradient over. No weight is copied on the way. [`FinalCell`] is the same for a second result.

use super::{Workspace, tensors};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// The numbers of the two passes that filled the workspace, known once they ran.
#[derive(Default)]
pub struct Passes {
    pub forward: AtomicU64,
    pub backward: AtomicU64,
}

/// A token for each of `parameters`, as one tensor. The op whose argument it becomes stores the
/// numbers of its passes.
pub fn tokens(workspace: &Workspace, parameters: &[Tensor]) -> Result<(Tensor, Arc<Passes>)> {
    let passes = Arc::<Passes>::default();
    let tap = |(index, parameter): (usize, &Tensor)| {
        parameter.apply_op1(Tap { index, workspace: workspace.clone(), passes: passes.clone() })
    };
    let tokens: Vec<Tensor> = parameters.iter().enumerate().map(tap).collect::<Result<_>>()?;
    Ok((Tensor::cat(&tokens, 0)?, passes))
}

struct Tap {
    index: usize,
    workspace: Workspace,
    passes: Arc<Passes>,
}

impl CustomOp1 for Tap {
    fn name(&self) -> &'static str {
        "weight-tap"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.0]), Shape::from(1)))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        self.workspace.with(self.passes.backward.load(Ordering::Relaxed), |buffers| {
            match buffers.grads.get_mut(self.index).and_then(Option::take) {
                Some(grad) => Ok(Some(grad)),
                None => bail!("the gradient of weight {} was already taken", self.index),
            }
        })
    }
}

/// Gives out the LSTM's last c, `[1, B, H]`; its gradient goes to the layer's backward through the
/// workspace.
pub struct FinalCell {
    pub workspace: Workspace,
    pub passes: Arc<Passes>,
}

impl CustomOp1 for FinalCell {
    fn name(&self) -> &'static str {
        "final-cell"
    }

    fn cpu_fwd(&self, _: &CpuStorage, hidden: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, b, h) = hidden.shape().dims3()?;
        let cells = hidden.shape().elem_count();
        self.workspace.with(self.passes.forward.load(Ordering::Relaxed), |buffers| {
            let last = buffers.extra[cells - b * h..cells].to_vec();
            Ok((CpuStorage::F32(last), Shape::from((1, b, h))))
        })
    }

    fn bwd(&self, hidden: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        tensors::expect("the gradient of c", &grad, grad.dims())?;
        self.workspace.with(self.passes.forward.load(Ordering::Relaxed), |buffers| {
            buffers.grad_cell = Some(grad);
            Ok(())
        })?;
        hidden.zeros_like().map(Some)
    }
}
