//! A network's weights as the kernels read them, packed once and shared by any number of sessions.

use crate::fused::gemm::panels::{Order, Panels};
use crate::fused::gemm::product::linear;
use crate::fused::rnn::cells::Cell;
use crate::fused::rnn::weights::{LayerWeights, Product};
use crate::fused::simd::level::{Level, Precision};
use crate::fused::tensors::{self, floats};
use candle_core::{Result, Tensor, bail};

/// Vocabularies up to this size go through the first layer's `weight_ih` once, when packed.
const PROJECTED_VOCAB: usize = 1024;

/// The weights of a network, packed for inference in float32.
pub struct PackedNetwork {
    pub(super) cell: Cell,
    pub(super) level: Level,
    pub(super) hidden_size: usize,
    pub(super) vocab: usize,
    /// What the first layer reads, one row for each id: the embedding, or all of `W_ih x + b`.
    table: Vec<f32>,
    table_width: usize,
    pub(super) layers: Vec<PackedLayer>,
    /// `[V, H]`, transposed.
    pub(super) readout: Panels,
    /// `[V]`
    pub(super) readout_bias: Vec<f32>,
}

pub(super) struct PackedLayer {
    /// None where the table holds the product.
    pub input: Option<Panels>,
    pub recurrent: [Panels; 2],
    pub bias: Vec<f32>,
    pub bias_hn: Vec<f32>,
}

impl PackedNetwork {
    /// Packs the weights of a network: `embedding` `[V, E]`, `layers` from the lowest to the highest,
    /// `readout_weight` `[V, H]`, `readout_bias` `[V]`.
    ///
    /// # Errors
    /// Shapes that do not fit each other; tensors that are not float32 on a CPU.
    pub fn new(
        cell: Cell,
        embedding: &Tensor,
        layers: &[&LayerWeights],
        readout_weight: &Tensor,
        readout_bias: &Tensor,
    ) -> Result<Self> {
        let level = Level::choose(Precision::F32)?;
        let (vocab, embedding_size) = embedding.dims2()?;
        let hidden_size = readout_weight.dims2()?.1;
        if [vocab, embedding_size, hidden_size, layers.len()].contains(&0) {
            bail!("a network needs V, E, H and L of at least 1");
        }
        tensors::expect("embedding", embedding, embedding.dims())?;
        tensors::expect("readout weight", readout_weight, &[vocab, hidden_size])?;
        tensors::expect("readout bias", readout_bias, &[vocab])?;
        let mut packed = Vec::with_capacity(layers.len());
        for (index, weights) in layers.iter().enumerate() {
            let input_size = if index == 0 { embedding_size } else { hidden_size };
            packed.push(PackedLayer::new(cell, level, weights, input_size, hidden_size)?);
        }
        let embedding = embedding.contiguous()?;
        let mut table = floats(&embedding)?.to_vec();
        let mut table_width = embedding_size;
        if vocab <= PROJECTED_VOCAB
            && let Some(panels) = packed[0].input.take()
        {
            table_width = cell.gates() * hidden_size;
            let mut projected = vec![0.0; vocab * table_width];
            linear(level, &table, &panels, Some(&packed[0].bias), &mut projected);
            table = projected;
        }
        let mut readout = Panels::default();
        let weight = readout_weight.contiguous()?;
        readout.pack(level, &floats(&weight)?, Order::ColumnMajor, hidden_size, vocab);
        Ok(Self {
            cell,
            level,
            hidden_size,
            vocab,
            table,
            table_width,
            layers: packed,
            readout,
            readout_bias: readout_bias.to_vec1()?,
        })
    }

    /// V: ids that the network reads and predicts.
    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// What the first layer reads for `id`.
    #[inline(always)]
    pub(super) fn table_row(&self, id: u32) -> &[f32] {
        &self.table[id as usize * self.table_width..][..self.table_width]
    }
}

impl PackedLayer {
    fn new(
        cell: Cell,
        level: Level,
        weights: &LayerWeights,
        input_size: usize,
        h: usize,
    ) -> Result<Self> {
        weights.check(cell, input_size, h)?;
        let weights = weights.contiguous()?;
        let mut input = Panels::default();
        let width = cell.gates() * h;
        input.pack(level, &floats(&weights.weight_ih)?, Order::ColumnMajor, input_size, width);
        let mut recurrent = <[Panels; 2]>::default();
        weights.pack_recurrent(cell, level, h, Product::Forward, &mut recurrent)?;
        let (bias, bias_hn) = weights.biases(cell)?;
        Ok(Self { input: Some(input), recurrent, bias, bias_hn })
    }
}
