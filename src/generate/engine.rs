//! One step of inference for a batch of rows, by the fastest means the device has.

use anyhow::Result;
use candle_core::Tensor;

use crate::fused;
use crate::model::{Network, State};

/// Steps a network; carries its state.
pub(super) enum Engine<'a> {
    /// The single-step kernels: no autograd graph, no allocation per character.
    Fused(fused::Stepper),
    /// Tensor operations on any device.
    Reference { network: &'a Network, state: State, logits: Vec<f32> },
}

impl<'a> Engine<'a> {
    /// `batch` rows at the state before any text.
    pub(super) fn new(network: &'a Network, batch: usize) -> Result<Self> {
        if network.fused_precision().is_some() {
            let layers: Vec<_> = network.layers().map(|layer| layer.as_fused()).collect();
            let (weight, bias) = network.readout();
            return Ok(Self::Fused(fused::Stepper::new(
                network.config().cell,
                network.embedding(),
                &layers,
                weight,
                bias,
                batch,
            )?));
        }
        Ok(Self::Reference {
            network,
            state: State::zeros(network.config(), batch, network.device())?,
            logits: Vec::new(),
        })
    }

    /// Reads one id a row; gives the logits of the next, [B, V].
    pub(super) fn step(&mut self, ids: &[u32]) -> Result<&[f32]> {
        match self {
            Self::Fused(stepper) => Ok(stepper.step(ids)?),
            Self::Reference { network, state, logits } => {
                let ids = Tensor::from_slice(ids, (1, ids.len()), network.device())?;
                let (hidden, next) = network.forward(&ids, state, None, None)?;
                *logits = network.last_logits(&hidden)?.flatten_all()?.to_vec1()?;
                *state = next.detach();
                Ok(logits)
            }
        }
    }
}
