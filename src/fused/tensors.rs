//! Reads candle tensors as slices, and says what is wrong with those that do not fit.

use candle_core::{CpuStorage, DType, Device, Layout, Result, Storage, StorageRef, Tensor, bail};

/// Whether the ops of this module take tensors of this kind: float32 on a CPU.
pub fn supported(device: &Device, dtype: DType) -> bool {
    device.is_cpu() && dtype == DType::F32
}

/// Checks that `tensor` is float32 on a CPU and has the dimensions `dims`.
///
/// # Errors
/// One that is not, or has others.
pub fn expect(name: &str, tensor: &Tensor, dims: &[usize]) -> Result<()> {
    if !supported(tensor.device(), tensor.dtype()) {
        bail!("{name} must be float32 on a CPU, got {:?} on {:?}", tensor.dtype(), tensor.device());
    }
    if tensor.dims() != dims {
        bail!("{name} must be {dims:?}, got {:?}", tensor.dims());
    }
    Ok(())
}

/// The elements that an op was given.
///
/// # Errors
/// A tensor that is not contiguous or not float32.
pub fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("a fused op was given a tensor that is not contiguous"),
    }
}

/// The elements of a contiguous float32 tensor, held for reading.
pub struct Floats<'a> {
    storage: StorageRef<'a>,
    range: std::ops::Range<usize>,
}

/// Holds a tensor's elements for reading.
///
/// # Errors
/// A tensor that is not contiguous, not float32 or not on a CPU.
pub fn floats(tensor: &Tensor) -> Result<Floats<'_>> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(cpu) => slice(cpu, layout)?,
        _ => bail!("a fused op was given a tensor that is not on a CPU"),
    };
    let first = layout.start_offset();
    Ok(Floats { storage, range: first..first + layout.shape().elem_count() })
}

impl std::ops::Deref for Floats<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(data)) => &data[self.range.clone()],
            _ => unreachable!("checked by floats()"),
        }
    }
}

/// A tensor of `data` with the shape and device of `tensor`.
///
/// # Errors
/// Another number of elements.
pub fn like(data: Vec<f32>, tensor: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(data, tensor.shape(), tensor.device())
}

/// Ids as a list.
///
/// # Errors
/// An id that is not below `limit`; a tensor that is not u32.
pub fn ids(ids: &Tensor, limit: usize) -> Result<Vec<u32>> {
    let ids = ids.flatten_all()?.to_vec1::<u32>()?;
    match ids.iter().find(|&&id| id as usize >= limit) {
        Some(id) => bail!("id {id} is outside the vocabulary of {limit}"),
        None => Ok(ids),
    }
}

/// Resets as a list.
///
/// # Errors
/// A tensor that is not u8.
pub fn flags(flags: &Tensor) -> Result<Vec<u8>> {
    flags.flatten_all()?.to_vec1::<u8>()
}
