//! Initial weights, drawn from a generator of this crate: candle's cannot be seeded on a CPU.

use candle_core::{Device, Tensor, Var};
use candle_nn::VarMap;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};
use crate::model::config::{EMBEDDING, ModelConfig, READOUT, is_norm};

/// A `VarMap` with every parameter of `config`, float32 on `device`.
///
/// Recurrent and readout weights are uniform in ±1/√H, as in PyTorch's `nn.GRU` and `nn.Linear` (the readout of
/// both sides in ±1/√2H). The
/// embedding is uniform in ±√(3/E), so that its values have the variance 1/E and the input of the first
/// layer has about the length 1. The gains of a residual network are 1. The others are drawn in order of
/// name: the same seed gives the same weights.
///
/// # Errors
/// [`Error::Tensor`] if the device has no memory.
pub fn init(config: &ModelConfig, rng: &mut ChaCha8Rng, device: &Device) -> Result<VarMap> {
    let mut tensors = Vec::new();
    for (name, shape) in config.parameters() {
        let bound = bound(&name, config);
        let count = shape.iter().product();
        let values: Vec<f32> = if is_norm(&name) {
            vec![1.0; count]
        } else {
            (0..count).map(|_| (rng.random::<f32>() * 2.0 - 1.0) * bound).collect()
        };
        tensors.push((name, Tensor::from_vec(values, shape, device)?));
    }
    var_map(tensors)
}

/// Largest magnitude of an initial value of this parameter.
pub(crate) fn bound(name: &str, config: &ModelConfig) -> f32 {
    if name == EMBEDDING {
        (3.0 / config.embedding as f32).sqrt()
    } else {
        let width = if name.starts_with(READOUT) && config.bidirectional {
            2 * config.hidden
        } else {
            config.hidden
        };
        1.0 / (width as f32).sqrt()
    }
}

/// Wraps named tensors as trainable variables.
pub(crate) fn var_map(tensors: impl IntoIterator<Item = (String, Tensor)>) -> Result<VarMap> {
    let map = VarMap::new();
    {
        let mut data = map.data().lock().map_err(|_| poisoned())?;
        for (name, tensor) in tensors {
            data.insert(name, Var::from_tensor(&tensor)?);
        }
    }
    Ok(map)
}

/// The variables in order of name. (`VarMap::all_vars` returns them in the order of a hash map, which
/// differs from run to run.)
///
/// # Errors
/// [`Error::Tensor`] if a thread panicked while it held the lock of `map`.
pub fn named_vars(map: &VarMap) -> Result<Vec<(String, Var)>> {
    let data = map.data().lock().map_err(|_| poisoned())?;
    let mut vars: Vec<_> = data.iter().map(|(name, var)| (name.clone(), var.clone())).collect();
    vars.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(vars)
}

fn poisoned() -> Error {
    candle_core::Error::msg("a thread panicked while it held the weights").into()
}
