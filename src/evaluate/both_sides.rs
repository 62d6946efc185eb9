//! The negative log-likelihood of each id of some texts, given what stands on both sides of it.

use candle_core::Tensor;

use crate::data::{READING_MARGIN, READING_WINDOW};
use crate::error::{Error, Result, ensure};
use crate::evaluate::score::ensure_finite;
use crate::model::{BidirectionalNetwork, Right, State};
use crate::text::Tokenizer;

/// How likely a network found each id of some texts from both sides.
pub struct BothSidesScores {
    /// For each text the negative log-likelihood of each of its ids, in nats. None for the first and the
    /// last id of a text that no end-of-document ids stand around.
    pub nats: Vec<Vec<Option<f32>>>,
    /// The logits of each id that has nats, `[N, V]`, one text after another, if asked for.
    pub logits: Option<Tensor>,
}

/// What is read to predict some ids, one text after another.
#[derive(Default)]
struct Predictions {
    /// The id before each.
    inputs: Vec<u32>,
    targets: Vec<u32>,
    /// The id after each.
    following: Vec<u32>,
    /// 1 for the first of a text, 1 for the last.
    begins: Vec<u8>,
    ends: Vec<u8>,
}

impl Predictions {
    /// Adds all ids of `text` but the first and the last.
    fn add(&mut self, text: &[u32]) {
        let count = text.len().saturating_sub(2);
        if count == 0 {
            return;
        }
        let first = self.targets.len();
        self.inputs.extend_from_slice(&text[..count]);
        self.targets.extend_from_slice(&text[1..=count]);
        self.following.extend_from_slice(&text[2..]);
        self.begins.resize(first + count, 0);
        self.ends.resize(first + count, 0);
        self.begins[first] = 1;
        self.ends[first + count - 1] = 1;
    }
}

/// Reads each of `texts`, given in ids, from the zero state at both its ends. If the vocabulary has an
/// end-of-document id, each text is a document and that id stands before and after it.
///
/// # Errors
/// [`Error::Text`] for no texts or an empty one; [`Error::Tensor`] for an id outside the vocabulary;
/// [`Error::Logits`] for weights so large that no number comes out.
pub fn score_both_sides(
    network: &BidirectionalNetwork,
    tokenizer: &Tokenizer,
    texts: &[Vec<u32>],
    keep_logits: bool,
) -> Result<BothSidesScores> {
    ensure!(
        !texts.is_empty() && texts.iter().all(|text| !text.is_empty()),
        Error::Text("the text is empty: there is nothing to score".into())
    );
    let end = tokenizer.end_of_document();
    let mut predictions = Predictions::default();
    for text in texts {
        match end {
            Some(end) => predictions.add(&[&[end][..], text, &[end]].concat()),
            None => predictions.add(text),
        }
    }
    let (nats, logits) = read(network, &predictions, keep_logits)?;
    ensure_finite(&nats)?;
    let mut nats = nats.into_iter();
    let of_text = |text: &Vec<u32>| -> Vec<Option<f32>> {
        let last = text.len() - 1;
        (0..=last)
            .map(|at| if end.is_none() && (at == 0 || at == last) { None } else { nats.next() })
            .collect()
    };
    Ok(BothSidesScores { nats: texts.iter().map(of_text).collect(), logits })
}

/// The nats of all targets, and their logits if asked for.
fn read(
    network: &BidirectionalNetwork,
    predictions: &Predictions,
    keep_logits: bool,
) -> Result<(Vec<f32>, Option<Tensor>)> {
    let Predictions { inputs, targets, following, begins, ends } = predictions;
    let device = network.device();
    let total = targets.len();
    let mut state = State::zeros(network.forward_half().config(), 1, device)?;
    let (mut nats, mut kept) = (Vec::with_capacity(total), Vec::new());
    for start in (0..total).step_by(READING_WINDOW) {
        let window = start..total.min(start + READING_WINDOW);
        let margin = window.end..total.min(window.end + READING_MARGIN);
        let column = |ids: &[u32]| Tensor::from_slice(ids, (ids.len(), 1), device);
        let flags = |flags: &[u8]| Tensor::from_slice(flags, (flags.len(), 1), device);
        let has_margin = !margin.is_empty();
        let right = Right {
            ids: column(&following[window.clone()])?,
            resets: Some(flags(&ends[window.clone()])?),
            margin: has_margin.then(|| column(&following[margin.clone()])).transpose()?,
            margin_resets: has_margin.then(|| flags(&ends[margin])).transpose()?,
            scored: None,
        };
        let begins = flags(&begins[window.clone()])?;
        let ids = column(&inputs[window.clone()])?;
        let (hidden, next) = network.forward(&ids, &state, Some(&begins), &right)?;
        state = next.detach();
        let hidden = hidden.detach();
        let costs = network.token_nll(&hidden, &column(&targets[window])?)?;
        nats.extend(costs.flatten_all()?.to_vec1::<f32>()?);
        if keep_logits {
            kept.push(network.logits(&hidden)?.squeeze(1)?);
        }
    }
    let logits = if kept.is_empty() { None } else { Some(Tensor::cat(&kept, 0)?) };
    Ok((nats, logits))
}
