//! Results for tests, and that they come back from their file.

use super::*;
use crate::compare::conclusion::update;
use crate::data::DataConfig;
use crate::text::Corpus;

/// A curve of (seconds, validation loss).
pub(in crate::compare) fn curve(points: &[(f64, f64)]) -> Vec<Point> {
    let point = |(index, &(seconds, val_loss)): (usize, &(f64, f64))| Point {
        step: 10 * (index as u64 + 1),
        characters: 1000 * (index as u64 + 1),
        seconds,
        train_loss: val_loss,
        val_loss,
        lr: 0.01,
    };
    points.iter().enumerate().map(point).collect()
}

/// A finished cell of this speed and curve.
pub(in crate::compare) fn cell(cell: Cell, speed: u32, points: &[(f64, f64)]) -> CellResult {
    let curve = curve(points);
    CellResult {
        cell,
        hidden: 8,
        layers: 1,
        embedding: 4,
        parameters: 1234,
        state: State::Finished,
        note: None,
        step: 10 * curve.len() as u64,
        characters: 1000 * curve.len() as u64,
        seconds: curve.last().map_or(0.0, |point| point.seconds),
        chars_per_second: Some(f64::from(speed)),
        best: curve.iter().copied().min_by(|a, b| a.val_loss.total_cmp(&b.val_loss)),
        reached: Vec::new(),
        curve,
    }
}

/// The results of these cells.
pub(in crate::compare) fn results(cells: Vec<CellResult>) -> Results {
    let corpus = Corpus::from_text("tide", "The tide comes in.\n");
    let mut results = Results {
        format: FORMAT,
        chargru: "0.1.0".into(),
        machine: Machine {
            threads: 2,
            instructions: Some("avx2".into()),
            system: "linux x86_64".into(),
        },
        corpus: DataConfig::default().record(&corpus, Units::Chars).unwrap(),
        train_ids: 900,
        validation_ids: 100,
        parameters: None,
        training: TrainConfig::default(),
        losses: Vec::new(),
        losses_given: false,
        cells,
        conclusion: Vec::new(),
    };
    update(&mut results);
    results
}

#[test]
fn results_come_back_from_their_json_as_they_were() {
    let results = results(vec![
        cell(Cell::Gru, 1_200, &[(10.0, 3.0), (80.123_456_789, 1.5)]),
        cell(Cell::MinGru, 1_000, &[]),
    ]);
    let json = serde_json::to_vec(&results).unwrap();
    assert_eq!(serde_json::from_slice::<Results>(&json).unwrap(), results);
}
