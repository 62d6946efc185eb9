//! A network that predicts a character from both sides.
//!
//! A forward and a backward stack of layers share the embedding. The readout at position t joins the
//! forward state after the ids before t with the backward state before the ids after t, so that no
//! position sees itself. The stacks are independent: if a layer read both directions of the layer below,
//! as those of PyTorch's `bidirectional=True` do, then from the second layer on what it reads of the
//! neighbours of t would have seen t.

use candle_core::backprop::GradStore;
use candle_core::{Device, Result, Tensor};
use candle_nn::VarBuilder;

use crate::fused::{self, Direction, Precision, Workspace};
use crate::model::backend::Backend;
use crate::model::config::{BACKWARD_READOUT, FORWARD_READOUT, ModelConfig, READOUT};
use crate::model::cpu::TextWindow;
use crate::model::dropout::Dropout;
use crate::model::network::{Gradients, Network};
use crate::model::readout::Readout;
use crate::model::state::State;

/// Weight of the losses of the two halves, each a language model, beside the loss of both. With 1 the forward
/// half is as good as a network of one direction; less lowers the loss of both by 2 % at most
/// (benches/README.md).
const HALF_WEIGHT: f32 = 1.0;

/// A character-level network that predicts each id from the ids on both sides. A clone copies no numbers.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::VarBuilder;
/// use chargru::model::{BidirectionalNetwork, ModelConfig, Right, State, init};
/// use rand_chacha::ChaCha8Rng;
/// use rand_chacha::rand_core::SeedableRng;
///
/// # fn main() -> chargru::Result<()> {
/// let config = ModelConfig { vocab: 10, bidirectional: true, ..ModelConfig::default() };
/// let weights = init(&config, &mut ChaCha8Rng::seed_from_u64(1), &Device::Cpu)?;
/// let vb = VarBuilder::from_varmap(&weights, DType::F32, &Device::Cpu);
/// let network = BidirectionalNetwork::new(&config, vb)?;
///
/// // The text 3 1 4 1 5: what stands before and after each id but the first and the last.
/// let column = |ids: [u32; 3]| Tensor::from_slice(&ids, (3, 1), &Device::Cpu);
/// let before = column([3, 1, 4])?;
/// let right = Right {
///     ids: column([4, 1, 5])?,
///     resets: None,
///     margin: None,
///     margin_resets: None,
///     scored: None,
/// };
/// let state = State::zeros(&config, 1, &Device::Cpu)?;
/// let (hidden, _state) = network.forward(&before, &state, None, &right)?;
/// let nats = network.token_nll(&hidden, &column([1, 4, 1])?)?;
/// assert_eq!(nats.dims(), [3, 1]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct BidirectionalNetwork {
    config: ModelConfig,
    forward: Network,
    backward: Network,
    readout: Readout,
    workspace: Workspace,
}

/// What stands to the right of the targets of a window, for the backward stack.
pub struct Right {
    /// The id after each target, [T, B] of u32.
    pub ids: Tensor,
    /// [T, B] of u8: 1 where the state that enters the step, from the right, is zero.
    pub resets: Option<Tensor>,
    /// The ids after those, [M, B], which are read first and not predicted.
    pub margin: Option<Tensor>,
    /// [M, B] of u8, as `resets`.
    pub margin_resets: Option<Tensor>,
    /// [T, B] of u8: 0 where the target is not predicted from both sides. None if all are.
    pub scored: Option<Tensor>,
}

impl BidirectionalNetwork {
    /// Takes the weights by name from `vb`. The fastest implementation that the device has runs it, in
    /// float32.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape than `config` says; a `config` of one direction.
    pub fn new(config: &ModelConfig, vb: VarBuilder) -> Result<Self> {
        if !config.bidirectional {
            candle_core::bail!("the configuration is that of a network of one direction");
        }
        let half = config.half();
        let of = |direction, readout| Network::of_direction(&half, &vb, direction, readout);
        Ok(Self {
            config: config.clone(),
            forward: of(Direction::Forward, FORWARD_READOUT)?,
            backward: of(Direction::Reverse, BACKWARD_READOUT)?,
            readout: Readout::load(&vb, READOUT, config.vocab, 2 * config.hidden)?,
            workspace: Workspace::default(),
        })
    }

    /// The same network, its matrix products taken in another precision. Buffers are shared.
    ///
    /// # Errors
    /// bf16 on a device other than a CPU.
    pub fn with_precision(&self, precision: Precision) -> Result<Self> {
        Ok(Self {
            forward: self.forward.with_precision(precision)?,
            backward: self.backward.with_precision(precision)?,
            ..self.clone()
        })
    }

    /// The same network with the weights of `vb`. Buffers are shared.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape.
    pub fn with_weights(&self, vb: &VarBuilder) -> Result<Self> {
        let (vocab, width) = (self.config.vocab, 2 * self.config.hidden);
        Ok(Self {
            forward: self.forward.with_weights_of(vb, FORWARD_READOUT)?,
            backward: self.backward.with_weights_of(vb, BACKWARD_READOUT)?,
            readout: Readout::load(vb, READOUT, vocab, width)?,
            ..self.clone()
        })
    }

    /// The same network run by tensor operations, which every device has.
    #[must_use]
    pub fn reference(&self) -> Self {
        Self {
            forward: self.forward.reference(),
            backward: self.backward.reference(),
            ..self.clone()
        }
    }

    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    pub fn device(&self) -> &Device {
        self.forward.device()
    }

    /// The forward stack with a readout of its own: a language model.
    pub fn forward_half(&self) -> &Network {
        &self.forward
    }

    /// The backward stack with a readout of its own: a language model of the text read from the right to
    /// the left.
    pub fn backward_half(&self) -> &Network {
        &self.backward
    }

    /// Reads a window from both sides.
    ///
    /// `ids` [T, B] are the ids before the targets, `state` is the forward stack's, `resets` [T, B] are as
    /// for [`Network::forward`]. Returns the two hidden sequences side by side, [T, B, 2H], and the
    /// forward stack's final state.
    ///
    /// # Errors
    /// Shapes that do not fit, an id outside V.
    pub fn forward(
        &self,
        ids: &Tensor,
        state: &State,
        resets: Option<&Tensor>,
        right: &Right,
    ) -> Result<(Tensor, State)> {
        let entering = self.entering(ids, right)?;
        let (left_hidden, state) = self.forward.forward(ids, state, resets, None)?;
        let right_resets = right.resets.as_ref();
        let (right_hidden, _) = self.backward.forward(&right.ids, &entering, right_resets, None)?;
        Ok((join(&left_hidden, &right_hidden)?, state))
    }

    /// The state that enters the backward stack's window of the shape of `ids` from the right.
    fn entering(&self, ids: &Tensor, right: &Right) -> Result<State> {
        let zero = State::zeros(self.backward.config(), ids.dim(1)?, self.device())?;
        match &right.margin {
            Some(margin) => {
                let resets = right.margin_resets.as_ref();
                let (_, state) = self.backward.forward(margin, &zero, resets, None)?;
                Ok(state.detach())
            }
            None => Ok(zero),
        }
    }

    /// Scores of the id between both sides: [.., 2H] to [.., V].
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.readout.logits(hidden)
    }

    /// Nats of each of `targets` [T, B] between both sides, `hidden` [T, B, 2H], without gradient: [T, B].
    pub fn token_nll(&self, hidden: &Tensor, targets: &Tensor) -> Result<Tensor> {
        self.readout.token_nll(hidden, targets)
    }

    /// Loss and gradients of a window for training. The loss is the mean cross-entropy of the targets given
    /// both sides; the gradients are of its sum with those of the halves. Nothing flows into `state`, the
    /// forward stack's, and nothing into the margin.
    ///
    /// # Errors
    /// Shapes that do not fit, an id outside V.
    pub fn gradients(
        &self,
        ids: &Tensor,
        targets: &Tensor,
        state: &State,
        resets: Option<&Tensor>,
        right: &Right,
        dropout: Option<Dropout>,
    ) -> Result<Gradients> {
        let entering = self.entering(ids, right)?;
        let scored = right.scored.as_ref();
        let texts = [
            TextWindow { ids, targets, resets },
            TextWindow { ids: &right.ids, targets, resets: right.resets.as_ref() },
        ];
        let (forward, backward) = (&self.forward, &self.backward);
        if let (Backend::Cpu(left), Backend::Cpu(right)) = (forward.backend(), backward.backend()) {
            let masks = [forward.masks(ids, dropout), backward.masks(ids, dropout)];
            let dropped = [forward.dropped(dropout)?, backward.dropped(dropout)?];
            let window = fused::BidirectionalWindow {
                halves: [
                    forward.window(left, &dropped[0], &texts[0], state, &masks[0]),
                    backward.window(right, &dropped[1], &texts[1], &entering, &masks[1]),
                ],
                readout: (&self.readout.weight, &self.readout.bias, &self.workspace),
                scored,
                half_weight: HALF_WEIGHT,
            };
            let fused::WindowGradients { loss, mut grads, state } = window.gradients()?;
            for dropped in dropped {
                dropped.restore(&mut grads)?;
            }
            return Ok(Gradients { loss, grads, state: State { layers: state } });
        }
        let run = |half: &Network, text: &TextWindow, state: &State, scored| {
            let (hidden, next) = half.forward(text.ids, &state.detach(), text.resets, dropout)?;
            let loss = half.weights().readout.loss(&hidden, targets, scored)?;
            Ok::<_, candle_core::Error>((hidden, loss, next))
        };
        let (left, left_loss, next) = run(forward, &texts[0], state, None)?;
        let (right, right_loss, _) = run(backward, &texts[1], &entering, scored)?;
        let loss = self.readout.loss(&join(&left, &right)?, targets, scored)?;
        let sum = (&loss + ((left_loss + right_loss)? * f64::from(HALF_WEIGHT))?)?;
        let grads: GradStore = sum.backward()?;
        Ok(Gradients { loss: loss.to_scalar()?, grads, state: next.detach() })
    }
}

/// Two hidden sequences [T, B, H] side by side: [T, B, 2H].
fn join(left: &Tensor, right: &Tensor) -> Result<Tensor> {
    Tensor::cat(&[left, right], 2)
}
