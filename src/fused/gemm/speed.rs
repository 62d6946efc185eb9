//! How fast the product is on this machine.

use crate::fused::gemm::panels::{Order, Panels};
use crate::fused::gemm::product::{Accumulate, matmul};
use crate::fused::simd::isa::{Isa, Task};
use crate::fused::simd::level::{Level, Precision};
use crate::fused::simd::memory::{Buffer, MatMut, MatRef};
use candle_core::Result;
use std::time::Instant;

const M: usize = 32;
const K: usize = 512;
const N: usize = 192;
const PRODUCTS: usize = 100;

/// Floating-point operations a second that the product reaches on this thread with operands that stay
/// in the cache. A training step cannot take less time than its operations divided by this. Takes a
/// tenth of a second.
///
/// # Errors
/// If this processor does not have the precision.
pub fn product_speed(precision: Precision) -> Result<f64> {
    let level = Level::choose(precision)?;
    let mut panels = Panels::default();
    panels.pack(level, &vec![0.5; K * N], Order::RowMajor, K, N);
    let (a, mut c) = (vec![0.5; M * K], vec![0.0; M * N]);
    let mut scratch = Buffer::default();
    let mut best = f64::INFINITY;
    for _ in 0..20 {
        let start = Instant::now();
        level.run(Products { panels: &panels, a: &a, c: &mut c, scratch: &mut scratch });
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(2.0 * (M * K * N * PRODUCTS) as f64 / best)
}

struct Products<'a> {
    panels: &'a Panels,
    a: &'a [f32],
    c: &'a mut [f32],
    scratch: &'a mut Buffer,
}

impl Task for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let a = MatRef::new(self.a, K);
        for _ in 0..PRODUCTS {
            let c = MatMut::new(self.c, N);
            matmul(isa, a, self.panels, c, Accumulate::Add, self.scratch);
        }
    }
}
