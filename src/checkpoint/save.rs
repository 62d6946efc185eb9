//! Writes a checkpoint folder.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use safetensors::tensor::{Dtype, TensorView};

use crate::checkpoint::atomic::replace_folder;
use crate::checkpoint::disk::Disk;
use crate::checkpoint::format::{
    CONFIG, FINGERPRINT, Snapshot, TOKENIZER, TRAINING, TRAINING_TENSORS, WEIGHTS,
};
use crate::error::{Cause, Error, Result, ensure};

/// Writes a checkpoint into the folder `place`, replacing the one that is there in one move.
///
/// # Errors
/// [`Error::Checkpoint`] if the folder cannot be written or holds something else, or if a number is
/// infinite or NaN; the old checkpoint stays.
pub fn save(place: &Path, snapshot: &Snapshot) -> Result<()> {
    save_on(&Disk::default(), place, snapshot)
}

pub(super) fn save_on(disk: &Disk, place: &Path, snapshot: &Snapshot) -> Result<()> {
    write(disk, place, snapshot).map_err(|cause| Error::Checkpoint {
        path: place.to_path_buf(),
        message: format!("the checkpoint {} was not replaced", place.display()),
        source: Some(cause),
    })
}

fn write(disk: &Disk, place: &Path, snapshot: &Snapshot) -> Result<(), Cause> {
    // Everything is serialised and checked before anything is written. config.json comes first: by it a
    // folder is known as a checkpoint.
    let tokenizer = snapshot.tokenizer.to_json()?;
    let fingerprint = snapshot.config.fingerprint(&tokenizer);
    let weights = checked_bytes(&snapshot.weights, &fingerprint)?;
    let mut files =
        vec![(CONFIG, pretty(snapshot.config)?), (TOKENIZER, tokenizer), (WEIGHTS, weights)];
    if let Some(training) = &snapshot.training {
        let mut record = training.record.clone();
        record.fingerprint.clone_from(&fingerprint);
        files.push((TRAINING, pretty(&record)?));
        files.push((TRAINING_TENSORS, checked_bytes(&training.tensors, &fingerprint)?));
    }
    Ok(replace_folder(disk, place, &files)?)
}

fn pretty<T: serde::Serialize>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// A file of tensors that can be loaded again: a NaN or an infinity is refused, as it would be then.
fn checked_bytes(tensors: &[(String, Tensor)], fingerprint: &str) -> Result<Vec<u8>, Cause> {
    let mut file = serialize(tensors, |name, values| {
        ensure!(
            values.iter().all(|value| value.is_finite()),
            Error::TrainingState(format!(
                "{name} holds a NaN or an infinity: train with a lower `lr`"
            ))
        );
        Ok(())
    })?;
    add_fingerprint(&mut file, fingerprint)?;
    Ok(file)
}

/// Named tensors as the bytes of a float32 safetensors file.
///
/// # Errors
/// [`Error::Tensor`] for a tensor that cannot be copied from its device.
pub fn tensors_to_bytes(tensors: &[(String, Tensor)]) -> Result<Vec<u8>> {
    serialize(tensors, |_, _| Ok(()))
}

/// The bytes of a safetensors file. Its metadata has the format "pt", which tells Python's loaders that the
/// names are PyTorch's. `check` sees the values of every tensor.
fn serialize(
    tensors: &[(String, Tensor)],
    check: impl Fn(&str, &[f32]) -> Result<()>,
) -> Result<Vec<u8>> {
    let buffers = tensors
        .iter()
        .map(|(name, tensor)| {
            let values: Vec<f32> =
                tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
            check(name, &values)?;
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            Ok((name.as_str(), tensor.dims().to_vec(), bytes))
        })
        .collect::<Result<Vec<_>>>()?;
    let views = buffers
        .iter()
        .map(|(name, shape, bytes)| Ok((*name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(candle_core::Error::wrap)?;
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    Ok(safetensors::serialize(views, Some(metadata)).map_err(candle_core::Error::wrap)?)
}

/// Puts [`FINGERPRINT`] into the metadata of a file. `safetensors` writes several keys in an order that
/// changes from one process to the next, so the second one is put in here.
fn add_fingerprint(file: &mut Vec<u8>, fingerprint: &str) -> Result<(), Cause> {
    const HEAD: &str = r#"{"__metadata__":{"format":"pt""#;
    let (length, rest) = file.split_first_chunk().ok_or("the file has no header")?;
    let length = usize::try_from(u64::from_le_bytes(*length))?;
    let header = std::str::from_utf8(rest.get(..length).ok_or("the header is cut off")?)?;
    let after = header.strip_prefix(HEAD).ok_or("the header has no metadata")?;
    let mut header = format!(r#"{HEAD},"{FINGERPRINT}":"{fingerprint}"{}"#, after.trim_end());
    // The data begins at a multiple of eight bytes.
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    let size = (header.len() as u64).to_le_bytes();
    file.splice(..size.len() + length, size.into_iter().chain(header.into_bytes()));
    Ok(())
}
