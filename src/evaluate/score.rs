//! The negative log-likelihood of each id of one text, read from its beginning, or of documents.

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
    ensure_finite(nats.iter().flatten())?;
    let logits = if keep_logits { Some(Tensor::cat(&kept, 0)?) } else { None };
    Ok(TextScore { nats, logits })
}

/// How likely a network found each id of some documents.
pub struct DocumentScores {
    /// For each document the negative log-likelihood of each of its ids and then of its end, in nats.
    pub nats: Vec<Vec<f32>>,
    /// The logits after each id, `[N, V]`, one document after another, if asked for.
    pub logits: Option<Tensor>,
}

/// Reads each of `documents`, given in ids, from a zero state, and predicts its ids and its end.
///
/// # Errors
/// [`Error::Text`] for no documents; [`Error::Vocabulary`] for a tokenizer without an end-of-document id;
/// [`Error::Tensor`] for an id outside the vocabulary; [`Error::Logits`] for weights so large that no
/// number comes out.
pub fn score_documents(
    network: &Network,
    tokenizer: &Tokenizer,
    documents: &[Vec<u32>],
    keep_logits: bool,
) -> Result<DocumentScores> {
    ensure!(
        !documents.is_empty(),
        Error::Text("the text is empty: there is nothing to score".into())
    );
    let end = tokenizer.end_of_document().ok_or_else(|| {
        Error::vocabulary("this vocabulary has no end-of-document id: score the text as one")
    })?;
    // A document c1 .. cn has the inputs end, c1 .. cn and the targets c1 .. cn, end.
    let total = documents.iter().map(|ids| ids.len() + 1).sum();
    let mut inputs = Vec::with_capacity(total);
    let mut resets = Vec::with_capacity(total);
    for ids in documents {
        inputs.push(end);
        inputs.extend_from_slice(ids);
        resets.push(1u8);
        resets.resize(inputs.len(), 0);
    }
    let targets: Vec<u32> = inputs[1..].iter().copied().chain([end]).collect();

    let device = network.device();
    let mut state = State::zeros(network.config(), 1, device)?;
    let (mut nats, mut kept) = (Vec::with_capacity(total), Vec::new());
    for start in (0..total).step_by(READING_WINDOW) {
        let window = start..total.min(start + READING_WINDOW);
        let shape = (window.len(), 1);
        let ids = Tensor::from_slice(&inputs[window.clone()], shape, device)?;
        let begins = Tensor::from_slice(&resets[window.clone()], shape, device)?;
        let targets = Tensor::from_slice(&targets[window.clone()], shape, device)?;
        let (hidden, next) = network.forward(&ids, &state, Some(&begins), None)?;
        state = next.detach();
        let hidden = hidden.detach();
        nats.extend(network.token_nll(&hidden, &targets)?.flatten_all()?.to_vec1::<f32>()?);
        let after_ids: Vec<u32> =
            (0u32..).zip(&resets[window]).filter(|(_, r)| **r == 0).map(|(at, _)| at).collect();
        if keep_logits && !after_ids.is_empty() {
            let rows = Tensor::new(after_ids, device)?;
            kept.push(network.logits(&hidden)?.squeeze(1)?.index_select(&rows, 0)?);
        }
    }
    ensure_finite(&nats)?;
    let mut rest = &nats[..];
    let mut of_documents = Vec::with_capacity(documents.len());
    for ids in documents {
        let (own, others) = rest.split_at(ids.len() + 1);
        of_documents.push(own.to_vec());
        rest = others;
    }
    let logits = if keep_logits && !kept.is_empty() { Some(Tensor::cat(&kept, 0)?) } else { None };
    Ok(DocumentScores { nats: of_documents, logits })
}

pub(super) fn ensure_finite<'a>(nats: impl IntoIterator<Item = &'a f32>) -> Result<()> {
    match nats.into_iter().find(|nats| !nats.is_finite()) {
        Some(wrong) => Err(Error::Logits(format!(
            "the model's score of the text is {wrong}: its weights are unusable, train it again"
        ))),
        None => Ok(()),
    }
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
