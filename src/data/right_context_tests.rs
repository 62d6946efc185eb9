//! Windows that are read from both sides, followed as a network would: what it has read on the left and
//! on the right stands for its two states.

use proptest::prelude::*;

use super::*;
use crate::data::{
    Batch, Batches, Carry, DocumentSet, EncodedText, Evaluation, EvaluationWindow, IdSlice,
    PackedDocuments, Streams, fitting_batch,
};
use crate::text::{Corpus, Documents, Ids, Tokenizer, VocabularyOptions};

/// What is read before a target is predicted, in the order of the text.
#[derive(Clone, Debug)]
struct Seen {
    left: Vec<u32>,
    target: u32,
    right: Vec<u32>,
    /// The time steps from the target's to the end of the margin.
    to_come: usize,
    scored: bool,
}

/// The inputs since the last zero state at each of `[T, B]`; `states` has those of the B rows.
fn from_the_left(inputs: &[u32], resets: Option<&[u8]>, states: &mut [Vec<u32>]) -> Vec<Vec<u32>> {
    let b = states.len();
    let step = |(at, &id)| {
        let state: &mut Vec<u32> = &mut states[at % b];
        if resets.is_some_and(|resets| resets[at] == 1) {
            state.clear();
        }
        state.push(id);
        state.clone()
    };
    inputs.iter().enumerate().map(step).collect()
}

/// The same from the right: the margin and then the window, each from its end.
fn from_the_right(right: &RightContext, t: usize, b: usize) -> Vec<Vec<u32>> {
    assert_eq!((right.ids.len(), right.margin.len()), (t * b, right.m * b));
    let flags = |flags: &Option<Vec<u8>>, steps| flags.clone().unwrap_or(vec![0; steps * b]);
    let ids = [&right.ids[..], &right.margin[..]].concat();
    let resets = [flags(&right.resets, t), flags(&right.margin_resets, right.m)].concat();
    assert_eq!(ids.len(), resets.len());
    let mut states = vec![Vec::new(); b];
    let mut seen = vec![Vec::new(); ids.len()];
    for at in (0..ids.len()).rev() {
        let state = &mut states[at % b];
        if resets[at] == 1 {
            state.clear();
        }
        state.insert(0, ids[at]);
        seen[at] = state.clone();
    }
    seen.truncate(t * b);
    seen
}

fn zip(left: Vec<Vec<u32>>, targets: &[u32], right: &RightContext, b: usize) -> Vec<Seen> {
    let t = targets.len() / b;
    let rights = from_the_right(right, t, b);
    let seen = left.into_iter().zip(targets).zip(rights).enumerate();
    seen.map(|(at, ((left, &target), seen))| Seen {
        left,
        target,
        right: seen,
        to_come: t - at / b + right.m,
        scored: right.scored.as_ref().is_none_or(|scored| scored[at] == 1),
    })
    .collect()
}

/// All that the next `windows` windows of a training predict.
fn follow(next: &mut dyn FnMut() -> Batch, windows: usize) -> Vec<Seen> {
    let mut states = Vec::new();
    let mut all = Vec::new();
    for _ in 0..windows {
        let batch = next();
        if batch.fresh_state {
            states = vec![Vec::new(); batch.b];
        }
        let left = from_the_left(&batch.inputs, batch.resets.as_deref(), &mut states);
        all.extend(zip(left, &batch.targets, &batch.right.unwrap(), batch.b));
    }
    all
}

/// What an evaluation predicts and counts.
fn follow_evaluation(evaluation: &Evaluation) -> Vec<Seen> {
    let mut states: Vec<Vec<u32>> = Vec::new();
    let mut all = Vec::new();
    let mut largest = 0;
    for window in evaluation.windows() {
        states = match window.carry {
            Carry::Zero => vec![Vec::new(); window.b],
            Carry::Continue => states,
            Carry::ContinueLastRow => vec![states.pop().unwrap()],
        };
        let EvaluationWindow { inputs, targets, resets, weights, t, b, right, .. } = window;
        assert_eq!((inputs.len(), targets.len(), states.len()), (t * b, t * b, b));
        let right = right.unwrap();
        assert!(right.scored.is_none());
        let left = from_the_left(&inputs, resets.as_deref(), &mut states);
        for (at, seen) in zip(left, &targets, &right, b).into_iter().enumerate() {
            if weights.as_ref().is_none_or(|weights| weights[at] == 1) {
                all.push(seen);
            }
        }
        largest = largest.max(t * b);
    }
    assert_eq!(evaluation.predictions(), all.len());
    assert_eq!(evaluation.largest_window(), largest);
    all
}

/// `length` ids, each its own position, with others before and behind that must not be read.
fn part(length: u32) -> IdSlice {
    let all =
        IdSlice::new(Ids::U32((0..50).map(|_| u32::MAX).chain(0..length).chain([7; 50]).collect()));
    all.split_at(50).1.split_at(length as usize).0
}

/// Documents of these lengths in which no character comes twice, their ids with the end of the document
/// behind each, and that end.
fn documents(lengths: &[usize]) -> (DocumentSet, Vec<Vec<u32>>, u32) {
    let mut characters = '\u{4e00}'..;
    let lines: Vec<String> =
        lengths.iter().map(|&length| characters.by_ref().take(length).collect()).collect();
    let options = VocabularyOptions { documents: Documents::Lines, ..Default::default() };
    let corpus = Corpus::from_text("x", lines.join("\n"));
    let (tokenizer, _) = Tokenizer::build(corpus.text(), &options).unwrap();
    let end = tokenizer.end_of_document().unwrap();
    let ids = lines.iter().map(|line| [tokenizer.encode(line).unwrap(), vec![end]].concat());
    (DocumentSet::new(corpus, &tokenizer, Documents::Lines).unwrap(), ids.collect(), end)
}

/// That a target of documents sees all of its document on the left, and on the right `right` of what
/// there is.
fn check_document(seen: &Seen, documents: &[Vec<u32>], end: u32, right: impl Fn(usize) -> usize) {
    assert_eq!(seen.left[0], end);
    let known = [&seen.left[1..], &[seen.target]].concat();
    let document = documents.iter().find(|document| document.starts_with(&known)).unwrap();
    let rest = &document[known.len()..];
    assert_eq!(seen.right, rest[..right(rest.len())]);
}

#[test]
fn a_text_is_read_from_both_sides_of_each_target() {
    // 2 rows of 3 targets, 1 … 6 of 8 ids: the last id is none, and the margin ends with it.
    let mut streams = Streams::bidirectional(part(8), 2, 3, 3, 0).unwrap();
    let batch = streams.next_batch();
    assert_eq!(batch.inputs, [0, 3, 1, 4, 2, 5]);
    assert_eq!(batch.targets, [1, 4, 2, 5, 3, 6]);
    let right = batch.right.unwrap();
    assert_eq!(right.ids, [2, 5, 3, 6, 4, 7]);
    assert_eq!(right.resets, Some(vec![0, 0, 0, 0, 0, 1]));
    assert_eq!((right.margin, right.m), (vec![5, 0, 6, 0, 7, 0], 3));
    assert_eq!((right.margin_resets, right.scored), (None, None));
}

#[test]
fn a_document_is_read_from_both_sides_up_to_its_end() {
    let (set, ids, end) = documents(&[3]);
    let [a, b, c] = ids[0][..3] else { panic!() };
    let mut packed = PackedDocuments::bidirectional(set, 1, 2, 2, 0).unwrap();
    let batch = packed.next_batch();
    assert_eq!((batch.inputs, batch.targets), (vec![end, a], vec![a, b]));
    let right = batch.right.unwrap();
    assert_eq!((right.ids, right.resets, right.scored), (vec![b, c], None, None));
    assert_eq!((right.margin, right.margin_resets), (vec![end, end], Some(vec![1, 0])));
    let batch = packed.next_batch();
    assert_eq!((batch.inputs, batch.targets), (vec![b, c], vec![c, end]));
    let right = batch.right.unwrap();
    assert_eq!((right.ids, right.resets), (vec![end, end], Some(vec![1, 1])));
    assert_eq!((right.scored, right.margin_resets), (Some(vec![1, 0]), None));
}

#[test]
fn too_short_a_text_for_both_sides_says_by_how_much() {
    let text = |ids| EncodedText::Stream(part(ids));
    let error = Batches::bidirectional(&text(129), 64, 128, 0, 1).unwrap_err().to_string();
    assert!(error.contains("has 129 characters to train on but one window needs 130"), "{error}");
    assert_eq!(Batches::bidirectional(&text(257), 64, 128, 0, 1).unwrap().batch(), 1);
    assert_eq!(Batches::bidirectional(&text(258), 64, 128, 0, 1).unwrap().batch(), 2);
    for ids in 0..3 {
        let error = Evaluation::bidirectional(text(ids), 8, 4).unwrap_err().to_string();
        assert!(error.contains(&format!("has {ids} characters")), "{error}");
        assert!(error.contains("at least 3"), "{error}");
    }
    assert_eq!(Evaluation::bidirectional(text(3), 8, 4).unwrap().predictions(), 1);
    let error = Evaluation::bidirectional(text(3), 0, 4).unwrap_err();
    assert!(matches!(error, Error::Setting { name: "seq_len", .. }), "{error:?}");
}

#[test]
fn a_margin_that_no_memory_holds_is_refused() {
    let names = EncodedText::Documents(documents(&[3, 2]).0);
    for text in [EncodedText::Stream(part(9)), names] {
        for margin in [MAX_IDS, usize::MAX] {
            let training = Batches::bidirectional(&text, 2, 3, margin, 1).unwrap_err();
            let evaluation = Evaluation::bidirectional(text.clone(), 3, margin).unwrap_err();
            for error in [training, evaluation] {
                assert!(error.to_string().contains(&format!("`margin` is {margin}")), "{error}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_target_of_a_text_sees_what_is_left_and_right_of_it(
        length in 3u32..300, batch in 1usize..9, seq_len in 1usize..40, margin in 0usize..50,
        seed: u64,
    ) {
        prop_assume!(length as usize >= seq_len + 2);
        let text = EncodedText::Stream(part(length));
        let mut batches = Batches::bidirectional(&text, batch, seq_len, margin, seed).unwrap();
        prop_assert_eq!(batches.batch(), fitting_batch(length as usize - 1, batch, seq_len).unwrap());
        let windows = batches.steps_per_epoch();
        for epoch in 0..3 {
            prop_assert_eq!(batches.epoch(), epoch);
            let mut all = follow(&mut || batches.next_batch(), windows);
            for seen in &all {
                prop_assert!(seen.scored);
                let begin = seen.left[0];
                prop_assert!(seen.left.iter().copied().eq(begin..seen.target));
                prop_assert!(
                    seen.right.iter().copied().eq((seen.target + 1..length).take(seen.to_come))
                );
            }
            all.sort_by_key(|seen| seen.target);
            prop_assert!(all.windows(2).all(|pair| pair[0].target + 1 == pair[1].target));
            let left_over = length as usize - 2 - all.len();
            prop_assert!(left_over < batches.batch() * seq_len);
        }
    }

    #[test]
    fn every_target_of_documents_sees_its_document_alone(
        lengths in prop::collection::vec(1usize..30, 2..12),
        batch in 1usize..6, seq_len in 1usize..20, margin in 0usize..40, seed: u64,
    ) {
        let (set, ids, end) = documents(&lengths);
        let mut packed =
            PackedDocuments::bidirectional(set.clone(), batch, seq_len, margin, seed).unwrap();
        let windows = packed.steps_per_epoch() * 3;
        let all = follow(&mut || packed.next_batch(), windows);
        prop_assert_eq!(all.len(), windows * batch * seq_len);
        for seen in all {
            prop_assert_eq!(seen.scored, seen.target != end);
            if seen.scored {
                check_document(&seen, &ids, end, |rest| rest.min(seen.to_come));
            }
        }
    }

    #[test]
    fn what_is_read_from_the_left_of_documents_is_as_in_one_direction(
        lengths in prop::collection::vec(1usize..30, 2..12),
        batch in 1usize..6, seq_len in 1usize..20, margin in 0usize..40, seed: u64,
    ) {
        let (set, ..) = documents(&lengths);
        let mut one = PackedDocuments::new(set.clone(), batch, seq_len, seed).unwrap();
        let mut both = PackedDocuments::bidirectional(set, batch, seq_len, margin, seed).unwrap();
        for _ in 0..20 {
            prop_assert_eq!(Batch { right: None, ..both.next_batch() }, one.next_batch());
            prop_assert_eq!(both.cursor(), one.cursor());
        }
    }

    #[test]
    fn a_restored_cursor_gives_the_same_context_to_the_bit(
        steps in 0usize..40, batch in 1usize..6, seq_len in 1usize..9, margin in 0usize..20,
        seed: u64,
    ) {
        let names = EncodedText::Documents(documents(&[3, 1, 8, 4, 30]).0);
        for text in [EncodedText::Stream(part(200)), names] {
            let new = || Batches::bidirectional(&text, batch, seq_len, margin, seed).unwrap();
            let mut through = new();
            (0..steps).for_each(|_| drop(through.next_batch()));
            let saved = serde_json::to_string(&through.cursor()).unwrap();
            let mut resumed = new();
            resumed.restore(serde_json::from_str(&saved).unwrap()).unwrap();
            for _ in 0..15 {
                prop_assert_eq!(resumed.next_batch(), through.next_batch());
            }
        }
    }

    #[test]
    fn an_evaluation_counts_every_id_once_with_context_on_both_sides(
        length in 3u32..1500, seq_len in 1usize..150, margin in 0usize..600,
    ) {
        let text = EncodedText::Stream(part(length));
        let mut all = follow_evaluation(&Evaluation::bidirectional(text, seq_len, margin).unwrap());
        for Seen { left, target, right, .. } in &all {
            prop_assert!(left.iter().copied().eq(left[0]..*target));
            prop_assert!(left.len() >= (*target as usize).min(margin + 1));
            let rest = target + 1..length;
            prop_assert!(right.len() > margin.min(rest.len() - 1));
            prop_assert!(right.iter().copied().eq(rest.take(right.len())));
        }
        all.sort_by_key(|seen| seen.target);
        prop_assert!(all.iter().map(|seen| seen.target).eq(1..length - 1));
    }

    #[test]
    fn an_evaluation_counts_every_id_of_documents_once_and_no_end(
        lengths in prop::collection::vec(1usize..60, 2..40), seq_len in 1usize..50,
        margin in 0usize..70,
    ) {
        let (set, ids, end) = documents(&lengths);
        let text = EncodedText::Documents(set);
        let all = follow_evaluation(&Evaluation::bidirectional(text, seq_len, margin).unwrap());
        for seen in &all {
            check_document(seen, &ids, end, |rest| rest.min(seen.to_come));
        }
        let mut targets: Vec<u32> = all.iter().map(|seen| seen.target).collect();
        let mut expected: Vec<u32> = ids.concat();
        expected.retain(|&id| id != end);
        targets.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(targets, expected);
    }
}
