//! Writes a checkpoint folder.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use safetensors::tensor::{Dtype, TensorView};

use crate::checkpoint::atomic::{replace_folder, write_file};
use crate::checkpoint::format::{CONFIG, Snapshot, TOKENIZER, TRAINING, TRAINING_TENSORS, WEIGHTS};
use crate::error::{Cause, Error, Result};

/// Writes a checkpoint into the folder `place`, replacing what is there in one move.
///
/// # Errors
/// [`Error::Checkpoint`] if the folder cannot be written; the old checkpoint stays.
pub fn save(place: &Path, snapshot: &Snapshot) -> Result<()> {
    write(place, snapshot).map_err(|cause| Error::Checkpoint {
        path: place.to_path_buf(),
        message: format!("the checkpoint {} was not replaced", place.display()),
        source: Some(cause),
    })
}

fn write(place: &Path, snapshot: &Snapshot) -> Result<(), Cause> {
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
        files.iter().try_for_each(|(name, bytes)| write_file(&folder.join(name), bytes))
    })?;
    Ok(())
}

fn pretty<T: serde::Serialize>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Named tensors as the bytes of a float32 safetensors file.
///
/// # Errors
/// [`Error::Tensor`] for a tensor that cannot be copied from its device.
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
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(candle_core::Error::wrap)?;
    // "pt" tells Python's loaders that the names are PyTorch's.
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    Ok(safetensors::serialize(views, Some(metadata)).map_err(candle_core::Error::wrap)?)
}
