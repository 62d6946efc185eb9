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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::{Corpus, Documents, Ids, Tokenizer, VocabularyOptions};

    /// Follows the windows as a model would, with the history of inputs since the last zero state
    /// as its state; gives (history, target) of every prediction that counts.
    fn follow(evaluation: &Evaluation) -> Vec<(Vec<u32>, u32)> {
        let mut states: Vec<Vec<u32>> = Vec::new();
        let mut predicted = Vec::new();
        for window in evaluation.windows() {
            states = match window.carry {
                Carry::Zero => vec![Vec::new(); window.b],
                Carry::Continue => states,
                Carry::ContinueLastRow => vec![states.pop().unwrap()],
            };
            assert_eq!(states.len(), window.b);
            assert_eq!(window.inputs.len(), window.t * window.b);
            for at in 0..window.inputs.len() {
                let state = &mut states[at % window.b];
                if window.resets.as_ref().is_some_and(|resets| resets[at] == 1) {
                    state.clear();
                }
                state.push(window.inputs[at]);
                if window.weights.as_ref().is_none_or(|weights| weights[at] == 1) {
                    predicted.push((state.clone(), window.targets[at]));
                }
            }
        }
        assert_eq!(evaluation.predictions(), predicted.len());
        predicted
    }

    #[test]
    fn the_rest_continues_from_the_last_stream() {
        // 1003 targets: 3 streams of 334, and one target more.
        let text = EncodedText::Stream(IdSlice::new(Ids::U32((0..1004).collect())));
        let evaluation = Evaluation::new(text, 100).unwrap();
        let shapes: Vec<_> = evaluation.windows().map(|w| (w.t, w.b, w.carry)).collect();
        let next = (100, 3, Carry::Continue);
        let first = (100, 3, Carry::Zero);
        let rest = (1, 1, Carry::ContinueLastRow);
        assert_eq!(shapes, [first, next, next, (34, 3, Carry::Continue), rest]);
        let last = follow(&evaluation).pop().unwrap();
        assert_eq!(last, ((668..=1002).collect(), 1003));
    }

    #[test]
    fn rows_depend_on_the_number_of_targets_alone() {
        let rows: Vec<_> = [1, 256, 511, 512, 16_384, 1 << 30].map(rows_for).to_vec();
        assert_eq!(rows, [1, 1, 1, 2, 64, 64]);
    }

    #[test]
    fn nothing_to_predict_is_an_error() {
        let text = |ids| EncodedText::Stream(IdSlice::new(Ids::U8(ids)));
        for ids in [vec![], vec![1]] {
            let count = ids.len();
            let error = Evaluation::new(text(ids), 8).unwrap_err().to_string();
            assert!(error.contains(&format!("has {count} characters")), "{error}");
            assert!(error.contains("at least 2"), "{error}");
        }
        let error = Evaluation::new(text(vec![1, 2]), 0).unwrap_err();
        assert!(matches!(error, Error::Setting { name: "seq_len", .. }), "{error:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_target_is_predicted_once_after_what_precedes_it(
            length in 2u32..1500, seq_len in 1usize..80,
        ) {
            let text = EncodedText::Stream(IdSlice::new(Ids::U32((0..length).collect())));
            let mut predicted = follow(&Evaluation::new(text, seq_len).unwrap());
            for (history, target) in &predicted {
                prop_assert_eq!(history.last().unwrap() + 1, *target);
                prop_assert!(history.windows(2).all(|pair| pair[0] + 1 == pair[1]));
            }
            predicted.sort_by_key(|(_, target)| *target);
            prop_assert!(predicted.iter().map(|(_, target)| *target).eq(1..length));
        }

        #[test]
        fn every_document_is_predicted_whole_and_once(
            lengths in prop::collection::vec(1usize..60, 2..60), seq_len in 1usize..50,
        ) {
            let lines: Vec<String> = lengths.iter().zip('A'..)
                .map(|(&length, character)| character.to_string().repeat(length)).collect();
            let options = VocabularyOptions { documents: Documents::Lines, ..Default::default() };
            let corpus = Corpus::from_text("x", lines.join("\n"));
            let (tokenizer, _) = Tokenizer::build(corpus.text(), &options).unwrap();
            let text = EncodedText::new(corpus, &tokenizer, Documents::Lines).unwrap();
            let end = tokenizer.end_of_document().unwrap();
            let mut predicted = follow(&Evaluation::new(text.clone(), seq_len).unwrap());
            let mut expected = Vec::new();
            for line in &lines {
                let mut history = vec![end];
                for id in tokenizer.encode(line).unwrap().into_iter().chain([end]) {
                    expected.push((history.clone(), id));
                    history.push(id);
                }
            }
            predicted.sort();
            expected.sort();
            prop_assert_eq!(predicted, expected);
        }
    }
}
