//! One character at a time for a batch of texts: no autograd graph, nothing allocated per step.

use super::{
    Cell, Precision, Weights,
    cells::{CellStep, Forward, Gru, GruResetAfter, Lstm, Rnn, Step},
    matmul::{Order, Panels, Rows, product, project},
    memory::Buffer,
    simd::{Isa, Level, Task},
    tensors::{self, floats},
};
use candle_core::{Device, Result, Tensor, bail};

/// Vocabularies up to this size go through the first layer's `weight_ih` once, at construction.
const PROJECTED_VOCAB: usize = 1024;

/// A network laid out for inference, with the state of B texts. Starts from the zero state.
pub struct Stepper {
    cell: Cell,
    level: Level,
    batch: usize,
    hidden_size: usize,
    vocab: usize,
    /// What the first layer reads, one row for each id: the embedding, or all of `W_ih x + b`.
    table: Vec<f32>,
    table_width: usize,
    layers: Vec<Layer>,
    readout: Panels,
    readout_bias: Vec<f32>,
    /// `[B, V]`
    logits: Vec<f32>,
    /// `[B, G·H]`
    gates: Vec<f32>,
    scratch: Buffer,
}

struct Layer {
    /// None where the table holds the product.
    input: Option<Panels>,
    recurrent: [Panels; 2],
    bias: Vec<f32>,
    bias_n: Vec<f32>,
    /// `[B, H]`: the state, and room for the next one.
    h: Vec<f32>,
    next_h: Vec<f32>,
    /// c and room for the next one; for cells without c, room for the step's extra.
    c: Vec<f32>,
    extra: Vec<f32>,
}

impl Stepper {
    /// Copies the weights of a network: `embedding` `[V, E]`, `layers` from the first to the last,
    /// `readout_weight` `[V, H]`, `readout_bias` `[V]`.
    ///
    /// Fails where shapes do not fit each other, or the tensors are not float32 on a CPU.
    pub fn new(
        cell: Cell,
        embedding: &Tensor,
        layers: &[Weights],
        readout_weight: &Tensor,
        readout_bias: &Tensor,
        batch: usize,
    ) -> Result<Self> {
        let level = Level::choose(Precision::F32)?;
        let (vocab, mut input_size) = embedding.dims2()?;
        let hidden_size = readout_weight.dims2()?.1;
        if [vocab, input_size, hidden_size, batch, layers.len()].contains(&0) {
            bail!("a network needs B, V, E, H and L of at least 1");
        }
        tensors::expect("embedding", embedding, embedding.dims())?;
        tensors::expect("readout weight", readout_weight, &[vocab, hidden_size])?;
        tensors::expect("readout bias", readout_bias, &[vocab])?;
        let mut laid_out = Vec::with_capacity(layers.len());
        for weights in layers {
            laid_out.push(Layer::new(cell, level, weights, input_size, hidden_size, batch)?);
            input_size = hidden_size;
        }
        let embedding = embedding.contiguous()?;
        let mut table = floats(&embedding)?.to_vec();
        let mut table_width = embedding.dim(1)?;
        if vocab <= PROJECTED_VOCAB
            && let Some(panels) = laid_out[0].input.take()
        {
            let width = cell.gates() * hidden_size;
            let mut projected = vec![0.0; vocab * width];
            project(
                level,
                &table,
                table_width,
                &panels,
                Some(&laid_out[0].bias),
                width,
                &mut projected,
            );
            (table, table_width) = (projected, width);
        }
        let mut readout = Panels::default();
        let weight = readout_weight.contiguous()?;
        readout.pack(level, &floats(&weight)?, Order::Columns, hidden_size, vocab);
        Ok(Self {
            cell,
            level,
            batch,
            hidden_size,
            vocab,
            table,
            table_width,
            layers: laid_out,
            readout,
            readout_bias: readout_bias.to_vec1()?,
            logits: vec![0.0; batch * vocab],
            gates: vec![0.0; batch * cell.gates() * hidden_size],
            scratch: Buffer::default(),
        })
    }

    /// Reads one id for each text; returns the logits of the next, `[B, V]`.
    ///
    /// Fails on another number of ids than B and on an id outside V; the state then is as before.
    pub fn step(&mut self, ids: &[u32]) -> Result<&[f32]> {
        if ids.len() != self.batch {
            bail!("a stepper of batch {} was given {} ids", self.batch, ids.len());
        }
        if let Some(id) = ids.iter().find(|&&id| id as usize >= self.vocab) {
            bail!("id {id} is outside the vocabulary of {}", self.vocab);
        }
        let level = self.level;
        match self.cell {
            Cell::Gru => level.run(OneStep { stepper: self, ids, cell: Gru }),
            Cell::GruResetAfter => level.run(OneStep { stepper: self, ids, cell: GruResetAfter }),
            Cell::Lstm => level.run(OneStep { stepper: self, ids, cell: Lstm }),
            Cell::Rnn => level.run(OneStep { stepper: self, ids, cell: Rnn }),
        }
        Ok(&self.logits)
    }

    /// Back to the zero state.
    pub fn reset(&mut self) {
        for layer in &mut self.layers {
            layer.h.fill(0.0);
            layer.c.fill(0.0);
        }
    }

    /// The state, one tensor a layer, `[S, B, H]`.
    pub fn state(&self) -> Result<Vec<Tensor>> {
        let shape = (self.cell.states(), self.batch, self.hidden_size);
        let of = |layer: &Layer| {
            let mut state = layer.h.clone();
            if self.cell.states() == 2 {
                state.extend_from_slice(&layer.c);
            }
            Tensor::from_vec(state, shape, &Device::Cpu)
        };
        self.layers.iter().map(of).collect()
    }

    /// Sets the state, as [`Stepper::state`] gives it.
    pub fn set_state(&mut self, state: &[Tensor]) -> Result<()> {
        if state.len() != self.layers.len() {
            bail!(
                "a network of {} layers was given the state of {}",
                self.layers.len(),
                state.len()
            );
        }
        for tensor in state {
            tensors::expect("state", tensor, &[self.cell.states(), self.batch, self.hidden_size])?;
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
}

impl Layer {
    fn new(
        cell: Cell,
        level: Level,
        weights: &Weights,
        input_size: usize,
        h: usize,
        batch: usize,
    ) -> Result<Self> {
        let width = cell.gates() * h;
        weights.check(cell, input_size, h)?;
        let mut input = Panels::default();
        let weight_ih = weights.weight_ih.contiguous()?;
        input.pack(level, &floats(&weight_ih)?, Order::Columns, input_size, width);
        let mut recurrent = <[Panels; 2]>::default();
        let weight_hh = weights.weight_hh.contiguous()?;
        cell.pack_recurrent(level, &floats(&weight_hh)?, h, true, &mut recurrent);
        let (bias, bias_n) = weights.biases(cell)?;
        let [state, next_h, c, extra] = std::array::from_fn(|_| vec![0.0; batch * h]);
        Ok(Self { input: Some(input), recurrent, bias, bias_n, h: state, next_h, c, extra })
    }
}

struct OneStep<'a, C> {
    stepper: &'a mut Stepper,
    ids: &'a [u32],
    cell: C,
}

impl<C: CellStep> Task for OneStep<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Stepper { cell, batch, hidden_size: h, vocab, layers, gates, scratch, logits, .. } =
            self.stepper;
        let (batch, h, vocab, width) = (*batch, *h, *vocab, cell.gates() * *h);
        let table = |id: u32| {
            &self.stepper.table[id as usize * self.stepper.table_width..]
                [..self.stepper.table_width]
        };
        for i in 0..layers.len() {
            let (below, layer) = layers.split_at_mut(i);
            let Layer { input, recurrent, bias, bias_n, h: state, next_h, c, extra } =
                &mut layer[0];
            for (row, &id) in gates.chunks_exact_mut(width).zip(self.ids) {
                row.copy_from_slice(if input.is_some() { bias } else { table(id) });
            }
            if let Some(panels) = input {
                match below.last() {
                    Some(below) => {
                        let x = Rows { data: &below.h, stride: h };
                        product(isa, x, panels, gates, width, true, scratch);
                    }
                    // A large vocabulary: each text has its own row of the embedding.
                    None => {
                        for (row, &id) in gates.chunks_exact_mut(width).zip(self.ids) {
                            let x = Rows { data: table(id), stride: 0 };
                            product(isa, x, panels, row, width, true, scratch);
                        }
                    }
                }
            }
            let step =
                Step { hidden_size: h, weights: recurrent, extra, gates, h: state, c, scratch };
            self.cell.forward(isa, step, Forward { bias_n, out: next_h });
            std::mem::swap(state, next_h);
            // The LSTM's extra is its next c; no other cell reads c.
            std::mem::swap(c, extra);
        }
        logits
            .chunks_exact_mut(vocab)
            .for_each(|row| row.copy_from_slice(&self.stepper.readout_bias));
        let last = Rows { data: &layers[layers.len() - 1].h, stride: h };
        product(
            isa,
            last,
            &self.stepper.readout,
            &mut logits[..batch * vocab],
            vocab,
            true,
            scratch,
        );
    }
}
