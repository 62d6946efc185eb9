//! Embedding, stacked recurrent layers, readout.

use candle_core::backprop::GradStore;
use candle_core::{Device, IndexOp, Result, Tensor};
use candle_nn::VarBuilder;

use crate::fused::{self, Direction, Input, Mask, Precision};
use crate::model::backend::Backend;
use crate::model::config::{ModelConfig, READOUT};
use crate::model::cpu::{Cpu, TextWindow};
use crate::model::dropout::Dropout;
use crate::model::reference;
use crate::model::state::State;
use crate::model::weights::{DroppedWeights, NetworkWeights};

/// What a window gives for training.
pub struct Gradients {
    /// Mean cross-entropy, in nats.
    pub loss: f32,
    /// By weight.
    pub grads: GradStore,
    /// The state after the window, without history.
    pub state: State,
}

/// A character-level recurrent network that reads in one direction. A clone copies no numbers.
#[derive(Clone)]
pub struct Network {
    config: ModelConfig,
    direction: Direction,
    weights: NetworkWeights,
    backend: Backend,
}

impl Network {
    /// Takes the weights by their PyTorch names from `vb`. The fastest implementation that the device
    /// has runs it, in float32.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape than `config` says, or a bidirectional `config`.
    pub fn new(config: &ModelConfig, vb: VarBuilder) -> Result<Self> {
        if config.bidirectional {
            candle_core::bail!("the configuration is that of a bidirectional network");
        }
        Self::of_direction(config, &vb, Direction::Forward, READOUT)
    }

    /// The layers of one direction, and the readout of this name.
    pub(super) fn of_direction(
        config: &ModelConfig,
        vb: &VarBuilder,
        direction: Direction,
        readout: &str,
    ) -> Result<Self> {
        let weights = NetworkWeights::new(config, vb, direction, readout)?;
        let backend = Backend::choose(&weights, Precision::F32)?;
        Ok(Self { config: config.clone(), direction, weights, backend })
    }

    /// The same network, its matrix products taken in another precision. Buffers are shared: finish a
    /// window's backward pass before the other network reads one.
    ///
    /// # Errors
    /// bf16 on a device other than a CPU.
    pub fn with_precision(&self, precision: Precision) -> Result<Self> {
        Ok(Self { backend: self.backend.with_precision(precision)?, ..self.clone() })
    }

    /// The same network with the weights of `vb`. Buffers are shared, as by [`Network::with_precision`].
    ///
    /// # Errors
    /// A tensor that is missing or has another shape.
    pub fn with_weights(&self, vb: &VarBuilder) -> Result<Self> {
        self.with_weights_of(vb, READOUT)
    }

    /// The same with the readout of this name.
    pub(super) fn with_weights_of(&self, vb: &VarBuilder, readout: &str) -> Result<Self> {
        let weights = NetworkWeights::new(&self.config, vb, self.direction, readout)?;
        Ok(Self { weights, ..self.clone() })
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

    /// Which way it reads: the backward half of a bidirectional network from the right to the left.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Reads a window, in its direction.
    ///
    /// `ids` [T, B] of u32, `resets` [T, B] of u8 (1: the state entering that step is zero).
    /// Returns what the last layer gives for the readout, [T, B, H] (its hidden sequence; of a residual network
    /// normalised and added to what it read; after dropout if given), and the final state: that of step T - 1,
    /// or of step 0 where the network reads backward.
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
        let dropped = match dropout {
            Some(dropout) if dropout.recurrent > 0.0 => {
                Some(self.weights.with_dropout(&dropout, self.first_place())?)
            }
            _ => None,
        };
        let network_weights = dropped.as_ref().unwrap_or(&self.weights);
        let mut hidden: Option<Tensor> = None;
        let mut layers = Vec::with_capacity(self.config.layers);
        let first_place = self.first_place();
        for (index, weights) in network_weights.layers.iter().enumerate() {
            let input = match &hidden {
                Some(below) => Input::Sequence(below),
                None => Input::Embedded { ids, table: &self.weights.embedding },
            };
            let (layer, state) = ((self.config.cell, self.direction), &state.layers[index]);
            let (out, last) = match &self.backend {
                Backend::Reference => {
                    let input = reference::input_sequence(input)?;
                    reference::directed_sequence(layer, &input, weights, state, resets)?
                }
                Backend::Cpu(cpu) => {
                    cpu.layer(layer, network_weights, index, input, state, resets)?
                }
            };
            let out = self.normalised(index, out, hidden.as_ref())?;
            hidden = Some(match dropout {
                Some(dropout) => dropout.apply(&out, first_place + index as u64)?,
                None => out,
            });
            layers.push(last);
        }
        match hidden {
            Some(hidden) => Ok((hidden, State { layers })),
            None => candle_core::bail!("a network needs at least one layer"),
        }
    }

    /// What layer `index` gives of its hidden vectors [.., H], before dropout; `below` is what it read, if
    /// it is not the lowest.
    pub(super) fn normalised(
        &self,
        index: usize,
        hidden: Tensor,
        below: Option<&Tensor>,
    ) -> Result<Tensor> {
        let Some(gain) = self.weights.norms.get(index) else { return Ok(hidden) };
        match &self.backend {
            Backend::Reference => reference::layer_norm(&hidden, gain, below),
            Backend::Cpu(cpu) => fused::layer_norm(&hidden, gain, below, cpu.precision),
        }
    }

    /// What the readout reads in a state, [B, H].
    ///
    /// # Errors
    /// A state of another network.
    pub fn output(&self, state: &State) -> Result<Tensor> {
        let mut output: Option<Tensor> = None;
        for (index, layer) in state.layers.iter().enumerate() {
            output = Some(self.normalised(index, layer.get(0)?, output.as_ref())?);
        }
        match output {
            Some(output) => Ok(output),
            None => candle_core::bail!("a state has at least one layer"),
        }
    }

    /// The place of its lowest layer among the dropout masks of a step.
    fn first_place(&self) -> u64 {
        match self.direction {
            Direction::Forward => 0,
            Direction::Reverse => self.config.layers as u64,
        }
    }

    /// Scores of the next id: [.., H] to [.., V].
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.weights.readout.logits(hidden)
    }

    /// Mean cross-entropy, in nats, of `targets` [T, B] after `hidden` [T, B, H]: a scalar.
    pub fn loss(&self, hidden: &Tensor, targets: &Tensor) -> Result<Tensor> {
        match &self.backend {
            Backend::Cpu(cpu) => cpu.loss(&self.weights, hidden, targets),
            Backend::Reference => self.weights.readout.loss(hidden, targets, None),
        }
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
            let text = TextWindow { ids, targets, resets };
            let masks = self.masks(ids, dropout);
            let dropped = self.dropped(dropout)?;
            let fused::WindowGradients { loss, mut grads, state } =
                self.window(cpu, &dropped, &text, state, &masks).gradients()?;
            dropped.restore(&mut grads)?;
            return Ok(Gradients { loss, grads, state: State { layers: state } });
        }
        let (hidden, state) = self.forward(ids, &state.detach(), resets, dropout)?;
        let loss = self.loss(&hidden, targets)?;
        Ok(Gradients { loss: loss.to_scalar()?, grads: loss.backward()?, state: state.detach() })
    }

    /// A window as the kernels take it.
    pub(super) fn window<'a>(
        &'a self,
        cpu: &'a Cpu,
        dropped: &'a DroppedWeights,
        text: &TextWindow<'a>,
        state: &'a State,
        masks: &'a [Mask],
    ) -> fused::Window<'a> {
        cpu.window(&self.config, self.direction, &dropped.weights, text, state, masks)
    }

    /// The weights that a step of the kernels is taken with.
    pub(super) fn dropped(&self, dropout: Option<Dropout>) -> Result<DroppedWeights> {
        DroppedWeights::new(&self.weights, dropout, self.first_place())
    }

    /// The masks of its layers in a step, for a window of `ids` [T, B].
    pub(super) fn masks(&self, ids: &Tensor, dropout: Option<Dropout>) -> Vec<Mask> {
        let rows = ids.dims().last().copied().unwrap_or_default();
        let (count, place) = (rows * self.config.hidden, self.first_place());
        dropout.map_or_else(Vec::new, |dropout| dropout.masks(count, place, self.config.layers))
    }

    /// Nats of each of `targets` [T, B] after `hidden` [T, B, H], without gradient: [T, B]. The logits are
    /// taken for a block of rows at a time, so that memory does not grow with T·B·V.
    pub fn token_nll(&self, hidden: &Tensor, targets: &Tensor) -> Result<Tensor> {
        self.weights.readout.token_nll(hidden, targets)
    }

    /// Scores after the last step of a window: [B, V].
    pub fn last_logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.logits(&hidden.i(hidden.dim(0)? - 1)?.contiguous()?)
    }
}
