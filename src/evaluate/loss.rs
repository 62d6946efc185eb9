//! The loss of a whole text, cut into windows that predict every target once.

use candle_core::{DType, Tensor};

use crate::data::{Carry, Evaluation};
use crate::error::Result;
use crate::model::{Network, State};
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
    let device = network.device();
    let mut state = State::zeros(network.config(), 1, device)?;
    let mut result = EvalResult { nats: 0.0, ids: 0, bytes: 0 };
    for window in text.windows() {
        state = match window.carry {
            Carry::Zero => State::zeros(network.config(), window.b, device)?,
            Carry::Continue => state,
            Carry::ContinueLastRow => state.last_row()?,
        };
        let shape = (window.t, window.b);
        let ids = Tensor::from_vec(window.inputs, shape, device)?;
        let targets = Tensor::from_slice(&window.targets, shape, device)?;
        let resets = match window.resets {
            Some(resets) => Some(Tensor::from_vec(resets, shape, device)?),
            None => None,
        };
        let (hidden, next) = network.forward(&ids, &state, resets.as_ref(), None)?;
        state = next.detach();
        let nats: Vec<f32> = network
            .token_nll(&hidden.detach(), &targets)?
            .to_dtype(DType::F32)?
            .flatten_all()?
            .to_vec1()?;
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
