//! The settings that fix the shape of a network. Knows no tensors.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, ensure};
use crate::fused::{Cell, Direction};

/// The shape of a network: everything that its weights must agree with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct ModelConfig {
    /// Which recurrence the layers compute.
    pub cell: Cell,
    /// V: ids that the network reads and predicts.
    pub vocab: usize,
    /// E: length of one id's embedding.
    pub embedding: usize,
    /// H: length of one layer's hidden vector.
    pub hidden: usize,
    /// L: recurrent layers, stacked.
    pub layers: usize,
    /// Probability of zeroing a hidden value between layers and before the readout, while training.
    pub dropout: f64,
    /// The readout uses the embedding table as its weight (then E = H).
    #[serde(default)]
    pub tie_weights: bool,
    /// A second stack of layers reads the text from right to left, and a character is predicted from both
    /// sides. (Older programs refuse a configuration that has this field.)
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bidirectional: bool,
    /// What a layer gives is its hidden vector normalised, with a gain for each value, plus what the layer
    /// read (but for the lowest, which reads the embedding). (Older programs refuse a configuration that has
    /// this field.)
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub residual: bool,
}

/// Name and shape of each tensor of one layer.
pub(crate) struct LayerShapes {
    pub(crate) weight_ih: (String, Vec<usize>),
    pub(crate) weight_hh: Option<(String, Vec<usize>)>,
    pub(crate) bias_ih: (String, Vec<usize>),
    pub(crate) bias_hh: Option<(String, Vec<usize>)>,
}

impl LayerShapes {
    fn into_iter(self) -> impl Iterator<Item = (String, Vec<usize>)> {
        [Some(self.weight_ih), self.weight_hh, Some(self.bias_ih), self.bias_hh]
            .into_iter()
            .flatten()
    }
}

impl Default for ModelConfig {
    /// A model of about 3 MB that trains in minutes on a laptop. The vocabulary, 0 here, comes from the text.
    fn default() -> Self {
        Self {
            cell: Cell::Gru,
            vocab: 0,
            // Enough for the few characters of a text. Not tuned; its share of the training time is small.
            embedding: 64,
            hidden: 256,
            layers: 2,
            // With 0.1 the network overfits the shipped text after twelve epochs.
            dropout: 0.25,
            tie_weights: false,
            bidirectional: false,
            residual: false,
        }
    }
}

/// Larger sizes are taken for a mistake, or for a broken config.json.
const MAX_SIZE: usize = 1 << 16;
const MAX_LAYERS: usize = 64;
const MAX_VOCAB: usize = 0x11_0000 + 2;

/// `1 layer`, `2 layers`.
pub(crate) fn count_of_layers(layers: usize) -> String {
    format!("{layers} layer{}", if layers == 1 { "" } else { "s" })
}

impl ModelConfig {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`Error::Setting`] for a size of 0 or beyond the largest, a dropout that is not at least 0 and below
    /// 1, or tied weights with E ≠ H or in a bidirectional network.
    pub fn validate(&self) -> Result<()> {
        for (name, value, max) in [
            ("vocab", self.vocab, MAX_VOCAB),
            ("embedding", self.embedding, MAX_SIZE),
            ("hidden", self.hidden, MAX_SIZE),
            ("layers", self.layers, MAX_LAYERS),
        ] {
            ensure!(
                (1..=max).contains(&value),
                Error::out_of_range(name, value, format!("give a number from 1 to {max}"))
            );
        }
        ensure!(
            (0.0..1.0).contains(&self.dropout),
            Error::out_of_range(
                "dropout",
                self.dropout,
                "give a number from 0 up to, but not including, 1"
            )
        );
        ensure!(
            !self.tie_weights || self.embedding == self.hidden,
            Error::setting(
                "tie_weights",
                format!(
                    "`tie_weights` needs `embedding` equal to `hidden`: they are {} and {}",
                    self.embedding, self.hidden
                )
            )
        );
        ensure!(
            !(self.tie_weights && self.bidirectional),
            Error::setting(
                "tie_weights",
                "`tie_weights` and `bidirectional` exclude each other, as the readout of both sides has rows \
                 of 2 H numbers and the embedding has not: leave one out"
            )
        );
        Ok(())
    }

    /// The shape of one direction of a bidirectional network: a language model of its own.
    pub(crate) fn half(&self) -> Self {
        Self { bidirectional: false, ..self.clone() }
    }

    /// The directions in which the layers read.
    fn directions(&self) -> &'static [Direction] {
        if self.bidirectional {
            &[Direction::Forward, Direction::Reverse]
        } else {
            &[Direction::Forward]
        }
    }

    /// Every parameter's name and shape, sorted by name: the contents of `model.safetensors`.
    pub fn parameters(&self) -> Vec<(String, Vec<usize>)> {
        let mut all = vec![(EMBEDDING.to_string(), vec![self.vocab, self.embedding])];
        let mut readout = |name: &str, width: usize| {
            if !self.tie_weights {
                all.push((format!("{name}.weight"), vec![self.vocab, width]));
            }
            all.push((format!("{name}.bias"), vec![self.vocab]));
        };
        if self.bidirectional {
            readout(READOUT, 2 * self.hidden);
            readout(FORWARD_READOUT, self.hidden);
            readout(BACKWARD_READOUT, self.hidden);
        } else {
            readout(READOUT, self.hidden);
        }
        for &direction in self.directions() {
            let layers = (0..self.layers).map(|layer| self.layer_shapes(layer, direction));
            all.extend(layers.flat_map(LayerShapes::into_iter));
            all.extend(self.norms(direction));
        }
        all.sort();
        all
    }

    /// The parameters of one layer, counted from the lowest: the only place that knows what a layer
    /// reads and what its tensors are called.
    pub(crate) fn layer_shapes(&self, layer: usize, direction: Direction) -> LayerShapes {
        let input = if layer == 0 { self.embedding } else { self.hidden };
        let rows = self.cell.gates() * self.hidden;
        let suffix = match direction {
            Direction::Forward => "",
            Direction::Reverse => "_reverse",
        };
        let named =
            |kind: &str, shape: &[usize]| (format!("rnn.{kind}_l{layer}{suffix}"), shape.to_vec());
        LayerShapes {
            weight_ih: named("weight_ih", &[rows, input]),
            weight_hh: self.cell.has_weight_hh().then(|| named("weight_hh", &[rows, self.hidden])),
            bias_ih: named("bias_ih", &[rows]),
            bias_hh: self.cell.has_bias_hh().then(|| named("bias_hh", &[rows])),
        }
    }

    /// Name and shape of the gain of each layer of a residual network, from the lowest; none of another.
    pub(crate) fn norms(&self, direction: Direction) -> Vec<(String, Vec<usize>)> {
        let room = match direction {
            Direction::Forward => NORM,
            Direction::Reverse => REVERSE_NORM,
        };
        let layers = if self.residual { self.layers } else { 0 };
        (0..layers).map(|layer| (format!("{room}{layer}.weight"), vec![self.hidden])).collect()
    }

    /// Count of trained numbers.
    pub fn parameter_count(&self) -> usize {
        self.parameters().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }
}

/// How the names of the gains begin.
const NORM: &str = "norm.";
const REVERSE_NORM: &str = "norm_reverse.";

pub(crate) const EMBEDDING: &str = "embedding.weight";
/// Whether a parameter is the gain of a layer's normalisation.
pub(crate) fn is_norm(name: &str) -> bool {
    name.starts_with(NORM) || name.starts_with(REVERSE_NORM)
}

/// Of the network, or of both sides of a bidirectional one; then those of its halves alone.
pub(crate) const READOUT: &str = "readout";
pub(crate) const FORWARD_READOUT: &str = "forward_readout";
pub(crate) const BACKWARD_READOUT: &str = "backward_readout";
