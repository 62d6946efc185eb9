//! Memory → a checkpoint folder.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use safetensors::tensor::{Dtype, TensorView};

use crate::checkpoint::atomic::{replace_folder, write_file};
use crate::checkpoint::format::{CONFIG, Snapshot, TOKENIZER, TRAINING, TRAINING_TENSORS, WEIGHTS};

/// Writes a checkpoint into `place`, replacing what is there in one move.
pub fn save(place: &Path, snapshot: &Snapshot) -> Result<()> {
    // Everything is serialised before anything is written.
    let mut files = vec![
        (CONFIG, pretty(snapshot.config)?),
        (TOKENIZER, snapshot.tokenizer.to_json()?),
        (WEIGHTS, tensors_to_bytes(&snapshot.weights)?),
    ];
    if let Some(training) = &snapshot.training {
        files.push((TRAINING, pretty(&training.record)?));
        files.push((TRAINING_TENSORS, tensors_to_bytes(&training.tensors)?));
    }
    replace_folder(place, |folder| {
        for (name, bytes) in &files {
            write_file(&folder.join(name), bytes)?;
        }
        Ok(())
    })
    .with_context(|| format!("the checkpoint {} was not replaced", place.display()))
}

fn pretty<T: serde::Serialize>(value: &T) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Named tensors as a float32 safetensors file.
pub fn tensors_to_bytes(tensors: &[(String, Tensor)]) -> Result<Vec<u8>> {
    let buffers = tensors
        .iter()
        .map(|(name, tensor)| {
            let values: Vec<f32> =
                tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            Ok((name.as_str(), tensor.dims().to_vec(), bytes))
        })
        .collect::<Result<Vec<_>>>()?;
    let views = buffers
        .iter()
        .map(|(name, shape, bytes)| Ok((*name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>>>()?;
    // "pt" tells Python's loaders that the names are PyTorch's.
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    Ok(safetensors::serialize(views, Some(metadata))?)
}
