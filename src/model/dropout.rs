//! Dropout whose masks come from the program's own seeded generator.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, bail};
use rand::RngCore;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::fused::{Mask, parallel};

/// The masks of one training step: a pure function of the seed, the step and the place.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// Probability, in [0, 1), of zeroing a hidden value at all steps of a window (variational dropout, Gal and
    /// Ghahramani 2016).
    pub hidden: f64,
    /// Probability, in [0, 1), of zeroing a recurrent weight for a window (weight drop, Merity et al. 2018).
    pub recurrent: f64,
    /// The run's seed.
    pub seed: u64,
    /// The step that the masks belong to.
    pub step: u64,
}

/// Values that one task draws: the draws do not depend on the number of threads.
const CHUNK: usize = 1 << 14;
/// The place of the lowest layer's recurrent weights. Hidden sequences have the places below.
const WEIGHTS: u64 = 256;

impl Dropout {
    /// `x` [T, B, H] with values zeroed at random, the same at every time step, and the rest scaled so that
    /// the mean stays. `place` tells the masks of one step apart.
    ///
    /// # Errors
    /// A tensor on a CPU that is not float32.
    pub(super) fn apply(&self, x: &Tensor, place: u64) -> Result<Tensor> {
        if self.hidden <= 0.0 {
            return Ok(x.clone());
        }
        let (_, b, h) = x.dims3()?;
        masked(x, self.draw(self.hidden, b * h, place), &[b, h])
    }

    /// The recurrent `weight` [G·H, H] with values zeroed at random and the rest scaled. A gradient flows.
    ///
    /// # Errors
    /// A tensor on a CPU that is not float32.
    pub(super) fn apply_to_weight(&self, weight: &Tensor, place: u64) -> Result<Tensor> {
        masked(weight, self.weight_mask(weight, place), weight.dims())
    }

    /// The same without a graph: the masked weight, and what its gradient is to be masked by.
    ///
    /// # Errors
    /// A tensor that is not float32 on a CPU.
    pub(super) fn drop_weight(&self, weight: &Tensor, place: u64) -> Result<(Tensor, Masked)> {
        let mask = Masked(Arc::new(self.weight_mask(weight, place)));
        Ok((weight.contiguous()?.apply_op1_no_bwd(&mask)?, mask))
    }

    fn weight_mask(&self, weight: &Tensor, place: u64) -> Mask {
        self.draw(self.recurrent, weight.elem_count(), WEIGHTS + place)
    }

    /// The masks of `count` values each of some layers, the first of which has `place`; none where nothing
    /// is zeroed.
    pub(super) fn masks(&self, count: usize, place: u64, layers: usize) -> Vec<Mask> {
        if self.hidden <= 0.0 {
            return Vec::new();
        }
        (0..layers as u64).map(|layer| self.draw(self.hidden, count, place + layer)).collect()
    }

    /// The mask of `count` values that `place` has in this step.
    fn draw(&self, probability: f64, count: usize, place: u64) -> Mask {
        // Sixteen bits decide one value; the scale uses the probability that they give exactly.
        let threshold = (probability * 65536.0).round() as u16;
        let scale = (65536.0 / (65536.0 - f64::from(threshold))) as f32;
        let mut kept = vec![0u8; count];
        parallel::for_items(kept.chunks_mut(CHUNK).enumerate(), |(chunk, kept)| {
            let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
            // Streams of one seed do not overlap; steps stay far below 2^48.
            rng.set_stream((place + 1) << 48 | self.step);
            rng.set_word_pos((chunk * CHUNK / 2) as u128);
            let mut bytes = [0u8; 2 * CHUNK];
            let bytes = &mut bytes[..2 * kept.len()];
            rng.fill_bytes(bytes);
            for (kept, pair) in kept.iter_mut().zip(bytes.chunks_exact(2)) {
                *kept = u8::from(u16::from_le_bytes([pair[0], pair[1]]) >= threshold);
            }
        });
        Mask { kept, scale }
    }
}

/// `x` masked, of a mask for its last dimensions `dims`.
fn masked(x: &Tensor, mask: Mask, dims: &[usize]) -> Result<Tensor> {
    match x.device() {
        Device::Cpu => x.contiguous()?.apply_op1(Masked(Arc::new(mask))),
        device => x.broadcast_mul(&Tensor::from_vec(mask.factors(), dims, device)?),
    }
}

/// Dropout as an op on a CPU.
#[derive(Clone)]
pub(super) struct Masked(Arc<Mask>);

impl CustomOp1 for Masked {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets())
        else {
            bail!("dropout takes contiguous float32")
        };
        let mut out = vec![0f32; end - start];
        self.0.write(&values[start..end], &mut out);
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(grad.contiguous()?.apply_op1_no_bwd(self)?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Var};

    use super::*;

    #[test]
    fn keeps_the_mean_zeroes_the_share_and_repeats_itself() -> Result<()> {
        let x = Tensor::ones((2, 200, 320), DType::F32, &Device::Cpu)?;
        let dropout = Dropout { hidden: 0.25, recurrent: 0.0, seed: 3, step: 9 };
        let flat = |t: Tensor| t.flatten_all()?.to_vec1::<f32>();
        let a = flat(dropout.apply(&x, 0)?)?;
        assert_eq!(a[..64_000], a[64_000..], "every time step has the same mask");
        let zeroed = a.iter().filter(|v| **v == 0.0).count() as f64 / a.len() as f64;
        assert!((zeroed - 0.25).abs() < 0.01, "{zeroed}");
        let mean = a.iter().sum::<f32>() / a.len() as f32;
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
        assert_eq!(a, flat(dropout.apply(&x, 0)?)?);
        assert_ne!(a, flat(dropout.apply(&x, 1)?)?);
        let later = Dropout { step: 10, ..dropout };
        assert_ne!(a, flat(later.apply(&x, 0)?)?);
        // The chunks of a time step do not repeat each other.
        assert_ne!(a[..CHUNK], a[CHUNK..2 * CHUNK]);
        Ok(())
    }

    /// Devices other than a CPU multiply by the factors.
    #[test]
    fn the_factors_are_what_the_op_multiplies_by() -> Result<()> {
        let x = Tensor::rand(-1f32, 1f32, (5, 4, 3), &Device::Cpu)?;
        let dropout = Dropout { hidden: 0.5, recurrent: 0.5, seed: 2, step: 3 };
        let factors = dropout.draw(0.5, 12, 1).factors();
        let factors = Tensor::from_vec(factors, (4, 3), &Device::Cpu)?;
        let flat = |t: Tensor| t.flatten_all()?.to_vec1::<f32>();
        assert_eq!(flat(dropout.apply(&x, 1)?)?, flat(x.broadcast_mul(&factors)?)?);
        Ok(())
    }

    #[test]
    fn the_gradient_passes_where_the_value_did() -> Result<()> {
        let x = Var::from_tensor(&Tensor::ones((7, 5, 3), DType::F32, &Device::Cpu)?)?;
        let dropout = Dropout { hidden: 0.5, recurrent: 0.0, seed: 1, step: 2 };
        let y = dropout.apply(&x, 3)?;
        let grads = y.sum_all()?.backward()?;
        let grad = grads.get(&x).expect("x has a gradient");
        assert_eq!(grad.flatten_all()?.to_vec1::<f32>()?, y.flatten_all()?.to_vec1::<f32>()?);
        Ok(())
    }

    /// Kernels and tensor operations drop the same weights.
    #[test]
    fn a_weight_is_dropped_in_the_same_way_with_and_without_a_graph() -> Result<()> {
        let weight = Var::from_tensor(&Tensor::ones((300, 100), DType::F32, &Device::Cpu)?)?;
        let dropout = Dropout { hidden: 0.0, recurrent: 0.2, seed: 1, step: 2 };
        let flat = |t: &Tensor| t.flatten_all()?.to_vec1::<f32>();
        let graph = dropout.apply_to_weight(weight.as_tensor(), 3)?;
        let (dropped, mask) = dropout.drop_weight(weight.as_tensor(), 3)?;
        assert_eq!(flat(&graph)?, flat(&dropped)?);
        let zeroed = flat(&dropped)?.iter().filter(|v| **v == 0.0).count() as f64 / 30_000.0;
        assert!((zeroed - 0.2).abs() < 0.02, "{zeroed}");
        let grads = graph.sum_all()?.backward()?;
        let grad = grads.get(&weight).expect("the weight has a gradient");
        let ones = weight.as_tensor().ones_like()?;
        assert_eq!(flat(grad)?, flat(&ones.apply_op1_no_bwd(&mask)?)?);
        assert_ne!(flat(&dropped)?, flat(&dropout.drop_weight(weight.as_tensor(), 4)?.0)?);
        Ok(())
    }
}
