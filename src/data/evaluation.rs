//! Divides a text into windows that predict every target exactly once. Knows nothing of losses.

use crate::data::documents::DocumentSet;
use crate::data::encoded::EncodedText;
use crate::data::ids::{IdSlice, Place};
use crate::data::right_context::{RightContext, Unfinished, ensure_margin};
use crate::error::{Error, Result, ensure};

/// T of the windows in which a text is evaluated. A longer window is not faster and takes more memory.
pub const READING_WINDOW: usize = 128;

/// M of the margins, on either side, with which a bidirectional network is evaluated: the loss of a trained
/// network falls no further with more (benches/README.md).
pub const READING_MARGIN: usize = 64;

/// Which state enters a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carry {
    /// Zero in every row.
    Zero,
    /// The state after the window before.
    Continue,
    /// The last row of that state: from this window on B is 1.
    ContinueLastRow,
}

/// One window, all `[T, B]` time-major. T and B may change from window to window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvaluationWindow {
    /// The ids that the network reads.
    pub inputs: Vec<u32>,
    /// The id after each input.
    pub targets: Vec<u32>,
    /// 1 where a document begins: the state that enters the time step must be zero. None: nowhere.
    pub resets: Option<Vec<u8>>,
    /// 0 where a target does not count: where a row has no document left and, when both sides are read, in
    /// a left margin and at the end of a document. None if all count.
    pub weights: Option<Vec<u8>>,
    /// T
    pub t: usize,
    /// B
    pub b: usize,
    /// Which state enters.
    pub carry: Carry,
    /// What stands on the right, for a network that reads from both sides. None for one direction.
    pub right: Option<RightContext>,
}

/// The windows of a text. The rows depend on the text alone, not on the settings of a training, so that
/// every evaluation of a text reads it in the same way.
#[derive(Clone, Debug)]
pub struct Evaluation {
    seq_len: usize,
    /// M of a network that reads from both sides. None for one direction.
    margin: Option<usize>,
    predictions: usize,
    rows: RowPlan,
}

#[derive(Clone, Debug)]
enum RowPlan {
    /// `batch` streams of `steps` predictions each, after `left` time steps that do not count. The
    /// predictions left over continue the last one.
    Streams { ids: IdSlice, batch: usize, steps: usize, left: usize },
    /// Which documents each row reads, and the most predictions a row has.
    Documents { set: DocumentSet, rows: Vec<Vec<u32>>, steps: usize },
}

/// B for that many targets: at most 64, and at least 256 targets in a row, so that few targets are
/// predicted without context.
fn rows_for(predictions: usize) -> usize {
    (predictions / 256).clamp(1, 64)
}

impl Evaluation {
    /// The text.
    pub fn text(&self) -> EncodedText {
        match &self.rows {
            RowPlan::Streams { ids, .. } => EncodedText::Stream(ids.clone()),
            RowPlan::Documents { set, .. } => EncodedText::Documents(set.clone()),
        }
    }

    /// The windows of `text`, of `seq_len` time steps.
    ///
    /// # Errors
    /// [`Error::Text`] for a text without a target; [`Error::Setting`] for a window of 0.
    pub fn new(text: EncodedText, seq_len: usize) -> Result<Self> {
        let predictions = text.predictions();
        ensure!(
            predictions > 0,
            Error::Text(format!(
                "the text has {} characters but an evaluation needs at least 2: give more text",
                text.len()
            ))
        );
        Self::build(text, seq_len, predictions, None)
    }

    /// The windows of `text` for a network that reads from both sides: every id but the first and the
    /// last of one text, or every id of documents but not their ends, is a target that counts once.
    /// Around it the network reads `margin` ids on each side at least, or all that there are.
    ///
    /// # Errors
    /// [`Error::Text`] for one text of fewer than 3 ids; [`Error::Setting`] for a window of 0 or too large
    /// a margin.
    pub fn bidirectional(text: EncodedText, seq_len: usize, margin: usize) -> Result<Self> {
        let predictions = match &text {
            EncodedText::Stream(ids) => ids.len().saturating_sub(2),
            EncodedText::Documents(set) => set.predictions() - set.len(),
        };
        ensure!(
            predictions > 0,
            Error::Text(format!(
                "the text has {} characters but an evaluation from both sides needs at least 3: give \
                 more text",
                text.len()
            ))
        );
        let evaluation = Self::build(text, seq_len, predictions, Some(margin))?;
        let (batch, steps) = evaluation.shape();
        ensure_margin(batch, seq_len.min(steps), margin)?;
        Ok(evaluation)
    }

    fn build(
        text: EncodedText,
        seq_len: usize,
        predictions: usize,
        margin: Option<usize>,
    ) -> Result<Self> {
        ensure!(seq_len > 0, Error::setting("seq_len", "`seq_len` is 0 but must be at least 1"));
        let batch = rows_for(predictions);
        let rows = match text {
            EncodedText::Stream(ids) => {
                let steps = predictions / batch;
                // No row begins further from the text's beginning than the last.
                let left = margin.unwrap_or(0).min((batch - 1) * steps);
                RowPlan::Streams { ids, batch, steps, left }
            }
            EncodedText::Documents(set) => {
                let (rows, steps) = fill_rows(&set, batch);
                RowPlan::Documents { set, rows, steps }
            }
        };
        Ok(Self { seq_len, margin, predictions, rows })
    }

    /// Targets in all windows together.
    pub fn predictions(&self) -> usize {
        self.predictions
    }

    /// B, and the time steps of all windows of that many rows.
    fn shape(&self) -> (usize, usize) {
        match &self.rows {
            RowPlan::Streams { batch, steps, left, .. } => (*batch, left + steps),
            RowPlan::Documents { rows, steps, .. } => (rows.len(), *steps),
        }
    }

    /// T·B of the largest window, without what stands on its right.
    pub fn largest_window(&self) -> usize {
        let (batch, steps) = self.shape();
        batch * self.seq_len.min(steps)
    }

    /// The windows in order, from a zero state.
    pub fn windows(&self) -> Box<dyn Iterator<Item = EvaluationWindow> + '_> {
        match &self.rows {
            RowPlan::Streams { ids, batch, steps, left } => {
                let done = batch * steps;
                let rest = self.predictions - done;
                let together = self.stretch(ids, 0, *batch, *steps, *left, Carry::Zero);
                let after = self.stretch(ids, done, 1, rest, 0, Carry::ContinueLastRow);
                Box::new(together.chain(after))
            }
            RowPlan::Documents { set, rows, steps } => {
                let mut positions = vec![(0, 0); rows.len()];
                Box::new(cuts(*steps, self.seq_len).map(move |(start, t)| {
                    let carry = if start == 0 { Carry::Zero } else { Carry::Continue };
                    documents_window(set, rows, &mut positions, t, carry, self.margin)
                }))
            }
        }
    }

    /// `batch` rows of `steps` predictions each, side by side from `start` on. Each begins `left` time steps
    /// earlier, which do not count; where that is before the text begins, they hold nothing of it.
    fn stretch<'a>(
        &self,
        ids: &'a IdSlice,
        start: usize,
        batch: usize,
        steps: usize,
        left: usize,
        first: Carry,
    ) -> impl Iterator<Item = EvaluationWindow> + use<'a> {
        let margin = self.margin;
        cuts(left + steps, self.seq_len).map(move |(from, t)| {
            let places = (0..batch).map(|row| Place::before(start + row * steps + from, left));
            let (inputs, targets) = ids.gather(places.clone(), batch, t);
            let mut resets = vec![0; t * batch];
            for (row, Place { lead, start }) in places.clone().enumerate() {
                // The text begins here, after time steps that hold nothing of it.
                if left > 0 && start == 0 && lead < t {
                    resets[lead * batch + row] = 1;
                }
            }
            let weights = (from < left)
                .then(|| (0..t * batch).map(|at| u8::from(from + at / batch >= left)).collect());
            EvaluationWindow {
                inputs,
                targets,
                resets: resets.contains(&1).then_some(resets),
                weights,
                t,
                b: batch,
                carry: if from == 0 { first } else { Carry::Continue },
                right: margin.map(|m| RightContext::of_text(ids, places, batch, t, m)),
            }
        })
    }
}

/// `steps` divided into windows of `seq_len`, the last one shorter: (start, length).
fn cuts(steps: usize, seq_len: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..steps).step_by(seq_len).map(move |start| (start, seq_len.min(steps - start)))
}

/// Assigns the documents to `batch` rows, the longest document first, each to the row that has the
/// fewest predictions so far: the rows become about equally long. Also returns the longest row's length.
fn fill_rows(set: &DocumentSet, batch: usize) -> (Vec<Vec<u32>>, usize) {
    use std::cmp::Reverse;
    let mut documents = set.members().to_vec();
    documents.sort_by_key(|&document| (Reverse(set.length(document)), document));
    let batch = batch.min(documents.len()).max(1);
    let mut rows = vec![Vec::new(); batch];
    let mut loads: std::collections::BinaryHeap<_> =
        (0..batch).map(|row| Reverse((0usize, row))).collect();
    for document in documents {
        if let Some(mut least) = loads.peek_mut() {
            let Reverse((load, row)) = &mut *least;
            *load += set.length(document) + 1;
            rows[*row].push(document);
        }
    }
    let steps = loads.into_iter().map(|Reverse((load, _))| load).max().unwrap_or_default();
    (rows, steps)
}

/// The next `t` predictions of every row; `positions` has each row's document and the place in it.
fn documents_window(
    set: &DocumentSet,
    rows: &[Vec<u32>],
    positions: &mut [(usize, usize)],
    t: usize,
    carry: Carry,
    margin: Option<usize>,
) -> EvaluationWindow {
    let b = rows.len();
    let mut window = EvaluationWindow {
        inputs: vec![set.end_of_document(); t * b],
        targets: vec![set.end_of_document(); t * b],
        resets: None,
        weights: None,
        t,
        b,
        carry,
        right: None,
    };
    let mut right = margin.map(|m| Unfinished::new(set.end_of_document(), t, m, b));
    let (mut resets, mut weights) = (vec![0; t * b], vec![0; t * b]);
    for (row, (documents, (nth, position))) in rows.iter().zip(positions).enumerate() {
        for at in (row..t * b).step_by(b) {
            let Some(&document) = documents.get(*nth) else {
                break;
            };
            let step = set.prediction(document, *position);
            window.inputs[at] = step.input;
            window.targets[at] = step.target;
            resets[at] = u8::from(step.begins);
            weights[at] = u8::from(right.is_none() || !step.ends);
            if let Some(right) = &mut right {
                right.read(at, set, document, *position);
            }
            (*nth, *position) = if step.ends { (*nth + 1, 0) } else { (*nth, *position + 1) };
        }
        if let (Some(right), Some(&document)) = (&mut right, documents.get(*nth)) {
            right.read_margin(row, set, document, *position);
        }
    }
    window.right = right.map(|right| right.finish(None));
    window.resets = Some(resets);
    window.weights = weights.contains(&0).then_some(weights);
    window
}

#[cfg(test)]
#[path = "evaluation_tests.rs"]
mod tests;
