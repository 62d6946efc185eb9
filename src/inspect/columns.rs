//! The features at each token of a text, as units are compared with them.

use crate::inspect::bins::{COUNT, Row, WIDTH};
use crate::inspect::features::{Feature, features};
use crate::inspect::reading::Reading;
use crate::inspect::scores::ranks;

/// A feature that holds at fewer positions of one half, or does not hold at fewer, is left out.
const LEAST_POSITIONS: usize = 20;

/// A feature that was left out.
#[derive(Clone, Debug)]
pub struct LeftOut {
    /// [`Feature::label`]
    pub label: &'static str,
    /// In words.
    pub why: &'static str,
}

/// A feature at each token.
pub(super) struct Column {
    pub(super) feature: Feature,
    /// Of the first half: 0 and 1, or ranks less their mean, divided by their number.
    pub(super) chosen_by: Vec<f32>,
    /// Of a count: the sum of their squares.
    pub(super) squares: f64,
}

/// The features at each token of the text, and those that say too little of one of its halves.
pub(super) fn columns(reading: &Reading, half: usize) -> (Vec<Column>, Vec<LeftOut>) {
    let (mut columns, mut left_out) = (Vec::new(), Vec::new());
    let characters = reading.characters();
    for mut feature in features(reading.text()) {
        feature.values = characters.iter().map(|&at| feature.values[at]).collect();
        let (first, second) = feature.values.split_at(half);
        let why = [first, second].into_iter().find_map(|values| too_few(values, feature.is_binary));
        if let Some(why) = why {
            left_out.push(LeftOut { label: feature.label, why });
            continue;
        }
        let chosen_by: Vec<f32> = match feature.is_binary {
            true => first.to_vec(),
            false => {
                let middle = (half + 1) as f64 / 2.0;
                let scaled = |rank: &f64| ((rank - middle) / half as f64) as f32;
                ranks(first).iter().map(scaled).collect()
            }
        };
        let squares = chosen_by.iter().map(|&rank| f64::from(rank).powi(2)).sum();
        columns.push(Column { feature, chosen_by, squares });
    }
    (columns, left_out)
}

/// Why these values of a feature say too little, if they do.
fn too_few(values: &[f32], is_binary: bool) -> Option<&'static str> {
    let common = values.first().copied().unwrap_or_default();
    let others = values.iter().filter(|value| **value != common).count();
    let rarer = others.min(values.len() - others);
    match is_binary {
        true if rarer < LEAST_POSITIONS => {
            Some("it holds, or does not hold, at too few characters")
        }
        false if others < LEAST_POSITIONS => Some("it hardly changes"),
        _ => None,
    }
}

/// The features of each token of the first half.
pub(super) fn rows(columns: &[Column], half: usize) -> Vec<Row> {
    let row = |at: usize| {
        let mut row = [0.0; WIDTH];
        for (value, column) in row.iter_mut().zip(columns) {
            *value = column.chosen_by[at];
        }
        row[COUNT] = 1.0;
        row
    };
    (0..half).map(row).collect()
}
