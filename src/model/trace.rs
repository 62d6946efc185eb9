//! The gates and the states of every layer over a window, to look at. Knows nothing of training.

use std::fmt;

use candle_core::{Result, Tensor, bail};

use crate::fused::{Cell, Input, LayerTrace};
use crate::model::backend::Backend;
use crate::model::network::Network;
use crate::model::reference;
use crate::model::state::State;

/// What a layer computes at every step: a gate, the candidate, or the state. [`Cell`] has the equations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gate {
    /// The update gate of a GRU, from 0 to 1. In `gru` and `mingru` 1 takes the candidate; in
    /// `gru-reset-after` 1 keeps the state.
    Z,
    /// The reset gate of a GRU, from 0 to 1: how much of the state the candidate is computed from.
    R,
    /// The candidate of a GRU, from -1 to 1; in `mingru` positive.
    N,
    /// The input gate of an LSTM, from 0 to 1.
    I,
    /// The forget gate of an LSTM, from 0 to 1: 1 keeps the cell state.
    F,
    /// The candidate of an LSTM, from -1 to 1.
    G,
    /// The output gate of an LSTM, from 0 to 1.
    O,
    /// The cell state of an LSTM.
    C,
    /// The hidden state, which the next step and (normalised, in a residual network) the layer above read.
    H,
}

impl Gate {
    /// What the layers of a network of this cell have to show, h last.
    pub const fn of(cell: Cell) -> &'static [Self] {
        match cell {
            Cell::Gru | Cell::GruResetAfter => &[Self::Z, Self::R, Self::N, Self::H],
            Cell::Lstm => &[Self::I, Self::F, Self::G, Self::O, Self::C, Self::H],
            Cell::Rnn => &[Self::H],
            Cell::MinGru => &[Self::Z, Self::N, Self::H],
        }
    }

    /// The gate of this name, if the cell has it.
    pub fn named(cell: Cell, name: &str) -> Option<Self> {
        Self::of(cell).iter().copied().find(|gate| gate.name() == name)
    }

    /// One lower-case letter, as in the equations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Z => "z",
            Self::R => "r",
            Self::N => "n",
            Self::I => "i",
            Self::F => "f",
            Self::G => "g",
            Self::O => "o",
            Self::C => "c",
            Self::H => "h",
        }
    }

    /// Whether values lie on both sides of 0.
    pub const fn is_signed(self, cell: Cell) -> bool {
        match self {
            Self::Z | Self::R | Self::I | Self::F | Self::O => false,
            Self::N | Self::H => !matches!(cell, Cell::MinGru),
            Self::G | Self::C => true,
        }
    }

    /// Which block of H rows of the weights it is.
    const fn block(self, cell: Cell) -> usize {
        match (self, cell) {
            (Self::Z, Cell::MinGru) | (Self::R | Self::I, _) => 0,
            (Self::N, Cell::MinGru) | (Self::Z | Self::F, _) => 1,
            (Self::N | Self::G, _) => 2,
            (Self::O, _) => 3,
            // The states are no blocks.
            (Self::C | Self::H, _) => 0,
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What the layers of a network computed over a window.
pub struct Trace {
    cell: Cell,
    layers: Vec<LayerTrace>,
}

impl Trace {
    /// A gate or state of layer `layer`, counted from 0: `[T, B, H]`.
    ///
    /// # Errors
    /// A layer that the network does not have, or a gate that its cell does not have.
    pub fn get(&self, layer: usize, gate: Gate) -> Result<Tensor> {
        let Some(trace) = self.layers.get(layer) else {
            bail!("layer {layer} was asked for in a network of {}", self.layers.len())
        };
        if !Gate::of(self.cell).contains(&gate) {
            bail!("a {} has no gate {gate}", self.cell)
        }
        match gate {
            Gate::H => Ok(trace.states[0].clone()),
            Gate::C => Ok(trace.states[1].clone()),
            gate => {
                let size = trace.states[0].dim(2)?;
                trace.gates.narrow(2, gate.block(self.cell) * size, size)
            }
        }
    }

    /// The state after the window.
    pub fn state(&self) -> State {
        State { layers: self.layers.iter().map(|layer| layer.state.detach()).collect() }
    }
}

impl Network {
    /// Reads a window as [`Network::forward`] does, without dropout, and gives what every layer computed.
    ///
    /// # Errors
    /// Shapes that do not fit, an id outside V.
    pub fn trace(&self, ids: &Tensor, state: &State, resets: Option<&Tensor>) -> Result<Trace> {
        let (config, network_weights) = (self.config(), self.weights());
        if state.layers.len() != config.layers {
            bail!("a network of {} layers was given {} states", config.layers, state.layers.len())
        }
        let mut output: Option<Tensor> = None;
        let mut layers = Vec::with_capacity(config.layers);
        for (index, weights) in network_weights.layers.iter().enumerate() {
            let input = match &output {
                Some(below) => Input::Sequence(below),
                None => Input::Embedded { ids, table: &network_weights.embedding },
            };
            let (layer, state) = ((config.cell, self.direction()), &state.layers[index]);
            let trace = match self.backend() {
                Backend::Reference => {
                    let input = reference::input_sequence(input)?;
                    reference::directed_trace(layer, &input, weights, state, resets)?
                }
                Backend::Cpu(cpu) => {
                    cpu.trace_layer(layer, network_weights, index, input, state, resets)?
                }
            };
            output = Some(self.normalised(index, trace.states[0].clone(), output.as_ref())?);
            layers.push(trace);
        }
        Ok(Trace { cell: config.cell, layers })
    }
}
