//! The loss of a whole text, cut into windows that predict every target once.

use candle_core::{DType, Tensor, bail};

use crate::data::{Carry, Evaluation};
use crate::error::Result;
use crate::evaluate::right::right_of;
use crate::model::{AnyNetwork, BidirectionalNetwork, Network, Right, State};
use crate::text::Tokenizer;

/// How well a network predicted a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EvalResult {
    /// Sum of the negative log-likelihoods of all predicted ids, in nats.
    pub nats: f64,
    /// How many ids were predicted.
    pub ids: u64,
    /// Bytes of UTF-8 that those ids stand for.
    pub bytes: u64,
}

impl EvalResult {
    /// The loss: mean cross-entropy, in nats.
    pub fn nats_per_id(&self) -> f64 {
        self.nats / self.ids.max(1) as f64
    }

    /// Bits for each byte of UTF-8: comparable between vocabularies.
    pub fn bits_per_byte(&self) -> f64 {
        self.nats / std::f64::consts::LN_2 / self.bytes.max(1) as f64
    }
}

/// Predicts every target of `text` once, from a zero state, without gradients or dropout.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) if candle fails.
pub fn evaluate(network: &Network, text: &Evaluation, tokenizer: &Tokenizer) -> Result<EvalResult> {
    run(network, text, tokenizer, |ids, targets, state, resets, _| {
        let (hidden, next) = network.forward(ids, state, resets, None)?;
        Ok((network.token_nll(&hidden, targets)?, next))
    })
}

/// Predicts every target of `text`, made for a bidirectional network, once from both sides: the
/// pseudo-likelihood, which no likelihood can be compared with.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) if candle fails, or for a text that was made for a network of
/// one direction.
pub fn evaluate_bidirectional(
    network: &BidirectionalNetwork,
    text: &Evaluation,
    tokenizer: &Tokenizer,
) -> Result<EvalResult> {
    run(network.forward_half(), text, tokenizer, |ids, targets, state, resets, right| {
        let Some(right) = right else { bail!("the windows have nothing from the right") };
        let (hidden, next) = network.forward(ids, state, resets, right)?;
        Ok((network.token_nll(&hidden, targets)?, next))
    })
}

/// [`evaluate`] or [`evaluate_bidirectional`].
///
/// # Errors
/// Those of the two.
pub fn evaluate_any(
    network: &AnyNetwork,
    text: &Evaluation,
    tokenizer: &Tokenizer,
) -> Result<EvalResult> {
    match network {
        AnyNetwork::Forward(network) => evaluate(network, text, tokenizer),
        AnyNetwork::Bidirectional(network) => evaluate_bidirectional(network, text, tokenizer),
    }
}

/// Reads the windows of `text`. `read` is given ids and targets [T, B], the state that enters, resets, and
/// what stands to the right; it returns the nats of each target [T, B] and the state after the window.
fn run(
    forward: &Network,
    text: &Evaluation,
    tokenizer: &Tokenizer,
    read: impl Fn(
        &Tensor,
        &Tensor,
        &State,
        Option<&Tensor>,
        Option<&Right>,
    ) -> candle_core::Result<(Tensor, State)>,
) -> Result<EvalResult> {
    let (config, device) = (forward.config(), forward.device());
    let mut state = State::zeros(config, 1, device)?;
    let mut result = EvalResult { nats: 0.0, ids: 0, bytes: 0 };
    for window in text.windows() {
        state = match window.carry {
            Carry::Zero => State::zeros(config, window.b, device)?,
            Carry::Continue => state,
            Carry::ContinueLastRow => state.last_row()?,
        };
        let shape = (window.t, window.b);
        let ids = Tensor::from_vec(window.inputs, shape, device)?;
        let targets = Tensor::from_slice(&window.targets, shape, device)?;
        let resets = window.resets.map(|resets| Tensor::from_vec(resets, shape, device));
        let right = window.right.map(|right| right_of(right, shape, device));
        let (resets, right) = (resets.transpose()?, right.transpose()?);
        let (nats, next) = read(&ids, &targets, &state, resets.as_ref(), right.as_ref())?;
        state = next.detach();
        let nats: Vec<f32> = nats.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        for (at, (nats, id)) in nats.iter().zip(&window.targets).enumerate() {
            if window.weights.as_ref().is_none_or(|weights| weights[at] == 1) {
                result.nats += f64::from(*nats);
                result.ids += 1;
                result.bytes += tokenizer.bytes_of(*id).len() as u64;
            }
        }
    }
    Ok(result)
}
