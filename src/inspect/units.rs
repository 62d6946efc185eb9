//! All units of a network over the first half of a text, and which follow its features best.

use std::sync::{Mutex, PoisonError};

use crate::error::Result;
use crate::inspect::bins::{Row, UnitBins};
use crate::inspect::columns::{Column, rows};
use crate::inspect::reading::Window;
use crate::model::{Gate, Network};
use crate::runtime::section;

/// Tokens whose values decide where the bins of a unit begin and end.
const SAMPLE: usize = 4096;

/// Units that one thread computes.
const GROUP: usize = 32;

/// A unit that was chosen for a feature on the first half of the text.
pub(super) struct Choice {
    /// Which of the columns.
    pub(super) column: usize,
    /// Layer and unit counted from 0.
    pub(super) place: (usize, Gate, usize),
    pub(super) is_high: bool,
    pub(super) threshold: Option<f32>,
}

/// Some units of one layer and gate.
struct Group {
    layer: usize,
    gate: Gate,
    first: usize,
    /// The first values of each, until there are enough for its bins.
    samples: Vec<Vec<f32>>,
    bins: Vec<UnitBins>,
}

/// All units of a network over the first half of a text.
pub(super) struct Units {
    size: usize,
    kinds: Vec<(usize, Gate)>,
    groups: Vec<Mutex<Group>>,
}

impl Units {
    pub(super) fn new(network: &Network) -> Self {
        let config = network.config();
        let of_layer = |layer| Gate::of(config.cell).iter().map(move |&gate| (layer, gate));
        let kinds: Vec<(usize, Gate)> = (0..config.layers).flat_map(of_layer).collect();
        let mut groups = Vec::new();
        for &(layer, gate) in &kinds {
            for first in (0..config.hidden).step_by(GROUP) {
                let samples = vec![Vec::new(); GROUP.min(config.hidden - first)];
                let group = Group { layer, gate, first, samples, bins: Vec::new() };
                groups.push(Mutex::new(group));
            }
        }
        Self { size: config.hidden, kinds, groups }
    }

    pub(super) fn add(&mut self, window: &Window, rows: &[Row]) -> Result<()> {
        let values: Vec<Vec<f32>> = self
            .kinds
            .iter()
            .map(|&(layer, gate)| window.values(layer, gate))
            .collect::<Result<_>>()?;
        section(self.groups.len(), |index| {
            let mut group = self.groups[index].lock().unwrap_or_else(PoisonError::into_inner);
            let kind = (group.layer, group.gate);
            if let Some(of_kind) = self.kinds.iter().position(|one| *one == kind) {
                group.add(&values[of_kind], self.size, window.tokens.end, rows);
            }
        });
        Ok(())
    }

    /// For each feature the units that follow it best.
    pub(super) fn best(self, columns: &[Column], most: usize) -> Vec<Choice> {
        let mut groups: Vec<Group> = self
            .groups
            .into_iter()
            .map(|group| group.into_inner().unwrap_or_else(PoisonError::into_inner))
            .collect();
        let rows = rows(columns, columns.first().map_or(0, |column| column.chosen_by.len()));
        // A short text ends before the sample is full.
        groups.iter_mut().for_each(|group| group.fill(&rows));
        let mut chosen = Vec::new();
        for (index, column) in columns.iter().enumerate() {
            let score = |bins: &UnitBins| match column.feature.is_binary {
                true => bins.separation(index),
                false => bins.correlation(index, column.squares),
            };
            let mut scores = Vec::new();
            for group in &groups {
                for (unit, bins) in group.bins.iter().enumerate() {
                    let place = (group.layer, group.gate, group.first + unit);
                    scores.push((score(bins), place, bins));
                }
            }
            scores.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs()));
            for (score, place, bins) in scores.into_iter().take(most) {
                let is_high = score >= 0.0;
                let threshold = column.feature.is_binary.then(|| bins.threshold(index, is_high));
                chosen.push(Choice { column: index, place, is_high, threshold });
            }
        }
        chosen
    }
}

impl Group {
    /// Adds values `[T, H]` of all units of its layer and gate, up to token `end`.
    fn add(&mut self, values: &[f32], size: usize, end: usize, rows: &[Row]) {
        let start = end - values.len() / size;
        // Unit by unit, which the loops below read in order.
        let count = self.samples.len().max(self.bins.len());
        let mut columns = vec![Vec::with_capacity(end - start); count];
        for row in values.chunks_exact(size) {
            for (column, &value) in columns.iter_mut().zip(&row[self.first..]) {
                column.push(value);
            }
        }
        if self.bins.is_empty() {
            for (sample, column) in self.samples.iter_mut().zip(columns) {
                sample.extend(column);
            }
            if end >= SAMPLE {
                self.fill(rows);
            }
            return;
        }
        for (bins, column) in self.bins.iter_mut().zip(columns) {
            bins.add(&column, &rows[start..end]);
        }
    }

    /// Makes the bins of the sample, and puts it into them.
    fn fill(&mut self, rows: &[Row]) {
        if !self.bins.is_empty() {
            return;
        }
        for sample in std::mem::take(&mut self.samples) {
            let mut bins = UnitBins::new(sample.clone());
            bins.add(&sample, rows);
            self.bins.push(bins);
        }
    }
}
