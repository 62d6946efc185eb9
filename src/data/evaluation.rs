//! Divides a text into windows that predict every target exactly once. Knows nothing of losses.

use crate::data::documents::DocumentSet;
use crate::data::encoded::EncodedText;
use crate::data::ids::IdSlice;
use crate::error::{Error, Result, ensure};

/// T of the windows in which a text is evaluated. A longer window is not faster and takes more memory.
pub const READING_WINDOW: usize = 128;

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
    /// 1 where a document begins: the state that enters the time step must be zero. None for one text.
    pub resets: Option<Vec<u8>>,
    /// 0 where a row has no document left, so that its target does not count. None if all count.
    pub weights: Option<Vec<u8>>,
    /// T
    pub t: usize,
    /// B
    pub b: usize,
    /// Which state enters.
    pub carry: Carry,
}

/// The windows of a text. The rows depend on the text alone, not on the settings of a training, so that
/// every evaluation of a text reads it in the same way.
#[derive(Clone, Debug)]
pub struct Evaluation {
    seq_len: usize,
    predictions: usize,
    rows: RowPlan,
}

#[derive(Clone, Debug)]
enum RowPlan {
    /// `batch` streams of `steps` predictions each. The predictions left over continue the last one.
    Streams { ids: IdSlice, batch: usize, steps: usize },
    /// Which documents each row reads, and the most predictions a row has.
    Documents { set: DocumentSet, rows: Vec<Vec<u32>>, steps: usize },
}

/// B for that many targets: at most 64, and at least 256 targets in a row, so that few targets are
/// predicted without context.
fn rows_for(predictions: usize) -> usize {
    (predictions / 256).clamp(1, 64)
}

impl Evaluation {
    /// The windows of `text`, of `seq_len` time steps.
    ///
    /// # Errors
    /// [`Error::Text`] for a text without a target; [`Error::Setting`] for a window of 0.
    pub fn new(text: EncodedText, seq_len: usize) -> Result<Self> {
        ensure!(seq_len > 0, Error::setting("seq_len", "`seq_len` is 0 but must be at least 1"));
        let predictions = text.predictions();
        ensure!(
            predictions > 0,
            Error::Text(format!(
                "the text has {} characters but an evaluation needs at least 2: give more text",
                text.len()
            ))
        );
        let batch = rows_for(predictions);
        let rows = match text {
            EncodedText::Stream(ids) => RowPlan::Streams { ids, batch, steps: predictions / batch },
            EncodedText::Documents(set) => {
                let (rows, steps) = fill_rows(&set, batch);
                RowPlan::Documents { set, rows, steps }
            }
        };
        Ok(Self { seq_len, predictions, rows })
    }

    /// Targets in all windows together.
    pub fn predictions(&self) -> usize {
        self.predictions
    }

    /// T·B of the largest window.
    pub fn largest_window(&self) -> usize {
        let (batch, steps) = match &self.rows {
            RowPlan::Streams { batch, steps, .. } => (*batch, *steps),
            RowPlan::Documents { rows, steps, .. } => (rows.len(), *steps),
        };
        batch * self.seq_len.min(steps)
    }

    /// The windows in order, from a zero state.
    pub fn windows(&self) -> Box<dyn Iterator<Item = EvaluationWindow> + '_> {
        match &self.rows {
            RowPlan::Streams { ids, batch, steps } => {
                let rest = self.predictions - batch * steps;
                let together = self.stretch(ids, 0, *batch, *steps, Carry::Zero);
                Box::new(together.chain(self.stretch(
                    ids,
                    batch * steps,
                    1,
                    rest,
                    Carry::ContinueLastRow,
                )))
            }
            RowPlan::Documents { set, rows, steps } => {
                let mut positions = vec![(0, 0); rows.len()];
                Box::new(cuts(*steps, self.seq_len).map(move |(start, t)| {
                    let carry = if start == 0 { Carry::Zero } else { Carry::Continue };
                    documents_window(set, rows, &mut positions, t, carry)
                }))
            }
        }
    }

    /// `batch` rows of `steps` predictions each, side by side from `start` on.
    fn stretch<'a>(
        &self,
        ids: &'a IdSlice,
        start: usize,
        batch: usize,
        steps: usize,
        first: Carry,
    ) -> impl Iterator<Item = EvaluationWindow> + use<'a> {
        cuts(steps, self.seq_len).map(move |(from, t)| {
            let starts = (0..batch).map(|row| start + row * steps + from);
            let (inputs, targets) = ids.gather(starts, batch, t);
            let carry = if from == 0 { first } else { Carry::Continue };
            EvaluationWindow { inputs, targets, resets: None, weights: None, t, b: batch, carry }
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
    };
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
            weights[at] = 1;
            (*nth, *position) = if step.ends { (*nth + 1, 0) } else { (*nth, *position + 1) };
        }
    }
    window.resets = Some(resets);
    window.weights = weights.contains(&0).then_some(weights);
    window
}

#[cfg(test)]
#[path = "evaluation_tests.rs"]
mod tests;
