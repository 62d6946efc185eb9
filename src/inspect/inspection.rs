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
    /// `[T]`; see [`Reading::tokens`].
    pub tokens: Vec<String>,
    /// `[T, H]`, row by row.
    pub values: Vec<f32>,
    /// `[H]`: the median over the text of how many characters each unit of the layer keeps what it holds. None
    /// where the cell has no gate that says so.
    pub memory: Option<Vec<f32>>,
}

/// Reads a text and gives a gate or state of layer `layer`, counted from 1. Takes T·H numbers of memory, and
/// as many for [`Inspection::memory`].
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
    check(network, layer, gate)?;
    let mut all = read(network, reading, &[(layer, gate)])?;
    // As many as were asked for.
    Ok(all.remove(0))
}

/// [`inspect`] for several gates or states, in the order of `places`, by one reading of the text.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_all(
    network: &Network,
    reading: &Reading,
    places: &[(usize, Gate)],
) -> Result<Vec<Inspection>> {
    places.iter().try_for_each(|&(layer, gate)| check(network, layer, gate))?;
    read(network, reading, places)
}

/// Refuses a layer or a gate that the network does not have.
fn check(network: &Network, layer: usize, gate: Gate) -> Result<()> {
    let config = network.config();
    ensure!(
        (1..=config.layers).contains(&layer),
        Error::out_of_range(
            "layer",
            layer,
            format!("the model's layers are 1 to {}", config.layers)
        )
    );
    let gates = Gate::of(config.cell);
    ensure!(
        gates.contains(&gate),
        Error::out_of_range("gate", gate, format!("a {} has {}", config.cell, names(gates)))
    );
    Ok(())
}

fn read(network: &Network, reading: &Reading, places: &[(usize, Gate)]) -> Result<Vec<Inspection>> {
    let config = network.config();
    let keeping = keeping_gate(config.cell);
    let mut values = vec![Vec::new(); places.len()];
    // Of each layer, where memory is asked for: the gate that keeps.
    let mut keeps = vec![Vec::new(); config.layers];
    let mut windows = reading.windows(network)?;
    while let Some(window) = windows.read(reading.len())? {
        for (values, &(layer, gate)) in values.iter_mut().zip(places) {
            values.extend(window.values(layer - 1, gate)?);
        }
        for (index, keeps) in keeps.iter_mut().enumerate() {
            let is_asked = places.iter().any(|(layer, _)| *layer == index + 1);
            if let Some((keeping, _)) = keeping.filter(|_| is_asked) {
                keeps.extend(window.values(index, keeping)?);
            }
        }
    }
    let memory: Vec<Option<Vec<f32>>> =
        keeps.iter().map(|keeps| Some(characters_kept(keeps, config.hidden, keeping?.1))).collect();
    let inspection = |(values, &(layer, gate)): (Vec<f32>, &(usize, Gate))| Inspection {
        layer,
        layers: config.layers,
        gate,
        gates: Gate::of(config.cell),
        signed: gate.is_signed(config.cell),
        units: config.hidden,
        tokens: reading.tokens(),
        values,
        memory: memory[layer - 1].clone(),
    };
    Ok(values.into_iter().zip(places).map(inspection).collect())
}

/// z, r, n, h.
fn names(gates: &[Gate]) -> String {
    gates.iter().map(|gate| gate.name()).collect::<Vec<_>>().join(", ")
}

impl Inspection {
    /// The values of one unit, counted from 0: `[T]`.
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
