//! Which implementation runs a network: decided once, when the network is made.

use candle_core::{Result, bail};

use crate::fused::{Precision, supported};
use crate::model::cpu::Cpu;
use crate::model::weights::NetworkWeights;

/// What computes the layers, the loss and the gradients.
#[derive(Clone)]
pub(super) enum Backend {
    /// Tensor operations, on any device, differentiated by candle.
    Reference,
    /// The fused kernels: float32 on a CPU.
    Cpu(Cpu),
}

impl Backend {
    /// The fastest for the device and the type of the weights.
    ///
    /// # Errors
    /// A precision that this backend or this processor does not have.
    pub(super) fn choose(weights: &NetworkWeights, precision: Precision) -> Result<Self> {
        let (device, dtype) = (weights.embedding.device(), weights.embedding.dtype());
        if supported(device, dtype) {
            return Ok(Self::Cpu(Cpu::new(weights.layers.len(), precision)));
        }
        Self::Reference.with_precision(precision)
    }

    /// The same backend with products of another precision; buffers are shared with this one.
    ///
    /// # Errors
    /// bf16 where the reference runs, or on a processor without it.
    pub(super) fn with_precision(&self, precision: Precision) -> Result<Self> {
        match self {
            Self::Cpu(cpu) => Ok(Self::Cpu(cpu.with_precision(precision))),
            Self::Reference if precision == Precision::F32 => Ok(Self::Reference),
            Self::Reference => {
                bail!("precision bf16 is for the kernels of a CPU: use f32 on this device")
            }
        }
    }
}
