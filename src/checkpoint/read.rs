//! Reads the files of a checkpoint. None of them is trusted: regular files only, of a size that was
//! bounded before.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use safetensors::{Dtype, SafeTensors};

use crate::checkpoint::format::FINGERPRINT;
use crate::error::{Cause, Error, Result, ensure};
use crate::text::read_regular_file;

/// Largest JSON file that is read.
const MAX_TEXT_FILE: u64 = 256 << 20;

/// The bytes of a JSON file.
pub(super) fn read_text_file(path: &Path) -> Result<Vec<u8>> {
    read_regular_file(path, MAX_TEXT_FILE).map_err(Error::io("read", path))
}

/// The tensors of a file of at most `most` bytes by name, and the fingerprint in its metadata.
pub(super) fn read_tensors(
    path: &Path,
    most: u64,
    device: &Device,
) -> Result<(HashMap<String, Tensor>, Option<String>)> {
    let bytes = read_regular_file(path, most).map_err(Error::io("read", path))?;
    let read = || -> Result<_, Cause> {
        ensure!(!bytes.is_empty(), Cause::from("it is empty"));
        let whole = |error| Cause::from(format!("no whole safetensors file: {error}"));
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(whole)?;
        let fingerprint =
            header.metadata().as_ref().and_then(|metadata| metadata.get(FINGERPRINT)).cloned();
        let file = SafeTensors::deserialize(&bytes).map_err(whole)?;
        let tensors = file
            .iter()
            .map(|(name, view)| {
                ensure!(
                    view.dtype() == Dtype::F32,
                    Cause::from(format!("{name} is {:?}, but chargru keeps float32", view.dtype()))
                );
                let values: Vec<f32> = view
                    .data()
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                    .collect();
                ensure!(
                    values.iter().all(|v| v.is_finite()),
                    Cause::from(format!("{name} holds a NaN or an infinity"))
                );
                let tensor = Tensor::from_vec(values, view.shape(), device)?;
                Ok((name.to_string(), tensor))
            })
            .collect::<Result<_, Cause>>()?;
        Ok((tensors, fingerprint))
    };
    read().map_err(|cause| Error::broken(path, cause))
}

/// Bytes of a safetensors file of so many numbers in so many tensors; names and shapes take less than a
/// kilobyte each.
pub(super) fn file_size(numbers: u64, tensors: u64) -> u64 {
    numbers.saturating_mul(4).saturating_add(tensors.saturating_add(8) << 10)
}
