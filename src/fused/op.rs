//! [`Sequence`]: a layer over a window as a candle op.

use super::{
    Workspace,
    layer::{Inputs, Layer},
    taps::Passes,
    tensors::{self, floats},
};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use std::sync::{Arc, atomic::Ordering};

/// The op of [`super::sequence()`]: its arguments are the input or table, the weights' tokens, and
/// the state.
pub struct Sequence {
    pub layer: Layer,
    pub workspace: Workspace,
    pub passes: Arc<Passes>,
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
        let sizes = self.layer.sizes;
        let mut hidden = vec![0.0; sizes.cells() * sizes.h];
        let mut buffers = self.workspace.begin();
        self.layer.forward(source, state, &mut hidden, &mut buffers)?;
        self.passes.forward.store(self.workspace.finish(buffers), Ordering::Relaxed);
        Ok((CpuStorage::F32(hidden), Shape::from((sizes.t, sizes.b, sizes.h))))
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
        let mut buffers = self.workspace.resume(self.passes.forward.load(Ordering::Relaxed))?;
        let grad_cell = match buffers.grad_cell.take() {
            Some(grad) => floats(&grad)?.to_vec(),
            None => Vec::new(),
        };
        let mut grad_source = source.track_op().then(|| vec![0.0; source.elem_count()]);
        let (grad_state, grads) = {
            let (source, hidden, state) = (floats(source)?, floats(hidden)?, floats(state)?);
            let inputs = Inputs { source: &source, state: &state, hidden: &hidden };
            let (grad, wanted) = (floats(&grad)?, grad_source.as_deref_mut());
            self.layer.backward(&inputs, &grad, &grad_cell, wanted, &mut buffers)?
        };
        let like = tensors::like;
        buffers.grads = grads
            .into_iter()
            .zip(&self.layer.parameters)
            .map(|(grad, parameter)| like(grad, parameter).map(Some))
            .collect::<Result<_>>()?;
        self.passes.backward.store(self.workspace.finish(buffers), Ordering::Relaxed);
        Ok((
            grad_source.map(|grad| like(grad, source)).transpose()?,
            Some(tokens.zeros_like()?),
            state.track_op().then(|| like(grad_state, state)).transpose()?,
        ))
    }
}
