//! Cross-entropy of one row of logits.

use crate::fused::simd::activations::exp;
use crate::fused::simd::isa::{Isa, for_vectors, load, store};
use pulp::Simd;

/// Turns a row of logits into the gradient of `share` times the cross-entropy of `target`, and returns
/// the cross-entropy, in nats.
#[inline(always)]
pub fn cross_entropy<I: Isa>(isa: I, row: &mut [f32], target: u32, share: f32) -> f32 {
    let (simd, v) = (isa.simd(), row.len());
    // A NaN anywhere must reach the loss; it does through the sum.
    let top = row.iter().copied().fold(f32::MIN, f32::max);
    let target_logit = row[target as usize];
    let mut sums = simd.splat_f32s(0.0);
    for_vectors!(simd, v, |j, n| {
        let e = exp(simd, simd.sub_f32s(load(simd, row, j, n), simd.splat_f32s(top)));
        store(simd, row, j, n, e);
        // Lanes beyond the row are stored nowhere: read back, they are zero.
        sums = simd.add_f32s(sums, load(simd, row, j, n));
    });
    let sum = simd.reduce_sum_f32s(sums);
    let scale = share / sum;
    row.iter_mut().for_each(|p| *p *= scale);
    row[target as usize] -= share;
    top - target_logit + sum.ln()
}
