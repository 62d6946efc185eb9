//! A network prepared for inference, and texts that are read with it side by side.

use std::sync::Arc;

use candle_core::{Result, Tensor, bail};

use crate::fused;
use crate::model::backend::Backend;
use crate::model::network::Network;
use crate::model::state::State;

/// A network's weights as they were when it was packed, shared by any number of sessions on any
/// thread. A clone copies no numbers.
#[derive(Clone)]
pub struct PackedNetwork(PackedBackend);

#[derive(Clone)]
enum PackedBackend {
    Reference(Network),
    Cpu(Arc<fused::PackedNetwork>),
}

/// The states of some texts, one row each, over the weights of a [`PackedNetwork`].
///
/// What a row computes does not depend on the rows beside it: with the kernels to the bit, by tensor
/// operations up to the rounding of their matrix products, whose order of summation may depend on
/// the number of rows.
pub struct Session(SessionBackend);

enum SessionBackend {
    Reference { network: Network, state: State, logits: Vec<f32> },
    Cpu(fused::Session),
}

impl Network {
    /// Its weights as they are now, prepared for inference in float32.
    ///
    /// # Errors
    /// An instruction set, named by `CHARGRU_SIMD`, that this processor does not have.
    pub fn pack(&self) -> Result<PackedNetwork> {
        let weights = self.weights();
        Ok(PackedNetwork(match self.backend() {
            Backend::Reference => PackedBackend::Reference(self.clone()),
            Backend::Cpu(_) => PackedBackend::Cpu(Arc::new(fused::PackedNetwork::new(
                self.config().cell,
                &weights.embedding,
                &weights.layers.iter().collect::<Vec<_>>(),
                &weights.norms,
                &weights.readout.weight,
                &weights.readout.bias,
            )?)),
        }))
    }
}

impl PackedNetwork {
    /// V: ids that the network reads and predicts.
    pub fn vocab(&self) -> usize {
        match &self.0 {
            PackedBackend::Reference(network) => network.config().vocab,
            PackedBackend::Cpu(network) => network.vocab(),
        }
    }

    /// What the readout reads in a state of some rows, [rows, H].
    ///
    /// # Errors
    /// A state of another network.
    pub fn output(&self, state: &State) -> Result<Tensor> {
        match &self.0 {
            PackedBackend::Reference(network) => network.output(state),
            PackedBackend::Cpu(network) => network.output(&state.layers),
        }
    }

    /// `rows` texts, each at the state before any text.
    ///
    /// # Errors
    /// No memory on the device.
    pub fn session(&self, rows: usize) -> Result<Session> {
        Ok(Session(match &self.0 {
            PackedBackend::Cpu(network) => {
                SessionBackend::Cpu(fused::Session::new(Arc::clone(network), rows))
            }
            PackedBackend::Reference(network) => SessionBackend::Reference {
                state: State::zeros(network.config(), rows, network.device())?,
                logits: vec![0.0; rows * network.config().vocab],
                network: network.clone(),
            },
        }))
    }
}

impl Session {
    /// How many texts are read side by side.
    pub fn rows(&self) -> usize {
        match &self.0 {
            SessionBackend::Cpu(session) => session.rows(),
            SessionBackend::Reference { network, logits, .. } => {
                logits.len() / network.config().vocab
            }
        }
    }

    /// Reads one id a row; returns the logits of each row's next id, [rows, V].
    ///
    /// # Errors
    /// Another number of ids than rows, an id outside V; the state then is as before.
    pub fn step(&mut self, ids: &[u32]) -> Result<&[f32]> {
        let rows = self.rows();
        match &mut self.0 {
            SessionBackend::Cpu(session) => session.step(ids),
            SessionBackend::Reference { network, state, logits } => {
                let vocab = network.config().vocab;
                if ids.len() != rows {
                    bail!("a session of {rows} rows was given {} ids", ids.len());
                }
                if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab) {
                    bail!("id {id} is outside the vocabulary of {vocab}");
                }
                if rows > 0 {
                    let ids = Tensor::from_slice(ids, (1, rows), network.device())?;
                    let (hidden, next) = network.forward(&ids, state, None, None)?;
                    *logits = network.last_logits(&hidden)?.flatten_all()?.to_vec1()?;
                    *state = next.detach();
                }
                Ok(logits)
            }
        }
    }

    /// Row i becomes a copy of what row `rows[i]` was: rows leave, branch, or change places.
    ///
    /// # Errors
    /// A row that is not there; the session then is as before.
    pub fn select(&mut self, rows: &[usize]) -> Result<()> {
        let count = self.rows();
        match &mut self.0 {
            SessionBackend::Cpu(session) => session.select(rows),
            SessionBackend::Reference { network, state, logits } => {
                if let Some(row) = rows.iter().find(|&&row| row >= count) {
                    bail!("row {row} was selected from a session of {count}");
                }
                *state = match rows {
                    [] => State::zeros(network.config(), 0, network.device())?,
                    rows => state.select(rows)?,
                };
                logits.resize(rows.len() * network.config().vocab, 0.0);
                Ok(())
            }
        }
    }

    /// Adds a row at the state before any text, as the last one.
    ///
    /// # Errors
    /// No memory on the device.
    pub fn push(&mut self) -> Result<()> {
        match &mut self.0 {
            SessionBackend::Cpu(session) => session.push(),
            SessionBackend::Reference { network, state, logits } => {
                let row = State::zeros(network.config(), 1, network.device())?;
                append_rows(state, &row, logits.is_empty())?;
                logits.resize(logits.len() + network.config().vocab, 0.0);
            }
        }
        Ok(())
    }

    /// Adds copies of all rows of `other`, after the last: texts that were read elsewhere.
    ///
    /// # Errors
    /// Rows over the weights of another network; the session then is as before.
    pub fn append(&mut self, other: &Self) -> Result<()> {
        match (&mut self.0, &other.0) {
            (SessionBackend::Cpu(session), SessionBackend::Cpu(other)) => session.append(other),
            (
                SessionBackend::Reference { network, state, logits },
                SessionBackend::Reference { network: theirs, state: added, logits: added_logits },
            ) if network.weights().embedding.id() == theirs.weights().embedding.id() => {
                if !added_logits.is_empty() {
                    append_rows(state, added, logits.is_empty())?;
                }
                logits.resize(logits.len() + added_logits.len(), 0.0);
                Ok(())
            }
            _ => bail!("rows can only be appended from a session over the same network"),
        }
    }

    /// The state of every row.
    ///
    /// # Errors
    /// No memory on the device.
    pub fn state(&self) -> Result<State> {
        match &self.0 {
            SessionBackend::Cpu(session) => Ok(State { layers: session.state()? }),
            SessionBackend::Reference { state, .. } => Ok(state.clone()),
        }
    }

    /// Sets the state of every row, as [`Session::state`] gives it.
    ///
    /// # Errors
    /// Another number of layers or of rows.
    pub fn set_state(&mut self, given: &State) -> Result<()> {
        match &mut self.0 {
            SessionBackend::Cpu(session) => session.set_state(&given.layers),
            SessionBackend::Reference { state, .. } => {
                let shapes = |state: &State| -> Vec<Vec<usize>> {
                    state.layers.iter().map(|layer| layer.dims().to_vec()).collect()
                };
                if shapes(state) != shapes(given) {
                    bail!(
                        "a session of {:?} was given the state {:?}",
                        shapes(state),
                        shapes(given)
                    );
                }
                *state = given.detach();
                Ok(())
            }
        }
    }
}

/// Puts the rows of `added` after those of `state`. `empty` says that `state` has no rows: tensors
/// without elements are not concatenated.
fn append_rows(state: &mut State, added: &State, empty: bool) -> Result<()> {
    if empty {
        *state = added.clone();
        return Ok(());
    }
    let joined = state.layers.iter().zip(&added.layers);
    state.layers =
        joined.map(|(layer, added)| Tensor::cat(&[layer, added], 1)).collect::<Result<_>>()?;
    Ok(())
}
