//! The network that a configuration describes.

use candle_core::{Device, Result, Tensor};
use candle_nn::VarBuilder;

use crate::fused::Precision;
use crate::model::bidirectional::{BidirectionalNetwork, Right};
use crate::model::config::ModelConfig;
use crate::model::dropout::Dropout;
use crate::model::network::{Gradients, Network};
use crate::model::state::State;

/// A network of one direction or of both. A clone copies no numbers.
#[derive(Clone)]
pub enum AnyNetwork {
    /// Predicts an id from those before it.
    Forward(Network),
    /// Predicts an id from those on both sides.
    Bidirectional(Box<BidirectionalNetwork>),
}

impl AnyNetwork {
    /// Takes the weights by name from `vb`.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape than `config` says.
    pub fn new(config: &ModelConfig, vb: VarBuilder) -> Result<Self> {
        Ok(match config.bidirectional {
            true => Self::Bidirectional(BidirectionalNetwork::new(config, vb)?.into()),
            false => Self::Forward(Network::new(config, vb)?),
        })
    }

    /// The same network, its matrix products taken in another precision. Buffers are shared.
    ///
    /// # Errors
    /// bf16 on a device other than a CPU.
    pub fn with_precision(&self, precision: Precision) -> Result<Self> {
        Ok(match self {
            Self::Forward(network) => Self::Forward(network.with_precision(precision)?),
            Self::Bidirectional(network) => {
                Self::Bidirectional(network.with_precision(precision)?.into())
            }
        })
    }

    /// The same network with the weights of `vb`. Buffers are shared.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape.
    pub fn with_weights(&self, vb: &VarBuilder) -> Result<Self> {
        Ok(match self {
            Self::Forward(network) => Self::Forward(network.with_weights(vb)?),
            Self::Bidirectional(network) => Self::Bidirectional(network.with_weights(vb)?.into()),
        })
    }

    /// The same network run by tensor operations, which every device has.
    #[must_use]
    pub fn reference(&self) -> Self {
        match self {
            Self::Forward(network) => Self::Forward(network.reference()),
            Self::Bidirectional(network) => Self::Bidirectional(network.reference().into()),
        }
    }

    /// The network that reads from left to right: itself, or the forward half.
    pub fn forward_half(&self) -> &Network {
        match self {
            Self::Forward(network) => network,
            Self::Bidirectional(network) => network.forward_half(),
        }
    }

    /// The network of both directions, if it is one.
    pub fn bidirectional(&self) -> Option<&BidirectionalNetwork> {
        match self {
            Self::Forward(_) => None,
            Self::Bidirectional(network) => Some(network),
        }
    }

    pub fn device(&self) -> &Device {
        self.forward_half().device()
    }

    /// Loss and gradients of a window for training: [`Network::gradients`] or
    /// [`BidirectionalNetwork::gradients`].
    ///
    /// # Errors
    /// Shapes that do not fit, an id outside V, a bidirectional network without `right`.
    pub fn gradients(
        &self,
        (ids, targets): (&Tensor, &Tensor),
        state: &State,
        resets: Option<&Tensor>,
        right: Option<&Right>,
        dropout: Option<Dropout>,
    ) -> Result<Gradients> {
        match (self, right) {
            (Self::Forward(network), _) => network.gradients(ids, targets, state, resets, dropout),
            (Self::Bidirectional(network), Some(right)) => {
                network.gradients(ids, targets, state, resets, right, dropout)
            }
            _ => candle_core::bail!("a bidirectional network was given nothing from the right"),
        }
    }
}
