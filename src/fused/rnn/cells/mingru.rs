//! `mingru`: gates and candidate of the input alone.
//! Feng et al. 2024, "Were RNNs All We Needed?".
//!
//! ```text
//! z = σ(W_z x + b_z)   n = g(W_h x + b_h)   h' = (1 - z) ∘ h + z ∘ n
//! g(a) = a + 0.5 where a >= 0, σ(a) elsewhere
//! ```
//!
//! g, which keeps n positive, is of the paper's log-space form; it measured better than n = a (see
//! benches/README.md). Gates z, n. No product with h, so no `weight_hh`. Nothing is saved.

use crate::fused::rnn::cells::step::{
    Backward, BiasHh, CellStep, Forward, Section, Step, mix, pointwise, sigmoid_slope,
};
use crate::fused::simd::activations::sigmoid;
use crate::fused::simd::isa::{Isa, load, store};
use pulp::Simd;

/// The cell `mingru`.
pub struct MinGru;

impl CellStep for MinGru {
    const NAME: &'static str = "mingru";
    const GATES: usize = 2;
    const SECTIONS: &'static [Section] = &[];
    const BIAS_HH: BiasHh = BiasHh::None;

    #[inline(always)]
    fn forward<I: Isa>(isa: I, step: Step, forward: Forward) {
        let simd = isa.simd();
        pointwise!(simd, step, |row, [z, candidate], j, n| {
            let zt = sigmoid(simd, load(simd, z, j, n));
            store(simd, z, j, n, zt);
            let c = positive(simd, load(simd, candidate, j, n));
            store(simd, candidate, j, n, c);
            let state = load(simd, &step.h[row.clone()], j, n);
            store(simd, &mut forward.out[row.clone()], j, n, mix(simd, state, c, zt));
        });
    }

    #[inline(always)]
    fn backward<I: Isa>(isa: I, step: Step, backward: Backward) {
        let simd = isa.simd();
        let Backward { grad, dh, .. } = backward;
        pointwise!(simd, step, |row, [z, candidate], j, n| {
            let (zt, c) = (load(simd, z, j, n), load(simd, candidate, j, n));
            let state = load(simd, &step.h[row.clone()], j, n);
            let d = simd
                .add_f32s(load(simd, &grad[row.clone()], j, n), load(simd, &dh[row.clone()], j, n));
            let through = simd.mul_f32s(d, zt);
            let dz =
                simd.mul_f32s(simd.mul_f32s(d, simd.sub_f32s(c, state)), sigmoid_slope(simd, zt));
            store(simd, z, j, n, dz);
            store(simd, candidate, j, n, simd.mul_f32s(through, positive_slope(simd, c)));
            store(simd, &mut dh[row.clone()], j, n, simd.sub_f32s(d, through));
        });
    }
}

/// g(a): positive, continuous and rising.
#[inline(always)]
fn positive<S: Simd>(simd: S, a: S::f32s) -> S::f32s {
    let not_negative = simd.greater_than_or_equal_f32s(a, simd.splat_f32s(0.0));
    let shifted = simd.add_f32s(a, simd.splat_f32s(0.5));
    simd.select_f32s(not_negative, shifted, sigmoid(simd, a))
}

/// The derivative of [`positive`] where its value is n.
#[inline(always)]
fn positive_slope<S: Simd>(simd: S, n: S::f32s) -> S::f32s {
    let not_negative = simd.greater_than_or_equal_f32s(n, simd.splat_f32s(0.5));
    simd.select_f32s(not_negative, simd.splat_f32s(1.0), sigmoid_slope(simd, n))
}
