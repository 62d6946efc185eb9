//! For each feature of a text the units that follow it best, each by itself.
//!
//! The best of some thousand units looks good by luck alone. So the units are chosen on the first half of
//! the text, and scored on the second, which had no part in the choice.

use crate::error::{Error, Result, ensure};
use crate::inspect::columns::{Column, LeftOut, columns, rows};
use crate::inspect::features::Feature;
use crate::inspect::reading::Reading;
use crate::inspect::scores::{area_under_roc, f1, spearman};
use crate::inspect::units::{Choice, Units};
use crate::model::{Gate, Network};

/// So many tokens of a text are read at most.
pub const MOST_CHARACTERS: usize = 500_000;

/// Gates and states of units, L·G·H, of the largest network that is searched: it takes 3 GB of memory.
const MOST_UNITS: usize = 1 << 16;

/// What was found in a text.
pub struct Found {
    /// The best units of each feature, in the order of [`features`](crate::inspect::features): those of yes or
    /// no first, then the counts.
    pub units: Vec<FoundUnit>,
    /// Features that say too little of this text.
    pub left_out: Vec<LeftOut>,
    /// Tokens that were read: half of them to choose the units, half to score them.
    pub read: usize,
}

/// A feature, and a unit that follows it.
#[derive(Clone, Debug)]
pub struct FoundUnit {
    /// [`Feature::name`]
    pub feature: &'static str,
    /// [`Feature::label`]
    pub label: &'static str,
    /// Whether the feature holds or does not; else it is a count.
    pub is_binary: bool,
    /// Counted from 1.
    pub layer: usize,
    pub gate: Gate,
    /// Counted from 0.
    pub unit: usize,
    /// On the second half of the text. Of a feature of yes or no the area under the ROC curve: how likely the
    /// unit tells a position where the feature holds from one where it does not; 0.5 is chance. Of a count
    /// Spearman's rank correlation; 0 is chance. The sense (high or low) is that of the first half.
    pub score: f64,
    /// Positions of the second half where the feature holds; of a count, all of them.
    pub positions: usize,
    /// Whether the unit is high where the feature holds or is large.
    pub is_high: bool,
    /// Of a feature of yes or no: the value that tells it best on the first half, and how well the second half
    /// is told by it (F1, from 0 to 1).
    pub threshold: Option<(f32, f64)>,
}

/// Finds for each feature of the text the `most` units of any layer and gate that follow it best. Reads
/// [`MOST_CHARACTERS`] tokens at most. Takes 45 kB of memory for each gate
/// or state of a unit.
///
/// # Errors
/// [`Error::Setting`] for a network of more than 65,536 gates and states of units; [`Error::Logits`] for weights
/// so large that no number comes out; [`Error::Tensor`] for the text of another vocabulary.
pub fn find(network: &Network, reading: &Reading, most: usize) -> Result<Found> {
    let shortened;
    let reading = match reading.len() > MOST_CHARACTERS {
        true => {
            shortened = reading.beginning(MOST_CHARACTERS);
            &shortened
        }
        false => reading,
    };
    let config = network.config();
    let units = config.layers * Gate::of(config.cell).len() * config.hidden;
    ensure!(
        units <= MOST_UNITS,
        Error::setting(
            "find",
            format!(
                "`find` searches {MOST_UNITS} gates and states of units at most, but this model has \
                 {units}: look at one with `layer` and `gate`"
            )
        )
    );
    let half = reading.len() / 2;
    let (columns, left_out) = columns(reading, half);
    let mut found = Found { units: Vec::new(), left_out, read: reading.len() };
    if columns.is_empty() || most == 0 {
        return Ok(found);
    }
    let mut windows = reading.windows(network)?;
    let mut all = Units::new(network);
    let rows = rows(&columns, half);
    while let Some(window) = windows.read(half)? {
        all.add(&window, &rows)?;
    }
    let chosen = all.best(&columns, most);
    let mut values = vec![Vec::new(); chosen.len()];
    while let Some(window) = windows.read(reading.len())? {
        for (values, choice) in values.iter_mut().zip(&chosen) {
            let (layer, gate, unit) = choice.place;
            let size = network.config().hidden;
            values.extend(window.values(layer, gate)?.iter().skip(unit).step_by(size));
        }
    }
    found.units = chosen
        .iter()
        .zip(&values)
        .map(|(choice, values)| scored(choice, &columns[choice.column], values, half))
        .collect();
    Ok(found)
}

/// A chosen unit with its score by its values over the second half.
fn scored(choice: &Choice, column: &Column, values: &[f32], half: usize) -> FoundUnit {
    let Feature { name, label, is_binary, values: feature } = &column.feature;
    let (layer, gate, unit) = choice.place;
    let feature = &feature[half..];
    let holds: Vec<bool> = feature.iter().map(|value| *value > 0.0).collect();
    let score = match (is_binary, choice.is_high) {
        (true, true) => area_under_roc(values, &holds),
        (true, false) => 1.0 - area_under_roc(values, &holds),
        (false, true) => spearman(values, feature),
        (false, false) => -spearman(values, feature),
    };
    FoundUnit {
        feature: name,
        label,
        is_binary: *is_binary,
        layer: layer + 1,
        gate,
        unit,
        score,
        positions: match is_binary {
            true => holds.iter().filter(|holds| **holds).count(),
            false => feature.len(),
        },
        is_high: choice.is_high,
        threshold: choice
            .threshold
            .map(|threshold| (threshold, f1(values, &holds, threshold, choice.is_high))),
    }
}
