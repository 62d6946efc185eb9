//! The tensors of a network, by their PyTorch names.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::fused::LayerWeights;
use crate::model::config::{EMBEDDING, ModelConfig, READOUT_BIAS, READOUT_WEIGHT};

/// A network's weights. Tensors are handles: a clone copies no numbers.
#[derive(Clone, Debug)]
pub struct NetworkWeights {
    /// `[V, E]`
    pub embedding: Tensor,
    /// From the lowest to the highest.
    pub layers: Vec<LayerWeights>,
    /// `[V, H]`; the embedding where the weights are tied
    pub readout_weight: Tensor,
    /// `[V]`
    pub readout_bias: Tensor,
}

impl NetworkWeights {
    /// Takes the weights by name from `vb`.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape than `config` says.
    pub fn new(config: &ModelConfig, vb: &VarBuilder) -> Result<Self> {
        let (v, e, h) = (config.vocab, config.embedding, config.hidden);
        let embedding = vb.get((v, e), EMBEDDING)?;
        let readout_weight =
            if config.tie_weights { embedding.clone() } else { vb.get((v, h), READOUT_WEIGHT)? };
        let get = |(name, shape): (String, Vec<usize>)| vb.get(shape, &name);
        let layer = |index| -> Result<LayerWeights> {
            let shapes = config.layer_shapes(index);
            Ok(LayerWeights {
                weight_ih: get(shapes.weight_ih)?,
                weight_hh: shapes.weight_hh.map(get).transpose()?,
                bias_ih: get(shapes.bias_ih)?,
                bias_hh: shapes.bias_hh.map(get).transpose()?,
            })
        };
        Ok(Self {
            layers: (0..config.layers).map(layer).collect::<Result<_>>()?,
            readout_bias: vb.get(v, READOUT_BIAS)?,
            embedding,
            readout_weight,
        })
    }
}
