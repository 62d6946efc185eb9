//! The tensors of a network, by their PyTorch names.

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::fused::{Direction, LayerWeights};
use crate::model::config::{EMBEDDING, ModelConfig};
use crate::model::dropout::{Dropout, Masked};
use crate::model::readout::Readout;

/// A network's weights. Tensors are handles: a clone copies no numbers.
#[derive(Clone, Debug)]
pub struct NetworkWeights {
    /// `[V, E]`
    pub embedding: Tensor,
    /// From the lowest to the highest.
    pub layers: Vec<LayerWeights>,
    /// The gain of each layer's normalisation, `[H]`; none in a network that is not residual.
    pub norms: Vec<Tensor>,
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
            norms: config.norms(direction).into_iter().map(get).collect::<Result<_>>()?,
            embedding,
            readout,
        })
    }

    /// The same weights, those of the recurrence dropped, in a graph that leads to the whole ones.
    pub(super) fn with_dropout(&self, dropout: &Dropout, first_place: u64) -> Result<Self> {
        let mut weights = self.clone();
        for (place, layer) in (first_place..).zip(&mut weights.layers) {
            let dropped = layer.weight_hh.as_ref().map(|w| dropout.apply_to_weight(w, place));
            layer.weight_hh = dropped.transpose()?;
        }
        Ok(weights)
    }
}

/// The weights that a step of the kernels is taken with: those of the recurrence may be dropped.
pub(super) struct DroppedWeights {
    pub(super) weights: NetworkWeights,
    /// Each dropped tensor, the whole one, and the mask.
    masked: Vec<(Tensor, Tensor, Masked)>,
}

impl DroppedWeights {
    /// `weights` as they are for a step of `dropout`; the masks of the lowest layer have `first_place`.
    pub(super) fn new(
        weights: &NetworkWeights,
        dropout: Option<Dropout>,
        first_place: u64,
    ) -> Result<Self> {
        let (mut weights, mut masked) = (weights.clone(), Vec::new());
        let Some(dropout) = dropout.filter(|dropout| dropout.recurrent > 0.0) else {
            return Ok(Self { weights, masked });
        };
        for (place, layer) in (first_place..).zip(&mut weights.layers) {
            if let Some(weight) = &mut layer.weight_hh {
                let (dropped, mask) = dropout.drop_weight(weight, place)?;
                let whole = std::mem::replace(weight, dropped.clone());
                masked.push((dropped, whole, mask));
            }
        }
        Ok(Self { weights, masked })
    }

    /// Turns the gradients of the dropped tensors into those of the whole ones.
    pub(super) fn restore(self, grads: &mut GradStore) -> Result<()> {
        for (dropped, whole, mask) in self.masked {
            if let Some(grad) = grads.remove(&dropped) {
                grads.insert(&whole, grad.apply_op1_no_bwd(&mask)?);
            }
        }
        Ok(())
    }
}
