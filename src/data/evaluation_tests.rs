//! Every target is predicted once, after what precedes it.

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
