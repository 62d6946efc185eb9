//! Which layers and gates are shown, and how much of the text.

use anyhow::Result;

use crate::cli::args::wrong;
use crate::cli::output::{grouped, log};
use crate::inspect::Reading;
use crate::model::{Gate, ModelConfig};

/// Numbers in JSON, and its tokens.
const JSON_VALUES: usize = 1 << 22;
const JSON_CHARACTERS: usize = 4096;
const LEAST_JSON_CHARACTERS: usize = 64;
/// Numbers in a page, each a byte, and its tokens.
const PAGE_VALUES: usize = 3 << 20;
const PAGE_CHARACTERS: usize = 4096;
const LEAST_PAGE_CHARACTERS: usize = 256;
/// Numbers in a safetensors file, and its tokens.
const TENSOR_VALUES: usize = 1 << 27;
const TENSOR_CHARACTERS: usize = 1_000_000;

/// The layers and gates that the arguments name.
pub(super) struct Selection {
    pub(super) layers: usize,
    pub(super) gates: &'static [Gate],
    units: usize,
    layer: Option<usize>,
    gate: Option<Gate>,
}

impl Selection {
    pub(super) fn new(
        config: &ModelConfig,
        layer: Option<usize>,
        gate: Option<&str>,
        unit: Option<usize>,
    ) -> Result<Self> {
        let gates = Gate::of(config.cell);
        if let Some(layer) = layer.filter(|layer| !(1..=config.layers).contains(layer)) {
            return Err(wrong(format!(
                "--layer is {layer}: the model's layers are 1 to {}",
                config.layers
            )));
        }
        if let Some(unit) = unit.filter(|unit| *unit >= config.hidden) {
            let last = config.hidden - 1;
            return Err(wrong(format!("--unit is {unit}: the layer's units are 0 to {last}")));
        }
        let gate = match gate {
            None => None,
            Some(name) => Some(Gate::named(config.cell, name).ok_or_else(|| {
                let names: Vec<&str> = gates.iter().map(|gate| gate.name()).collect();
                let names = names.join(", ");
                wrong(format!("--gate is '{name}': a layer of {} has {names}", config.cell))
            })?),
        };
        Ok(Self { layers: config.layers, gates, units: config.hidden, layer, gate })
    }

    /// The layer and gate of a format that shows one.
    pub(super) fn one(&self) -> (usize, Gate) {
        (self.layer.unwrap_or(self.layers), self.gate.unwrap_or(Gate::H))
    }

    /// The layers and gates of a format that shows several.
    pub(super) fn places(&self) -> Vec<(usize, Gate)> {
        let layers = (1..=self.layers).filter(|layer| self.layer.is_none_or(|only| only == *layer));
        let gates = || self.gates.iter().filter(|gate| self.gate.is_none_or(|only| only == **gate));
        layers.flat_map(|layer| gates().map(move |&gate| (layer, gate))).collect()
    }

    pub(super) fn shorten_to_json(&self, reading: &Reading) -> Reading {
        let most = (JSON_VALUES / self.units).clamp(LEAST_JSON_CHARACTERS, JSON_CHARACTERS);
        self.shorten(reading, most, "JSON")
    }

    pub(super) fn shorten_to_page(&self, reading: &Reading) -> Reading {
        let fit = PAGE_VALUES / (self.places().len() * self.units);
        let most = fit.clamp(LEAST_PAGE_CHARACTERS, PAGE_CHARACTERS);
        self.shorten(reading, most, "the page")
    }

    pub(super) fn shorten_to_values(&self, reading: &Reading) -> Reading {
        // One more layer's worth for the gate that memory is computed of.
        let fit = TENSOR_VALUES / ((self.places().len() + self.layers) * self.units);
        self.shorten(reading, fit.clamp(1, TENSOR_CHARACTERS), "the file")
    }

    /// The beginning of the text, and a note in the log if it is not all.
    fn shorten(&self, reading: &Reading, most: usize, what: &str) -> Reading {
        let shown = reading.beginning(most);
        if shown.len() < reading.len() {
            let [some, all] = [shown.len(), reading.len()].map(|count| grouped(count as u64));
            log!("note    {what} holds the first {some} of {all} {}", reading.unit());
        }
        shown
    }
}
