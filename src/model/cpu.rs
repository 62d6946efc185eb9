//! A network's work by the fused kernels.

use candle_core::{Result, Tensor};

use crate::fused::{
    self, Cell, Direction, Input, LayerTrace, Mask, Precision, RecurrentLayer, Workspace,
};
use crate::model::config::ModelConfig;
use crate::model::readout::Readout;
use crate::model::state::State;
use crate::model::weights::NetworkWeights;

/// A window of text: ids and targets `[T, B]`, which steps begin anew.
pub(super) struct TextWindow<'a> {
    pub(super) ids: &'a Tensor,
    pub(super) targets: &'a Tensor,
    pub(super) resets: Option<&'a Tensor>,
}

/// The buffers that the kernels keep from window to window. Clones share them.
#[derive(Clone)]
pub(super) struct Cpu {
    pub(super) precision: Precision,
    layers: Vec<Workspace>,
    readout: Workspace,
}

impl Cpu {
    pub(super) fn new(layers: usize, precision: Precision) -> Self {
        let layers = (0..layers).map(|_| Workspace::default()).collect();
        Self { precision, layers, readout: Workspace::default() }
    }

    pub(super) fn with_precision(&self, precision: Precision) -> Self {
        Self { precision, ..self.clone() }
    }

    /// Hidden sequence [T, B, H] and final state [S, B, H] of layer `index`.
    pub(super) fn layer(
        &self,
        (cell, direction): (Cell, Direction),
        weights: &NetworkWeights,
        index: usize,
        input: Input,
        state: &Tensor,
        resets: Option<&Tensor>,
    ) -> Result<(Tensor, Tensor)> {
        let layer = RecurrentLayer {
            direction,
            precision: self.precision,
            workspace: self.layers[index].clone(),
            ..RecurrentLayer::new(cell, weights.layers[index].clone())
        };
        layer.forward(input, state, resets)
    }

    /// What layer `index` computes, with its gates.
    pub(super) fn trace_layer(
        &self,
        (cell, direction): (Cell, Direction),
        weights: &NetworkWeights,
        index: usize,
        input: Input,
        state: &Tensor,
        resets: Option<&Tensor>,
    ) -> Result<LayerTrace> {
        let layer = RecurrentLayer {
            direction,
            precision: self.precision,
            ..RecurrentLayer::new(cell, weights.layers[index].clone())
        };
        layer.trace(input, state, resets)
    }

    /// Mean cross-entropy of `targets` [T, B] after `hidden` [T, B, H].
    pub(super) fn loss(
        &self,
        weights: &NetworkWeights,
        hidden: &Tensor,
        targets: &Tensor,
    ) -> Result<Tensor> {
        let Readout { weight, bias } = &weights.readout;
        fused::readout_loss(hidden, weight, bias, targets, self.precision, &self.readout)
    }

    /// A window as the kernels take it.
    pub(super) fn window<'a>(
        &'a self,
        config: &ModelConfig,
        direction: Direction,
        weights: &'a NetworkWeights,
        window: &TextWindow<'a>,
        state: &'a State,
        masks: &'a [Mask],
    ) -> fused::Window<'a> {
        fused::Window {
            cell: config.cell,
            direction,
            precision: self.precision,
            embedding: &weights.embedding,
            layers: weights.layers.iter().zip(&self.layers).collect(),
            norms: &weights.norms,
            readout: (&weights.readout.weight, &weights.readout.bias, &self.readout),
            ids: window.ids,
            targets: window.targets,
            resets: window.resets,
            state: &state.layers,
            masks,
        }
    }
}
