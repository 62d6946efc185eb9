//! New characters for a trained network.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use candle_nn::VarMap;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::model::{EMBEDDING, ModelConfig, bound, var_map};
use crate::text::{Tokenizer, VocabularyOptions};

/// The checkpoint's network with a row for each character of `text` that its vocabulary lacks.
///
/// Ids are in the order of code points, so that known rows may move. New rows of the embedding and of the
/// readout's weight are drawn like initial weights. A new bias of the readout is the lowest known one, so
/// that the network finds the new ids unlikely at first.
pub(super) fn extend_vocabulary(
    checkpoint: &Checkpoint,
    text: &str,
    options: &VocabularyOptions,
    rng: &mut ChaCha8Rng,
    device: &Device,
) -> Result<(ModelConfig, VarMap, Tokenizer)> {
    let (tokenizer, old_ids) = checkpoint.tokenizer.extended(text, options)?;
    let model = ModelConfig { vocab: tokenizer.vocab_size(), ..checkpoint.config.model.clone() };
    let old = checkpoint.weights();
    let tensors = model
        .parameters()
        .into_iter()
        .map(|(name, shape)| {
            let known = old.get(&name).ok_or_else(|| {
                Error::checkpoint(&checkpoint.folder, format!("the checkpoint lacks {name}"))
            })?;
            let per_id = name == EMBEDDING || name.contains("readout.");
            let tensor = if per_id {
                let bound = bound(&name, &model);
                grown(known, &old_ids, |lowest| {
                    if shape.len() == 1 {
                        lowest
                    } else {
                        (rng.random::<f32>() * 2.0 - 1.0) * bound
                    }
                })?
            } else {
                known.clone()
            };
            Ok((name, tensor.to_device(device)?))
        })
        .collect::<Result<HashMap<_, _>>>()?;
    Ok((model, var_map(tensors)?, tokenizer))
}

/// The rows of `known` [V, ..] in the order of `old_ids`. A row without an old id is new: `fresh` returns
/// each of its values, given the lowest value of `known`.
fn grown(
    known: &Tensor,
    old_ids: &[Option<u32>],
    mut fresh: impl FnMut(f32) -> f32,
) -> Result<Tensor> {
    let width = known.elem_count() / known.dim(0)?;
    let values: Vec<f32> = known.flatten_all()?.to_vec1()?;
    let lowest = values.iter().copied().fold(f32::INFINITY, f32::min);
    let mut rows = Vec::with_capacity(old_ids.len() * width);
    for old in old_ids {
        match old {
            Some(id) => {
                let start = *id as usize * width;
                rows.extend_from_slice(&values[start..start + width]);
            }
            None => rows.extend((0..width).map(|_| fresh(lowest))),
        }
    }
    let mut shape = known.dims().to_vec();
    shape[0] = old_ids.len();
    Ok(Tensor::from_vec(rows, shape, &Device::Cpu)?)
}
