//! The negative log-likelihood of each id of one text, read from its beginning.

use candle_core::Tensor;

use crate::data::READING_WINDOW;
use crate::error::{Error, Result, ensure};
use crate::model::{Network, State};
use crate::text::Tokenizer;

/// How likely a network found each id of a text.
pub struct TextScore {
    /// Negative log-likelihood of each id, in nats; None for the first id if nothing precedes it.
    pub nats: Vec<Option<f32>>,
    /// The logits after each id, `[N, V]`, if asked for.
    pub logits: Option<Tensor>,
}

/// Reads `ids` as one text: as one document, if the vocabulary has an end-of-document id.
///
/// # Errors
/// [`Error::Text`] for no ids; [`Error::Tensor`] for an id outside the vocabulary; [`Error::Logits`] for
/// weights so large that no number comes out.
pub fn score_text(
    network: &Network,
    tokenizer: &Tokenizer,
    ids: &[u32],
    keep_logits: bool,
) -> Result<TextScore> {
    ensure!(!ids.is_empty(), Error::Text("the text is empty: there is nothing to score".into()));
    let device = network.device();
    let mut state = State::zeros(network.config(), 1, device)?;
    let mut nats = Vec::with_capacity(ids.len());
    let mut kept = Vec::new();
    // Log-probabilities [V] of the next id.
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
            let rest: Vec<f32> = network.token_nll(&before, &targets)?.flatten_all()?.to_vec1()?;
            nats.extend(rest.into_iter().map(Some));
        }
        expected = Some(log_softmax_last(&logits)?);
        if keep_logits {
            kept.push(logits);
        }
    }
    if let Some(wrong) = nats.iter().flatten().find(|nats| !nats.is_finite()) {
        return Err(Error::Logits(format!(
            "the model's score of the text is {wrong}: its weights are unusable, train it again"
        )));
    }
    let logits = if keep_logits { Some(Tensor::cat(&kept, 0)?) } else { None };
    Ok(TextScore { nats, logits })
}

/// Log-probabilities `[V]` after the last row of `logits` `[.., V]`.
fn log_softmax_last(logits: &Tensor) -> Result<Tensor> {
    let rows = logits.flatten_to(logits.rank() - 2)?;
    let last = rows.get(rows.dim(0)? - 1)?;
    Ok(candle_nn::ops::log_softmax(&last, 0)?)
}
