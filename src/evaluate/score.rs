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
/// [`Error::Text`] for no ids; [`Error::Tensor`] for an id outside the vocabulary.
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
    match tokenizer.end_of_document() {
        Some(start) => {
            let start = Tensor::new(&[[start]], device)?;
            let (hidden, next) = network.forward(&start, &state, None, None)?;
            state = next.detach();
            nats.extend(cost(network, &hidden, &ids[..1])?.into_iter().map(Some));
        }
        None => nats.push(None),
    }
    // The id after each of a window's; the last of all has none.
    let following = ids[1..].chunks(READING_WINDOW).chain([&[][..]]);
    for (window, targets) in ids.chunks(READING_WINDOW).zip(following) {
        let input = Tensor::from_slice(window, (window.len(), 1), device)?;
        let (hidden, next) = network.forward(&input, &state, None, None)?;
        state = next.detach();
        nats.extend(cost(network, &hidden, targets)?.into_iter().map(Some));
        if keep_logits {
            kept.push(network.logits(&hidden.detach())?.squeeze(1)?);
        }
    }
    let logits = if keep_logits { Some(Tensor::cat(&kept, 0)?) } else { None };
    Ok(TextScore { nats, logits })
}

/// Nats of each of `targets` after the first rows of `hidden` `[T, 1, H]`.
fn cost(network: &Network, hidden: &Tensor, targets: &[u32]) -> Result<Vec<f32>> {
    if targets.is_empty() {
        return Ok(Vec::new());
    }
    let before = hidden.narrow(0, 0, targets.len())?.contiguous()?;
    let targets = Tensor::from_slice(targets, (targets.len(), 1), network.device())?;
    Ok(network.token_nll(&before, &targets)?.flatten_all()?.to_vec1()?)
}
