//! Dropout whose masks come from the program's own seeded generator.

use candle_core::{Device, Result, Tensor};
use rand::RngCore;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// The masks of one training step: a pure function of the seed, the step and the place.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// Probability of zeroing a value, in [0, 1).
    pub probability: f64,
    /// The run's seed.
    pub seed: u64,
    /// The step that the masks belong to.
    pub step: u64,
}

impl Dropout {
    /// `x` with values zeroed at random and the rest scaled so that the mean stays.
    /// `place` tells apart the masks of one step.
    pub(super) fn apply(&self, x: &Tensor, place: u64) -> Result<Tensor> {
        if self.probability <= 0.0 {
            return Ok(x.clone());
        }
        x * self.mask(x.dims(), place, x.device())?
    }

    fn mask(&self, shape: &[usize], place: u64, device: &Device) -> Result<Tensor> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        // Streams of one seed do not overlap; steps stay far below 2^48.
        rng.set_stream((place + 1) << 48 | self.step);
        let count: usize = shape.iter().product();
        // Sixteen bits decide one value; the scale uses the probability that they give exactly.
        let threshold = (self.probability * 65536.0).round() as u16;
        let scale = (65536.0 / (65536.0 - f64::from(threshold))) as f32;
        let mut bytes = vec![0u8; count * 2];
        rng.fill_bytes(&mut bytes);
        let values: Vec<f32> = bytes
            .chunks_exact(2)
            .map(|pair| {
                if u16::from_le_bytes([pair[0], pair[1]]) < threshold {
                    0.0
                } else {
                    scale
                }
            })
            .collect();
        Tensor::from_vec(values, shape, device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_mean_zeroes_the_share_and_repeats_itself() -> Result<()> {
        let x = Tensor::ones((50, 20, 16), candle_core::DType::F32, &Device::Cpu)?;
        let dropout = Dropout {
            probability: 0.25,
            seed: 3,
            step: 9,
        };
        let flat = |t: Tensor| t.flatten_all()?.to_vec1::<f32>();
        let a = flat(dropout.apply(&x, 0)?)?;
        let zeroed = a.iter().filter(|v| **v == 0.0).count() as f64 / a.len() as f64;
        assert!((zeroed - 0.25).abs() < 0.02, "{zeroed}");
        let mean = a.iter().sum::<f32>() / a.len() as f32;
        assert!((mean - 1.0).abs() < 0.03, "{mean}");
        assert_eq!(a, flat(dropout.apply(&x, 0)?)?);
        assert_ne!(a, flat(dropout.apply(&x, 1)?)?);
        let later = Dropout {
            step: 10,
            ..dropout
        };
        assert_ne!(a, flat(later.apply(&x, 0)?)?);
        Ok(())
    }
}
