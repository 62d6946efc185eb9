//! How well a network predicts a text.

use anyhow::{Result, ensure};
use candle_core::{DType, Tensor};

use crate::data::READING_WINDOW;
use crate::data::{Carry, Evaluation};
use crate::model::{Network, State};
use crate::text::Tokenizer;

/// What it cost a network to predict a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Sum over all predictions.
    pub nats: f64,
    /// Predictions.
    pub ids: u64,
    /// Bytes of UTF-8 that they stand for.
    pub bytes: u64,
}

impl Score {
    /// The loss: mean cross-entropy.
    pub fn nats_per_id(&self) -> f64 {
        self.nats / self.ids.max(1) as f64
    }

    pub fn bits_per_byte(&self) -> f64 {
        self.nats / std::f64::consts::LN_2 / self.bytes.max(1) as f64
    }
}

/// Predicts every target of `text` once, from a state of its own; without gradients or dropout.
pub fn evaluate(network: &Network, text: &Evaluation, tokenizer: &Tokenizer) -> Result<Score> {
    let device = network.device();
    let mut state = State::zeros(network.config(), 1, device)?;
    let mut score = Score { nats: 0.0, ids: 0, bytes: 0 };
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
            .nats(&hidden.detach(), &targets)?
            .to_dtype(DType::F32)?
            .flatten_all()?
            .to_vec1()?;
        for (at, (nats, id)) in nats.iter().zip(&window.targets).enumerate() {
            if window.weights.as_ref().is_none_or(|weights| weights[at] == 1) {
                score.nats += f64::from(*nats);
                score.ids += 1;
                score.bytes += tokenizer.bytes_of(*id).len() as u64;
            }
        }
    }
    Ok(score)
}

/// A text read once from its beginning.
pub struct Reading {
    /// Nats of each id; None for the first of a text that nothing precedes.
    pub nats: Vec<Option<f32>>,
    /// The scores of the next id after each id, [N, V], if asked for.
    pub logits: Option<Tensor>,
}

/// Reads `ids` as one text; in documents mode, as one document from its beginning.
///
/// # Errors
/// No ids.
pub fn read_through(
    network: &Network,
    tokenizer: &Tokenizer,
    ids: &[u32],
    keep_logits: bool,
) -> Result<Reading> {
    ensure!(!ids.is_empty(), "the text is empty: there is nothing to score");
    let device = network.device();
    let mut state = State::zeros(network.config(), 1, device)?;
    let mut nats = Vec::with_capacity(ids.len());
    let mut kept = Vec::new();
    // Log-probabilities [V] of the id to come.
    let mut expected: Option<Tensor> = None;
    if let Some(start) = tokenizer.end_of_document() {
        let (hidden, next) =
            network.forward(&Tensor::new(&[[start]], device)?, &state, None, None)?;
        expected = Some(log_softmax_last(&network.logits(&hidden.detach())?)?);
        state = next.detach();
    }
    for window in ids.chunks(READING_WINDOW) {
        let input = Tensor::from_slice(window, (window.len(), 1), device)?;
        let (hidden, next) = network.forward(&input, &state, None, None)?;
        state = next.detach();
        let logits = network.logits(&hidden.detach())?.squeeze(1)?;
        match &expected {
            Some(expected) => {
                let log_probability = expected.get(window[0] as usize)?.to_scalar::<f32>()?;
                nats.push(Some(-log_probability));
            }
            None => nats.push(None),
        }
        if window.len() > 1 {
            let targets = Tensor::from_slice(&window[1..], (window.len() - 1, 1), device)?;
            let before = hidden.narrow(0, 0, window.len() - 1)?.contiguous()?;
            let rest: Vec<f32> = network.nats(&before, &targets)?.flatten_all()?.to_vec1()?;
            nats.extend(rest.into_iter().map(Some));
        }
        expected = Some(log_softmax_last(&logits)?);
        if keep_logits {
            kept.push(logits);
        }
    }
    let logits = if keep_logits { Some(Tensor::cat(&kept, 0)?) } else { None };
    Ok(Reading { nats, logits })
}

/// Log-probabilities after the last of the rows of `logits` [.., V].
fn log_softmax_last(logits: &Tensor) -> Result<Tensor> {
    let rows = logits.flatten_to(logits.rank() - 2)?;
    let last = rows.get(rows.dim(0)? - 1)?;
    Ok(candle_nn::ops::log_softmax(&last, 0)?)
}
