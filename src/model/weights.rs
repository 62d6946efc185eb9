//! The tensors of a network, by their PyTorch names.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::fused::{Direction, LayerWeights};
use crate::model::config::{EMBEDDING, ModelConfig};
use crate::model::readout::Readout;

/// A network's weights. Tensors are handles: a clone copies no numbers.
#[derive(Clone, Debug)]
pub struct NetworkWeights {
    /// `[V, E]`
    pub embedding: Tensor,
    /// From the lowest to the highest.
    pub layers: Vec<LayerWeights>,
    /// Its weight is the embedding where the weights are tied.
    pub readout: Readout,
}

impl NetworkWeights {
    /// Takes the weights of the layers of one direction and of the readout `readout` by name from `vb`.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape than `config` says.
    pub(super) fn new(
        config: &ModelConfig,
        vb: &VarBuilder,
        direction: Direction,
        readout: &str,
    ) -> Result<Self> {
        let (v, e, h) = (config.vocab, config.embedding, config.hidden);
        let embedding = vb.get((v, e), EMBEDDING)?;
        let readout = if config.tie_weights {
            Readout { weight: embedding.clone(), bias: vb.get(v, &format!("{readout}.bias"))? }
        } else {
            Readout::load(vb, readout, v, h)?
        };
        let get = |(name, shape): (String, Vec<usize>)| vb.get(shape, &name);
        let layer = |index| -> Result<LayerWeights> {
            let shapes = config.layer_shapes(index, direction);
            Ok(LayerWeights {
                weight_ih: get(shapes.weight_ih)?,
                weight_hh: shapes.weight_hh.map(get).transpose()?,
                bias_ih: get(shapes.bias_ih)?,
                bias_hh: shapes.bias_hh.map(get).transpose()?,
            })
        };
        Ok(Self {
            layers: (0..config.layers).map(layer).collect::<Result<_>>()?,
            embedding,
            readout,
        })
    }
}
