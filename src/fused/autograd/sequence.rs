//! One recurrent layer over a window as a candle op, to build other networks with. chargru's own
//! training does not use it: see `window`.

use crate::fused::autograd::hooks::{self, FinalCell, Generations};
use crate::fused::rnn::cells::Cell;
use crate::fused::rnn::layer::{Inputs, Layer, LayerSpec};
use crate::fused::rnn::sizes::{Direction, Reads, Sizes, look_up_first};
use crate::fused::rnn::weights::LayerWeights;
use crate::fused::simd::level::{Level, Precision};
use crate::fused::tensors::{self, floats};
use crate::fused::workspace::{Buffers, Workspace};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use std::sync::{Arc, atomic::Ordering};

/// What a layer reads.
#[derive(Clone, Copy)]
pub enum Input<'a> {
    /// `[T, B, I]`, float32.
    Sequence(&'a Tensor),
    /// Row `ids[t, b]` of `table`: as `Sequence` of the looked-up rows, but the table goes through
    /// `weight_ih` once instead of every character.
    Embedded {
        /// `[T, B]`, u32.
        ids: &'a Tensor,
        /// `[V, I]`
        table: &'a Tensor,
    },
}

/// A recurrent layer of I inputs and H hidden values, float32 on a CPU. candle's backward pass gives
/// the gradients of its input (or table), its weights and the state that it was given.
///
/// One window at a time: the backward pass of a window must have run before the next one starts.
/// Clones share the workspace.
#[derive(Clone)]
pub struct RecurrentLayer {
    pub cell: Cell,
    /// Which way it goes through the window.
    pub direction: Direction,
    pub precision: Precision,
    pub weights: LayerWeights,
    pub workspace: Workspace,
}

impl RecurrentLayer {
    /// A layer that reads forward, in float32.
    pub fn new(cell: Cell, weights: LayerWeights) -> Self {
        Self {
            cell,
            direction: Direction::Forward,
            precision: Precision::F32,
            weights,
            workspace: Workspace::default(),
        }
    }

    /// Runs the layer over a window.
    ///
    /// `state` is `[S, B, H]` with S = [`Cell::states`] (h; the LSTM's c after it). Where `resets`
    /// `[T, B]` (u8) is not 0, the state entering that step is zero and no gradient passes.
    /// Returns the hidden sequence `[T, B, H]` and the state after the window `[S, B, H]`; a reversed
    /// layer's is that of step 0. Detach the state where no gradient should flow: it then costs
    /// nothing.
    ///
    /// # Errors
    /// Other shapes, dtypes or devices, an id outside the table, a precision that this processor does
    /// not have; in the backward pass, a workspace that was used again before.
    pub fn forward(
        &self,
        input: Input,
        state: &Tensor,
        resets: Option<&Tensor>,
    ) -> Result<(Tensor, Tensor)> {
        self.forward_at(Level::choose(self.precision)?, input, state, resets)
    }

    /// [`RecurrentLayer::forward`] at a given level.
    pub(crate) fn forward_at(
        &self,
        level: Level,
        input: Input,
        state: &Tensor,
        resets: Option<&Tensor>,
    ) -> Result<(Tensor, Tensor)> {
        let (source, layer) = self.prepare(level, input, state, resets)?;
        let parameters: Vec<Tensor> = layer.weights.tensors().cloned().collect();
        let (handles, generations) = hooks::handles(&self.workspace, &parameters)?;
        let sizes = layer.sizes;
        let workspace = self.workspace.clone();
        let op = SequenceOp { layer, workspace, generations: generations.clone() };
        let hidden = source.apply_op3(&handles, &state.contiguous()?, op)?;
        let last = hidden.narrow(0, sizes.last().start / (sizes.b * sizes.h), 1)?;
        let state = if self.cell.states() == 2 {
            let workspace = self.workspace.clone();
            let c = hidden.apply_op1(FinalCell { sizes, workspace, generations })?;
            Tensor::cat(&[&last, &c], 0)?
        } else {
            last
        };
        Ok((hidden, state))
    }

    /// What [`RecurrentLayer::forward`] gives, and what the cell computed on the way. Without gradients; the
    /// workspace is not touched.
    ///
    /// # Errors
    /// As [`RecurrentLayer::forward`].
    pub fn trace(
        &self,
        input: Input,
        state: &Tensor,
        resets: Option<&Tensor>,
    ) -> Result<LayerTrace> {
        let (source, layer) = self.prepare(Level::choose(self.precision)?, input, state, resets)?;
        let Sizes { t, b, h, gates: width, .. } = layer.sizes;
        let (mut hidden, mut buffers) = (vec![0.0; t * b * h], Buffers::default());
        let given = state.contiguous()?;
        layer.forward(&floats(&source)?, &floats(&given)?, &mut hidden, &mut buffers)?;
        let of = |values: &[f32], width: usize| {
            Tensor::from_slice(&values[..t * b * width], (t, b, width), state.device())
        };
        let sequences = match self.cell.states() {
            2 => vec![of(&hidden, h)?, of(&buffers.saved, h)?],
            _ => vec![of(&hidden, h)?],
        };
        let last = layer.sizes.last().start / (b * h);
        let state =
            sequences.iter().map(|sequence| sequence.get(last)).collect::<Result<Vec<_>>>()?;
        Ok(LayerTrace {
            gates: of(&buffers.gates, width)?,
            state: Tensor::stack(&state, 0)?,
            states: sequences,
        })
    }

    /// What the layer reads, contiguous, and the layer with its window.
    fn prepare(
        &self,
        level: Level,
        input: Input,
        state: &Tensor,
        resets: Option<&Tensor>,
    ) -> Result<(Tensor, Layer)> {
        let (source, ids) = match input {
            Input::Embedded { ids, table } if look_up_first(table.dim(0)?, ids.elem_count()) => {
                let (t, b) = ids.dims2()?;
                (table.index_select(&ids.flatten_all()?, 0)?.reshape((t, b, ()))?, None)
            }
            Input::Embedded { ids, table } => (table.contiguous()?, Some(ids)),
            Input::Sequence(x) => (x.contiguous()?, None),
        };
        let reads = match ids {
            Some(ids) => {
                let (v, i) = source.dims2()?;
                Reads::Rows { ids, v, i }
            }
            None => {
                let (t, b, i) = source.dims3()?;
                Reads::Sequence { t, b, i }
            }
        };
        tensors::expect("input", &source, source.dims())?;
        let spec = LayerSpec { cell: self.cell, direction: self.direction, level };
        let layer = Layer::new(spec, reads, &self.weights, state, resets)?;
        Ok((source, layer))
    }
}

/// What a layer computed over a window.
pub struct LayerTrace {
    /// The gates after their activations, in the order of the weights' rows: `[T, B, G·H]`.
    pub gates: Tensor,
    /// S sequences `[T, B, H]`: h, and for an LSTM then c.
    pub states: Vec<Tensor>,
    /// The state after the window, `[S, B, H]`.
    pub state: Tensor,
}

/// The op: its arguments are the input or table, the weights' handles, and the state.
struct SequenceOp {
    layer: Layer,
    workspace: Workspace,
    generations: Arc<Generations>,
}

impl CustomOp3 for SequenceOp {
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
        let mut hidden = vec![0.0; sizes.positions() * sizes.h];
        let mut buffers = self.workspace.begin();
        self.layer.forward(source, state, &mut hidden, &mut buffers)?;
        self.generations.forward.store(self.workspace.finish(buffers), Ordering::Relaxed);
        Ok((CpuStorage::F32(hidden), Shape::from((sizes.t, sizes.b, sizes.h))))
    }

    fn bwd(
        &self,
        source: &Tensor,
        handles: &Tensor,
        state: &Tensor,
        hidden: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let mut buffers =
            self.workspace.resume(self.generations.forward.load(Ordering::Relaxed))?;
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
            .zip(self.layer.weights.tensors())
            .map(|(grad, parameter)| like(grad, parameter).map(Some))
            .collect::<Result<_>>()?;
        self.generations.backward.store(self.workspace.finish(buffers), Ordering::Relaxed);
        Ok((
            grad_source.map(|grad| like(grad, source)).transpose()?,
            Some(handles.zeros_like()?),
            state.track_op().then(|| like(grad_state, state)).transpose()?,
        ))
    }
}
