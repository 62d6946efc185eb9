//! A gate or state of one layer over a text.

use crate::error::{Error, Result, ensure};
use crate::inspect::memory::{characters_kept, keeping_gate};
use crate::inspect::reading::Reading;
use crate::model::{Gate, Network};

/// A gate or state of one layer over a text of T tokens.
pub struct Inspection {
    /// Counted from 1.
    pub layer: usize,
    /// L of the network.
    pub layers: usize,
    /// Which gate or state.
    pub gate: Gate,
    /// What there is to show in this network.
    pub gates: &'static [Gate],
    /// Whether values lie on both sides of 0.
    pub signed: bool,
    /// H: units of the layer.
    pub units: usize,
    /// [T]; see [`Reading::tokens`].
    pub tokens: Vec<String>,
    /// [T, H], row by row.
    pub values: Vec<f32>,
    /// [H]: the median over the text of how many characters each unit of the layer keeps what it holds. None
    /// where the cell has no gate that says so.
    pub memory: Option<Vec<f32>>,
}

/// Reads a text and gives a gate or state of layer `layer`, counted from 1. Takes T·H numbers of memory, twice.
///
/// # Errors
/// [`Error::Setting`] for a layer or a gate that the network does not have; [`Error::Logits`] for weights so
/// large that no number comes out; [`Error::Tensor`] for the text of another vocabulary.
pub fn inspect(
    network: &Network,
    reading: &Reading,
    layer: usize,
    gate: Gate,
) -> Result<Inspection> {
    let config = network.config();
    let gates = Gate::of(config.cell);
    ensure!(
        (1..=config.layers).contains(&layer),
        Error::out_of_range(
            "layer",
            layer,
            format!("the network's layers are 1 to {}", config.layers)
        )
    );
    ensure!(
        gates.contains(&gate),
        Error::out_of_range("gate", gate, format!("a {} has {}", config.cell, names(gates)))
    );
    let keeping = keeping_gate(config.cell);
    let (mut values, mut keeps) = (Vec::new(), Vec::new());
    let mut windows = reading.windows(network)?;
    while let Some(window) = windows.read(reading.len())? {
        values.extend(window.values(layer - 1, gate)?);
        if let Some((keeping, _)) = keeping.filter(|(keeping, _)| *keeping != gate) {
            keeps.extend(window.values(layer - 1, keeping)?);
        }
    }
    let memory = keeping.map(|(keeping, inverted)| {
        let of_gate = if keeping == gate { &values } else { &keeps };
        characters_kept(of_gate, config.hidden, inverted)
    });
    Ok(Inspection {
        layer,
        layers: config.layers,
        gate,
        gates,
        signed: gate.is_signed(config.cell),
        units: config.hidden,
        tokens: reading.tokens(),
        values,
        memory,
    })
}

/// The values of one unit over a text, [T]; `layer` counts from 1, `unit` from 0.
///
/// # Errors
/// As [`inspect`]; also a unit that the layer does not have.
pub fn column(
    network: &Network,
    reading: &Reading,
    (layer, gate, unit): (usize, Gate, usize),
) -> Result<Vec<f32>> {
    let inspection = inspect(network, reading, layer, gate)?;
    inspection.column(unit)
}

/// z, r, n, h.
fn names(gates: &[Gate]) -> String {
    gates.iter().map(|gate| gate.name()).collect::<Vec<_>>().join(", ")
}

impl Inspection {
    /// The values of one unit, counted from 0: [T].
    ///
    /// # Errors
    /// [`Error::Setting`] for a unit that the layer does not have.
    pub fn column(&self, unit: usize) -> Result<Vec<f32>> {
        ensure!(
            unit < self.units,
            Error::out_of_range(
                "unit",
                unit,
                format!("the layer's units are 0 to {}", self.units - 1)
            )
        );
        Ok(self.values.chunks_exact(self.units).map(|row| row[unit]).collect())
    }
}
