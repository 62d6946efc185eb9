//! The states of texts that are read side by side, one time step at a time, without an autograd graph
//! and without an allocation per step.

use crate::fused::gemm::product::{Accumulate, matmul};
use crate::fused::inference::packed::PackedNetwork;
use crate::fused::norm::normalise_rows;
use crate::fused::rnn::cells::step::{CellStep, Forward, Step};
use crate::fused::rnn::cells::with_cell;
use crate::fused::simd::isa::{Isa, Task};
use crate::fused::simd::memory::{Buffer, MatMut, MatRef};
use crate::fused::tensors::{self, floats};
use candle_core::{Device, Result, Tensor, bail};
use std::marker::PhantomData;
use std::sync::Arc;

/// Rows of state over the shared weights of a network. A row's numbers do not depend, to the bit, on
/// the rows beside it.
pub struct Session {
    network: Arc<PackedNetwork>,
    rows: usize,
    layers: Vec<LayerRows>,
    /// `[rows, V]`
    logits: Vec<f32>,
    /// `[rows, G·H]`
    gates: Vec<f32>,
    operand: Buffer,
}

/// One layer's part of the rows, each buffer `[rows, H]`.
struct LayerRows {
    h: Vec<f32>,
    next_h: Vec<f32>,
    /// c; not read where the state is h alone.
    c: Vec<f32>,
    saved: Vec<f32>,
    /// What the layer above, or the readout, reads, where that is not h; else empty.
    output: Vec<f32>,
}

impl LayerRows {
    /// What the layer above, or the readout, reads: `[rows, H]`.
    #[inline(always)]
    fn read(&self) -> &[f32] {
        if self.output.is_empty() { &self.h } else { &self.output }
    }
}

impl Session {
    /// `rows` texts, each at the zero state.
    pub fn new(network: Arc<PackedNetwork>, rows: usize) -> Self {
        let layer =
            || LayerRows { h: vec![], next_h: vec![], c: vec![], saved: vec![], output: vec![] };
        let layers = network.layers.iter().map(|_| layer()).collect();
        let operand = Buffer::default();
        let mut session = Self { network, rows, layers, logits: vec![], gates: vec![], operand };
        session.resize(rows);
        session
    }

    /// How many texts are read side by side.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Reads one id for each row; returns the logits of the next, `[rows, V]`.
    ///
    /// # Errors
    /// Another number of ids than rows, an id outside V; the state then is as before.
    pub fn step(&mut self, ids: &[u32]) -> Result<&[f32]> {
        if ids.len() != self.rows {
            bail!("a session of {} rows was given {} ids", self.rows, ids.len());
        }
        let vocab = self.network.vocab;
        if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab) {
            bail!("id {id} is outside the vocabulary of {vocab}");
        }
        if self.rows > 0 {
            let (cell, level) = (self.network.cell, self.network.level);
            with_cell!(cell, C => {
                level.run(OneStep::<C> { session: self, ids, cell: PhantomData })
            });
        }
        Ok(&self.logits)
    }

    /// Row i becomes a copy of what row `rows[i]` was: rows leave, branch, or change places.
    ///
    /// # Errors
    /// A row that is not there; the session then is as before.
    pub fn select(&mut self, rows: &[usize]) -> Result<()> {
        if let Some(row) = rows.iter().find(|&&row| row >= self.rows) {
            bail!("row {row} was selected from a session of {}", self.rows);
        }
        let h = self.network.hidden_size;
        for layer in &mut self.layers {
            for buffer in [&mut layer.h, &mut layer.c] {
                *buffer = rows.iter().flat_map(|row| &buffer[row * h..][..h]).copied().collect();
            }
        }
        self.resize(rows.len());
        Ok(())
    }

    /// Adds a row at the zero state, as the last one.
    pub fn push(&mut self) {
        self.resize(self.rows + 1);
    }

    /// Adds copies of all rows of `other`, after the last: texts that were read elsewhere.
    ///
    /// # Errors
    /// Rows over other weights; the session then is as before.
    pub fn append(&mut self, other: &Self) -> Result<()> {
        if !Arc::ptr_eq(&self.network, &other.network) {
            bail!("rows can only be appended from a session over the same packed network");
        }
        let start = self.rows * self.network.hidden_size;
        self.resize(self.rows + other.rows);
        for (layer, added) in self.layers.iter_mut().zip(&other.layers) {
            layer.h[start..].copy_from_slice(&added.h);
            layer.c[start..].copy_from_slice(&added.c);
        }
        Ok(())
    }

    /// The state, one tensor a layer, `[S, rows, H]`.
    ///
    /// # Errors
    /// None that the caller can cause.
    pub fn state(&self) -> Result<Vec<Tensor>> {
        let states = self.network.cell.states();
        let shape = (states, self.rows, self.network.hidden_size);
        let of = |layer: &LayerRows| {
            let mut state = layer.h.clone();
            if states == 2 {
                state.extend_from_slice(&layer.c);
            }
            Tensor::from_vec(state, shape, &Device::Cpu)
        };
        self.layers.iter().map(of).collect()
    }

    /// Sets the state, as [`Session::state`] gives it.
    ///
    /// # Errors
    /// Another number of layers, or tensors of another shape.
    pub fn set_state(&mut self, state: &[Tensor]) -> Result<()> {
        if state.len() != self.layers.len() {
            bail!(
                "a network of {} layers was given the state of {}",
                self.layers.len(),
                state.len()
            );
        }
        let shape = [self.network.cell.states(), self.rows, self.network.hidden_size];
        for tensor in state {
            tensors::expect("state", tensor, &shape)?;
        }
        for (layer, tensor) in self.layers.iter_mut().zip(state) {
            let tensor = tensor.contiguous()?;
            let data = floats(&tensor)?;
            let (h, c) = data.split_at(layer.h.len());
            layer.h.copy_from_slice(h);
            layer.c[..c.len()].copy_from_slice(c);
        }
        Ok(())
    }

    /// Room for `rows` rows; new ones are at the zero state.
    fn resize(&mut self, rows: usize) {
        let (h, vocab) = (self.network.hidden_size, self.network.vocab);
        self.rows = rows;
        for layer in &mut self.layers {
            for buffer in [&mut layer.h, &mut layer.next_h, &mut layer.c, &mut layer.saved] {
                buffer.resize(rows * h, 0.0);
            }
            if !self.network.norms.is_empty() {
                layer.output.resize(rows * h, 0.0);
            }
        }
        self.logits.resize(rows * vocab, 0.0);
        self.gates.resize(rows * self.network.cell.gates() * h, 0.0);
    }
}

struct OneStep<'a, C> {
    session: &'a mut Session,
    ids: &'a [u32],
    cell: PhantomData<C>,
}

impl<C: CellStep> Task for OneStep<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Session { network, layers, logits, gates, operand, .. } = self.session;
        let (h, vocab) = (network.hidden_size, network.vocab);
        let width = C::GATES * h;
        for (i, packed) in network.layers.iter().enumerate() {
            let (below, layer) = layers.split_at_mut(i);
            let LayerRows { h: state, next_h, c, saved, output } = &mut layer[0];
            for (row, &id) in gates.chunks_exact_mut(width).zip(self.ids) {
                row.copy_from_slice(match packed.input {
                    Some(_) => &packed.bias,
                    None => network.table_row(id),
                });
            }
            if let Some(panels) = &packed.input {
                match below.last() {
                    Some(below) => {
                        let x = MatRef::new(below.read(), h);
                        let out = MatMut::new(gates, width);
                        matmul(isa, x, panels, out, Accumulate::Add, operand);
                    }
                    // A large vocabulary: each text has its own row of the embedding.
                    None => {
                        for (row, &id) in gates.chunks_exact_mut(width).zip(self.ids) {
                            let x = MatRef::new(network.table_row(id), 0);
                            let out = MatMut::new(row, width);
                            matmul(isa, x, panels, out, Accumulate::Add, operand);
                        }
                    }
                }
            }
            let step = Step {
                hidden_size: h,
                weights: &packed.recurrent,
                saved,
                gates,
                h: state,
                c,
                operand,
            };
            C::forward(isa, step, Forward { bias_hn: &packed.bias_hn, out: next_h });
            std::mem::swap(state, next_h);
            // What a cell of two states saves is its next c; no other cell reads c.
            std::mem::swap(c, saved);
            if let Some(gain) = network.norms.get(i) {
                normalise_rows(isa, state, gain, below.last().map(LayerRows::read), output);
            }
        }
        logits.chunks_exact_mut(vocab).for_each(|row| row.copy_from_slice(&network.readout_bias));
        let last = MatRef::new(layers[layers.len() - 1].read(), h);
        let logits = MatMut::new(logits, vocab);
        matmul(isa, last, &network.readout, logits, Accumulate::Add, operand);
    }
}
