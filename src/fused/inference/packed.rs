//! A network's weights as the kernels read them, packed once and shared by any number of sessions.

use crate::fused::gemm::panels::{Order, Panels};
use crate::fused::gemm::product::linear;
use crate::fused::norm;
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
    /// The gain of each layer's normalisation, `[H]`; none where there is none.
    pub(super) norms: Vec<Vec<f32>>,
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
    /// `norms` none or the gain `[H]` of each (see [`layer_norm`](crate::fused::layer_norm)),
    /// `readout_weight` `[V, H]`, `readout_bias` `[V]`.
    ///
    /// # Errors
    /// Shapes that do not fit each other; tensors that are not float32 on a CPU.
    pub fn new(
        cell: Cell,
        embedding: &Tensor,
        layers: &[&LayerWeights],
        norms: &[Tensor],
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
        if ![0, layers.len()].contains(&norms.len()) {
            bail!("a network of {} layers was given {} norms", layers.len(), norms.len());
        }
        norms.iter().try_for_each(|gain| tensors::expect("norm", gain, &[hidden_size]))?;
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
            norms: norms.iter().map(Tensor::to_vec1).collect::<Result<_>>()?,
            readout,
            readout_bias: readout_bias.to_vec1()?,
        })
    }

    /// V: ids that the network reads and predicts.
    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// What the readout reads in a state of some rows, one tensor `[S, rows, H]` a layer: `[rows, H]`.
    ///
    /// # Errors
    /// Another number of layers, or tensors of another shape.
    pub fn output(&self, state: &[Tensor]) -> Result<Tensor> {
        if state.len() != self.layers.len() {
            bail!("a network of {} layers was given a state of {}", self.layers.len(), state.len());
        }
        let rows = state[0].dim(1)?;
        for layer in state {
            tensors::expect("state", layer, &[self.cell.states(), rows, self.hidden_size])?;
        }
        let top = state[state.len() - 1].get(0)?;
        let mut output: Option<Vec<f32>> = None;
        for (gain, layer) in self.norms.iter().zip(state) {
            let hidden = layer.get(0)?.contiguous()?;
            let mut out = vec![0.0; hidden.elem_count()];
            norm::forward(self.level, &floats(&hidden)?, gain, output.as_deref(), &mut out);
            output = Some(out);
        }
        output.map_or(Ok(top.clone()), |output| tensors::like(output, &top))
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
