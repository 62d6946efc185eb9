//! Embedding, stacked recurrent layers, readout.

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, IndexOp, Result, Tensor};
use candle_nn::VarBuilder;

use super::config::{EMBEDDING, ModelConfig, READOUT_BIAS, READOUT_WEIGHT};
use super::dropout::Dropout;
use super::layer::{Backend, Input, Layer, LayerWeights};
use crate::fused::{self, Mask, Precision, Window};

/// What the layers carry from one window to the next.
#[derive(Clone, Debug)]
pub struct State {
    /// One tensor a layer, [S, B, H]: h, and for an LSTM then c.
    pub layers: Vec<Tensor>,
}

impl State {
    /// The state before any text.
    pub fn zeros(config: &ModelConfig, batch: usize, device: &Device) -> Result<Self> {
        let shape = (config.cell.states(), batch, config.hidden);
        let layers = (0..config.layers)
            .map(|_| Tensor::zeros(shape, DType::F32, device))
            .collect::<Result<_>>()?;
        Ok(Self { layers })
    }

    /// The same numbers with no history: where truncated BPTT cuts.
    pub fn detach(&self) -> Self {
        Self { layers: self.layers.iter().map(Tensor::detach).collect() }
    }

    /// The state of the last row alone, as a batch of one.
    pub fn last_row(&self) -> Result<Self> {
        let layers = self
            .layers
            .iter()
            .map(|s| s.narrow(1, s.dim(1)? - 1, 1)?.contiguous())
            .collect::<Result<_>>()?;
        Ok(Self { layers })
    }
}

/// What a window gives for training.
pub struct Gradients {
    /// Mean cross-entropy, in nats.
    pub loss: f32,
    /// By weight.
    pub grads: GradStore,
    /// The state after the window, without history.
    pub state: State,
}

/// A character-level recurrent network.
pub struct Network {
    config: ModelConfig,
    embedding: Tensor,
    layers: Vec<Layer>,
    readout_weight: Tensor,
    readout_bias: Tensor,
    readout_workspace: fused::Workspace,
    backend: Backend,
    precision: Precision,
}

impl Network {
    /// Takes the weights by their PyTorch names from `vb`.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape than `config` says.
    pub fn new(config: &ModelConfig, vb: VarBuilder) -> Result<Self> {
        let (v, e, h) = (config.vocab, config.embedding, config.hidden);
        let embedding = vb.get((v, e), EMBEDDING)?;
        let readout_weight =
            if config.tie_weights { embedding.clone() } else { vb.get((v, h), READOUT_WEIGHT)? };
        Ok(Self {
            layers: (0..config.layers)
                .map(|index| Layer::new(config, index, &vb.pp("rnn")))
                .collect::<Result<_>>()?,
            readout_bias: vb.get(v, READOUT_BIAS)?,
            readout_workspace: fused::Workspace::default(),
            backend: Backend::default(),
            precision: Precision::F32,
            config: config.clone(),
            embedding,
            readout_weight,
        })
    }

    /// The same network run by another implementation of its cells.
    #[must_use]
    pub fn with_backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// The same network with its products taken in another precision (fused kernels only).
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// As [`Network::with_precision`], in place.
    pub fn set_precision(&mut self, precision: Precision) {
        self.precision = precision;
    }

    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    pub fn device(&self) -> &Device {
        self.embedding.device()
    }

    /// The embedding table [V, E].
    pub fn embedding(&self) -> &Tensor {
        &self.embedding
    }

    /// The weights of every layer, lowest first.
    pub fn layers(&self) -> impl Iterator<Item = &LayerWeights> {
        self.layers.iter().map(|layer| &layer.weights)
    }

    /// The readout's weight [V, H] and bias [V].
    pub fn readout(&self) -> (&Tensor, &Tensor) {
        (&self.readout_weight, &self.readout_bias)
    }

    /// Precision of the fused kernels, or None where the reference runs.
    pub fn fused_precision(&self) -> Option<Precision> {
        (self.backend == Backend::Fastest
            && fused::supported(self.device(), self.embedding.dtype()))
        .then_some(self.precision)
    }

    /// Reads a window.
    ///
    /// `ids` [T, B] of u32, `resets` [T, B] of u8 (1: the state entering that step is zero).
    /// Returns the last layer's hidden sequence [T, B, H], after dropout if given, and the final state.
    pub fn forward(
        &self,
        ids: &Tensor,
        state: &State,
        resets: Option<&Tensor>,
        dropout: Option<Dropout>,
    ) -> Result<(Tensor, State)> {
        let fused = self.fused_precision();
        let mut hidden: Option<Tensor> = None;
        let mut layers = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            let input = match &hidden {
                Some(below) => Input::Sequence(below),
                None => Input::Embedded { ids, table: &self.embedding },
            };
            let (out, last) = layer.forward(input, &state.layers[index], resets, fused)?;
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
            .matmul(&self.readout_weight.t()?)?
            .broadcast_add(&self.readout_bias)?
            .reshape(shape)
    }

    /// Mean cross-entropy, in nats, of `targets` [T, B] after `hidden` [T, B, H]: a scalar.
    pub fn loss(&self, hidden: &Tensor, targets: &Tensor) -> Result<Tensor> {
        if let Some(precision) = self.fused_precision() {
            return fused::readout_loss(
                hidden,
                &self.readout_weight,
                &self.readout_bias,
                targets,
                precision,
                &self.readout_workspace,
            );
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
        let rows = ids.elem_count();
        let precision = match self.fused_precision() {
            // A vocabulary larger than the window is looked up, not projected.
            Some(precision) if self.config.vocab <= rows => precision,
            _ => {
                let (hidden, state) = self.forward(ids, &state.detach(), resets, dropout)?;
                let loss = self.loss(&hidden, targets)?;
                return Ok(Gradients {
                    loss: loss.to_scalar()?,
                    grads: loss.backward()?,
                    state: state.detach(),
                });
            }
        };
        let masks: Vec<Mask> = dropout
            .filter(|dropout| dropout.probability > 0.0)
            .map(|dropout| {
                (0..self.layers.len() as u64)
                    .map(|layer| dropout.draw(rows * self.config.hidden, layer))
                    .collect()
            })
            .unwrap_or_default();
        let window = Window {
            cell: self.config.cell,
            precision,
            embedding: &self.embedding,
            layers: self
                .layers
                .iter()
                .map(|layer| (layer.weights.as_fused(), &layer.workspace))
                .collect(),
            readout: (&self.readout_weight, &self.readout_bias, &self.readout_workspace),
            ids,
            targets,
            resets,
            state: &state.layers,
            masks: &masks,
        };
        let fused::Gradients { loss, grads, state } = window.gradients()?;
        Ok(Gradients { loss, grads, state: State { layers: state } })
    }

    /// Nats of each of `targets` [T, B] after `hidden` [T, B, H], without gradient.
    pub fn nats(&self, hidden: &Tensor, targets: &Tensor) -> Result<Tensor> {
        let log_probabilities = candle_nn::ops::log_softmax(&self.logits(&hidden.detach())?, 2)?;
        log_probabilities.gather(&targets.unsqueeze(2)?.contiguous()?, 2)?.squeeze(2)?.neg()
    }

    /// Scores after the last step of a window: [B, V].
    pub fn last_logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.logits(&hidden.i(hidden.dim(0)? - 1)?.contiguous()?)
    }
}
