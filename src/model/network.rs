//! Embedding, stacked recurrent layers, readout.

use candle_core::backprop::GradStore;
use candle_core::{Device, IndexOp, Result, Tensor};
use candle_nn::VarBuilder;

use crate::fused::{self, Input, Precision};
use crate::model::backend::Backend;
use crate::model::config::ModelConfig;
use crate::model::dropout::Dropout;
use crate::model::reference;
use crate::model::state::State;
use crate::model::weights::NetworkWeights;

/// Logits in one block of rows of [`Network::token_nll`]: 1 MB, and the softmax takes three times that.
const LOGITS_BLOCK: usize = 1 << 18;

/// What a window gives for training.
pub struct Gradients {
    /// Mean cross-entropy, in nats.
    pub loss: f32,
    /// By weight.
    pub grads: GradStore,
    /// The state after the window, without history.
    pub state: State,
}

/// A character-level recurrent network. A clone copies no numbers.
#[derive(Clone)]
pub struct Network {
    config: ModelConfig,
    weights: NetworkWeights,
    backend: Backend,
}

impl Network {
    /// Takes the weights by their PyTorch names from `vb`. The fastest implementation that the device
    /// has runs it, in float32.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape than `config` says.
    pub fn new(config: &ModelConfig, vb: VarBuilder) -> Result<Self> {
        let weights = NetworkWeights::new(config, &vb)?;
        let backend = Backend::choose(&weights, Precision::F32)?;
        Ok(Self { config: config.clone(), weights, backend })
    }

    /// The same network, its matrix products taken in another precision. Buffers are shared: finish a
    /// window's backward pass before the other network reads one.
    ///
    /// # Errors
    /// bf16 on a device other than a CPU.
    pub fn with_precision(&self, precision: Precision) -> Result<Self> {
        Ok(Self { backend: self.backend.with_precision(precision)?, ..self.clone() })
    }

    /// The same network run by tensor operations, which every device has.
    #[must_use]
    pub fn reference(&self) -> Self {
        Self { backend: Backend::Reference, ..self.clone() }
    }

    /// Which implementation runs it.
    pub(super) fn backend(&self) -> &Backend {
        &self.backend
    }

    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    pub fn device(&self) -> &Device {
        self.weights.embedding.device()
    }

    pub fn weights(&self) -> &NetworkWeights {
        &self.weights
    }

    /// Reads a window.
    ///
    /// `ids` [T, B] of u32, `resets` [T, B] of u8 (1: the state entering that step is zero).
    /// Returns the last layer's hidden sequence [T, B, H], after dropout if given, and the final state.
    ///
    /// # Errors
    /// Shapes that do not fit, an id outside V.
    pub fn forward(
        &self,
        ids: &Tensor,
        state: &State,
        resets: Option<&Tensor>,
        dropout: Option<Dropout>,
    ) -> Result<(Tensor, State)> {
        let mut hidden: Option<Tensor> = None;
        let mut layers = Vec::with_capacity(self.config.layers);
        for (index, weights) in self.weights.layers.iter().enumerate() {
            let input = match &hidden {
                Some(below) => Input::Sequence(below),
                None => Input::Embedded { ids, table: &self.weights.embedding },
            };
            let (cell, state) = (self.config.cell, &state.layers[index]);
            let (out, last) = match &self.backend {
                Backend::Reference => {
                    let input = reference::input_sequence(input)?;
                    reference::sequence(cell, &input, weights, state, resets)?
                }
                Backend::Cpu(cpu) => cpu.layer(cell, &self.weights, index, input, state, resets)?,
            };
            hidden = Some(match dropout {
                Some(dropout) => dropout.apply(&out, index as u64)?,
                None => out,
            });
            layers.push(last);
        }
        match hidden {
            Some(hidden) => Ok((hidden, State { layers })),
            None => candle_core::bail!("a network needs at least one layer"),
        }
    }

    /// Scores of the next id: [.., H] to [.., V].
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        let mut shape = hidden.dims().to_vec();
        let rows = hidden.elem_count() / self.config.hidden;
        if let Some(last) = shape.last_mut() {
            *last = self.config.vocab;
        }
        hidden
            .reshape((rows, self.config.hidden))?
            .matmul(&self.weights.readout_weight.t()?)?
            .broadcast_add(&self.weights.readout_bias)?
            .reshape(shape)
    }

    /// Mean cross-entropy, in nats, of `targets` [T, B] after `hidden` [T, B, H]: a scalar.
    pub fn loss(&self, hidden: &Tensor, targets: &Tensor) -> Result<Tensor> {
        if let Backend::Cpu(cpu) = &self.backend {
            return cpu.loss(&self.weights, hidden, targets);
        }
        let logits = self.logits(hidden)?.flatten(0, 1)?;
        candle_nn::loss::cross_entropy(&logits, &targets.flatten_all()?)
    }

    /// Loss and gradients of a window for training: what [`Network::forward`], [`Network::loss`] and
    /// candle's backward pass give, and where the fused kernels run, without candle's graph.
    /// `state` is taken as given: no gradient flows into it.
    pub fn gradients(
        &self,
        ids: &Tensor,
        targets: &Tensor,
        state: &State,
        resets: Option<&Tensor>,
        dropout: Option<Dropout>,
    ) -> Result<Gradients> {
        if let Backend::Cpu(cpu) = &self.backend {
            let window = (ids, targets);
            let fused::WindowGradients { loss, grads, state } =
                cpu.gradients(&self.config, &self.weights, window, state, resets, dropout)?;
            return Ok(Gradients { loss, grads, state: State { layers: state } });
        }
        let (hidden, state) = self.forward(ids, &state.detach(), resets, dropout)?;
        let loss = self.loss(&hidden, targets)?;
        Ok(Gradients { loss: loss.to_scalar()?, grads: loss.backward()?, state: state.detach() })
    }

    /// Nats of each of `targets` [T, B] after `hidden` [T, B, H], without gradient: [T, B]. The logits are
    /// taken for a block of rows at a time, so that memory does not grow with T·B·V.
    pub fn token_nll(&self, hidden: &Tensor, targets: &Tensor) -> Result<Tensor> {
        let rows = targets.elem_count();
        let hidden = hidden.detach().reshape((rows, self.config.hidden))?;
        let flat = targets.flatten_all()?;
        let block = (LOGITS_BLOCK / self.config.vocab).max(1);
        let of_block = |first: usize| {
            let count = block.min(rows - first);
            let logits = self.logits(&hidden.narrow(0, first, count)?)?;
            let targets = flat.narrow(0, first, count)?.unsqueeze(1)?;
            // Without its history, which would keep the block's logits alive.
            let nats = candle_nn::ops::log_softmax(&logits, 1)?.gather(&targets, 1)?.neg()?;
            Ok(nats.detach())
        };
        let blocks = (0..rows).step_by(block).map(of_block).collect::<Result<Vec<_>>>()?;
        Tensor::cat(&blocks, 0)?.reshape(targets.dims())
    }

    /// Scores after the last step of a window: [B, V].
    pub fn last_logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.logits(&hidden.i(hidden.dim(0)? - 1)?.contiguous()?)
    }
}
