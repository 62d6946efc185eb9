//! Whole documents from each row, each as often as the others.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::data::documents::tests::set_of;
use crate::text::{Documents, Tokenizer, Units};

/// The documents that each row gives, cut at the resets, a `.` for each end.
fn read(packed: &mut PackedDocuments, tokenizer: &Tokenizer, windows: usize) -> Vec<Vec<String>> {
    let mut read = vec![Vec::new(); packed.batch()];
    for _ in 0..windows {
        let batch = packed.next_batch();
        let resets = batch.resets.unwrap();
        for at in 0..batch.t * batch.b {
            let row: &mut Vec<String> = &mut read[at % batch.b];
            if resets[at] == 1 {
                assert_eq!(Some(batch.inputs[at]), tokenizer.end_of_document());
                row.push(String::new());
            }
            let current = row.last_mut().unwrap();
            if Some(batch.targets[at]) == tokenizer.end_of_document() {
                current.push('.');
            } else {
                current.push_str(&tokenizer.decode(&batch.targets[at..=at]).unwrap());
            }
        }
    }
    read
}

#[test]
fn the_queue_gives_each_document_once_an_epoch() {
    let words = ["a", "bb", "ccc", "dddd", "eeeee"];
    let (set, tokenizer) = set_of(&words.join("\n"), Documents::Lines, Units::Chars);
    let mut packed = PackedDocuments::new(set, 1, 4, 3).unwrap();
    // 20 predictions an epoch, 5 windows of 4: three epochs, each a permutation.
    assert_eq!(packed.steps_per_epoch(), 5);
    let mut orders = Vec::new();
    for epoch in 0..3 {
        assert_eq!(packed.epoch(), epoch);
        let mut given = read(&mut packed, &tokenizer, 5).remove(0);
        orders.push(given.clone());
        given.sort();
        assert_eq!(given, words.map(|word| format!("{word}.")));
    }
    assert!(orders[0] != orders[1] || orders[1] != orders[2]);
}

#[test]
fn an_epoch_begins_when_its_predictions_are_given() {
    // 20 predictions, windows of 6: the second epoch begins inside the fourth window.
    let (set, _) = set_of("a\nbb\nccc\ndddd\neeeee", Documents::Lines, Units::Chars);
    let mut packed = PackedDocuments::new(set, 2, 3, 3).unwrap();
    assert_eq!(packed.steps_per_epoch(), 4);
    let (mut epochs, mut batches) = (Vec::new(), Vec::new());
    for _ in 0..11 {
        batches.push(packed.next_batch());
        epochs.push(packed.epoch());
    }
    assert_eq!(epochs, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3]);
    let fresh: Vec<usize> = (0..11).filter(|&at| batches[at].fresh_state).collect();
    assert_eq!(fresh, [0]);
    assert_eq!(batches[0].resets.as_ref().unwrap()[..2], [1, 1]);
}

proptest! {
    #[test]
    fn rows_give_whole_documents_each_about_as_often(
        lengths in prop::collection::vec(1usize..30, 2..20),
        batch in 1usize..6, seq_len in 1usize..20, seed: u64,
    ) {
        // Document n is the character n, as often as its length.
        let lines: Vec<String> = lengths.iter().zip('A'..)
            .map(|(&length, character)| character.to_string().repeat(length)).collect();
        let (set, tokenizer) = set_of(&lines.join("\n"), Documents::Lines, Units::Chars);
        let mut packed = PackedDocuments::new(set, batch, seq_len, seed).unwrap();
        let windows = packed.steps_per_epoch() * 3;
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for mut row in read(&mut packed, &tokenizer, windows) {
            row.pop(); // its last document may go on
            for given in row {
                *counts.entry(given).or_default() += 1;
            }
        }
        let known = |given: &str| lines.iter().any(|line| format!("{line}.") == given);
        prop_assert!(counts.keys().all(|given| known(given)));
        // Those still in a row apart, no document is an epoch ahead of another.
        let fewest = lines.iter().map(|line| counts.get(&format!("{line}.")).copied().unwrap_or(0));
        let most = counts.values().max().copied().unwrap_or(0);
        prop_assert!(most <= fewest.min().unwrap_or(0) + 1 + batch);
    }

    #[test]
    fn a_restored_cursor_continues_to_the_bit(
        steps in 0usize..40, batch in 1usize..9, seq_len in 1usize..9, seed: u64,
    ) {
        let (set, _) = set_of("Ada\nBo\nCarolina\nDee\nE\n", Documents::Lines, Units::Chars);
        let new = || PackedDocuments::new(set.clone(), batch, seq_len, seed).unwrap();
        let mut through = new();
        (0..steps).for_each(|_| drop(through.next_batch()));
        let saved = serde_json::to_string(&through.cursor()).unwrap();
        let mut resumed = new();
        resumed.restore(serde_json::from_str(&saved).unwrap()).unwrap();
        for _ in 0..20 {
            prop_assert_eq!(resumed.next_batch(), through.next_batch());
        }
    }
}

#[test]
fn a_cursor_of_other_documents_is_refused() {
    let (set, _) = set_of("Ada\nBo\n", Documents::Lines, Units::Chars);
    let mut packed = PackedDocuments::new(set, 2, 3, 0).unwrap();
    let good = packed.cursor();
    let mut refused = |change: &dyn Fn(&mut DocumentCursor)| {
        let mut cursor = good.clone();
        change(&mut cursor);
        assert!(packed.restore(cursor).unwrap_err().to_string().contains("resume with the corpus"));
    };
    refused(&|cursor| cursor.rows.truncate(1));
    refused(&|cursor| cursor.rows[0].document = 2);
    refused(&|cursor| cursor.rows[1].position = 4);
    refused(&|cursor| cursor.queue_position = 3);
    packed.restore(good).unwrap();
}

/// A cursor as a checkpoint of version 0.1 has it.
#[test]
fn the_names_on_disk_stay() {
    let json = r#"{"windows":3,"queue_epoch":1,"queue_position":2,
        "lanes":[{"document":0,"position":4},{"document":1,"position":0}]}"#;
    let cursor: DocumentCursor = serde_json::from_str(json).unwrap();
    let rows = vec![PackedRow { document: 0, position: 4 }, PackedRow { document: 1, position: 0 }];
    let expected = DocumentCursor { windows: 3, queue_epoch: 1, queue_position: 2, rows };
    assert_eq!(cursor, expected);
    let written: serde_json::Value = serde_json::to_value(&cursor).unwrap();
    assert_eq!(written, serde_json::from_str::<serde_json::Value>(json).unwrap());
}
