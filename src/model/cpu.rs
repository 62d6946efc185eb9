//! A network's work by the fused kernels.

use candle_core::{Result, Tensor};

use crate::fused::{self, Cell, Input, Mask, Precision, RecurrentLayer, Window, Workspace};
use crate::model::config::ModelConfig;
use crate::model::dropout::Dropout;
use crate::model::state::State;
use crate::model::weights::NetworkWeights;

/// The buffers that the kernels keep from window to window. Clones share them.
#[derive(Clone)]
pub(super) struct Cpu {
    precision: Precision,
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
        cell: Cell,
        weights: &NetworkWeights,
        index: usize,
        input: Input,
        state: &Tensor,
        resets: Option<&Tensor>,
    ) -> Result<(Tensor, Tensor)> {
        let layer = RecurrentLayer {
            precision: self.precision,
            workspace: self.layers[index].clone(),
            ..RecurrentLayer::new(cell, weights.layers[index].clone())
        };
        layer.forward(input, state, resets)
    }

    /// Mean cross-entropy of `targets` [T, B] after `hidden` [T, B, H].
    pub(super) fn loss(
        &self,
        weights: &NetworkWeights,
        hidden: &Tensor,
        targets: &Tensor,
    ) -> Result<Tensor> {
        let NetworkWeights { readout_weight, readout_bias, .. } = weights;
        fused::readout_loss(
            hidden,
            readout_weight,
            readout_bias,
            targets,
            self.precision,
            &self.readout,
        )
    }

    /// Loss and gradients of a window.
    pub(super) fn gradients(
        &self,
        config: &ModelConfig,
        weights: &NetworkWeights,
        (ids, targets): (&Tensor, &Tensor),
        state: &State,
        resets: Option<&Tensor>,
        dropout: Option<Dropout>,
    ) -> Result<fused::WindowGradients> {
        let count = ids.elem_count() * config.hidden;
        let masks: Vec<Mask> = dropout
            .filter(|dropout| dropout.probability > 0.0)
            .map(|dropout| {
                (0..config.layers as u64).map(|layer| dropout.draw(count, layer)).collect()
            })
            .unwrap_or_default();
        let window = Window {
            cell: config.cell,
            precision: self.precision,
            embedding: &weights.embedding,
            layers: weights.layers.iter().zip(&self.layers).collect(),
            readout: (&weights.readout_weight, &weights.readout_bias, &self.readout),
            ids,
            targets,
            resets,
            state: &state.layers,
            masks: &masks,
        };
        window.gradients()
    }
}
