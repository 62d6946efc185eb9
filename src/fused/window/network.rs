//! A network over a window: embedding, layers, readout.

use crate::fused::mask::Mask;
use crate::fused::readout::single::Readout;
use crate::fused::rnn::cells::Cell;
use crate::fused::rnn::layer::LayerSpec;
use crate::fused::rnn::sizes::Direction;
use crate::fused::rnn::weights::LayerWeights;
use crate::fused::simd::level::{Level, Precision};
use crate::fused::window::stack::{Stack, insert};
use crate::fused::workspace::Workspace;
use candle_core::{Result, Tensor, backprop::GradStore};
use std::mem::take;

/// A network, and a window of text for it.
pub struct Window<'a> {
    pub cell: Cell,
    /// Which way the layers go through the window.
    pub direction: Direction,
    pub precision: Precision,
    /// `[V, E]`
    pub embedding: &'a Tensor,
    /// From the lowest to the highest, each with a workspace of its own.
    pub layers: Vec<(&'a LayerWeights, &'a Workspace)>,
    /// None, or one for each layer, `[H]`: the gains of a residual network, see [`layer_norm`].
    ///
    /// [`layer_norm`]: crate::fused::layer_norm
    pub norms: &'a [Tensor],
    /// Weight `[V, H]` and bias `[V]`.
    pub readout: (&'a Tensor, &'a Tensor, &'a Workspace),
    /// `[T, B]` of u32
    pub ids: &'a Tensor,
    /// `[T, B]` of u32
    pub targets: &'a Tensor,
    /// `[T, B]` of u8: the state entering a step is zero where it is not 0.
    pub resets: Option<&'a Tensor>,
    /// One for each layer, `[S, B, H]`.
    pub state: &'a [Tensor],
    /// None, or one for what each layer gives, of B·H values: the same at every time step.
    pub masks: &'a [Mask],
}

/// What a window gives.
pub struct WindowGradients {
    /// Mean cross-entropy, in nats.
    pub loss: f32,
    /// By weight. Nothing flows into the state.
    pub grads: GradStore,
    /// The state after the window, one for each layer, `[S, B, H]`.
    pub state: Vec<Tensor>,
}

impl Window<'_> {
    /// Runs the window forward and backward.
    ///
    /// # Errors
    /// Shapes, dtypes or devices that do not fit, an id outside the vocabulary, a precision that this
    /// processor does not have.
    pub fn gradients(&self) -> Result<WindowGradients> {
        let level = Level::choose(self.precision)?;
        let stack = self.stack(level);
        let mut runs = stack.forward()?;
        let state = runs.state()?;

        let mut grads = GradStore::default();
        let (weight, bias, workspace) = self.readout;
        let mut buffers = workspace.begin();
        let mut grad = take(&mut buffers.grad_source);
        let readout = Readout::new(level, runs.shape(), weight, bias, self.targets)?;
        let hidden = runs.output();
        let loss = readout.forward(hidden, &mut buffers)?;
        let [of_weight, of_bias] =
            readout.backward(hidden, 1.0, grad.resized(hidden.len()), &mut buffers)?;
        insert(&mut grads, weight, of_weight)?;
        insert(&mut grads, bias, of_bias)?;

        buffers.grad_source = stack.backward(&mut runs, grad, &mut grads)?;
        workspace.finish(buffers);
        stack.finish(runs);
        Ok(WindowGradients { loss, grads, state })
    }

    /// The layers.
    pub(super) fn stack(&self, level: Level) -> Stack<'_> {
        Stack {
            spec: LayerSpec { cell: self.cell, direction: self.direction, level },
            embedding: self.embedding,
            layers: &self.layers,
            norms: self.norms,
            ids: self.ids,
            resets: self.resets,
            state: self.state,
            masks: self.masks,
        }
    }
}
