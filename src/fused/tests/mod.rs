//! The fused ops against the same equations in candle's tensor ops, in float64, with candle's own
//! autograd; against finite differences; and against themselves on other numbers of threads.

mod case;
mod layer;
mod norm;
mod optimizer;
mod readout;
mod session;

use candle_core::{Device, Tensor};

fn random(shape: &[usize], seed: u64) -> Tensor {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let data: Vec<f32> = (0..shape.iter().product()).map(|_| next()).collect();
    Tensor::from_vec(data, shape, &Device::Cpu).unwrap()
}
