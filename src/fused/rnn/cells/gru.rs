//! `gru`: the reset gate acts on h before the matrix product.
//! Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder".
//!
//! ```text
//! r = σ(W_r [h, x] + b_r)          z = σ(W_z [h, x] + b_z)
//! n = tanh(W_h [r ∘ h, x] + b_h)   h' = (1 - z) ∘ h + z ∘ n
//! ```
//!
//! Gates r, z, n. Saved: `r ∘ h`.

use crate::fused::gemm::product::{
    Accumulate::{Add, Overwrite},
    matmul,
};
use crate::fused::rnn::cells::step::{
    Backward, BiasHh, CellStep, Forward, Left, Right, Section, Step, mix, pointwise, sigmoid_slope,
    tanh_slope,
};
use crate::fused::simd::activations::{sigmoid, tanh};
use crate::fused::simd::isa::{Isa, load, store};
use crate::fused::simd::memory::{MatMut, MatRef};
use pulp::Simd;

/// The cell `gru`.
pub struct Gru;

impl CellStep for Gru {
    const NAME: &'static str = "gru";
    const GATES: usize = 3;
    const SECTIONS: &'static [Section] = &[
        Section { blocks: 2, left: Left::Gates, right: Right::Entering },
        Section { blocks: 1, left: Left::Gates, right: Right::Saved },
    ];
    const BIAS_HH: BiasHh = BiasHh::None;

    #[inline(always)]
    fn forward<I: Isa>(isa: I, step: Step, forward: Forward) {
        let (simd, h) = (isa.simd(), step.hidden_size);
        let state = MatRef::new(step.h, h);
        matmul(isa, state, &step.weights[0], MatMut::new(step.gates, 3 * h), Add, step.operand);
        pointwise!(simd, step, |row, [r, z, _n], j, n| {
            let reset = sigmoid(simd, load(simd, r, j, n));
            store(simd, r, j, n, reset);
            store(simd, z, j, n, sigmoid(simd, load(simd, z, j, n)));
            let kept = simd.mul_f32s(reset, load(simd, &step.h[row.clone()], j, n));
            store(simd, &mut step.saved[row.clone()], j, n, kept);
        });
        let kept = MatRef::new(step.saved, h);
        matmul(
            isa,
            kept,
            &step.weights[1],
            MatMut::new(&mut step.gates[2 * h..], 3 * h),
            Add,
            step.operand,
        );
        pointwise!(simd, step, |row, [_r, z, candidate], j, n| {
            let c = tanh(simd, load(simd, candidate, j, n));
            store(simd, candidate, j, n, c);
            let state = load(simd, &step.h[row.clone()], j, n);
            let next = mix(simd, state, c, load(simd, z, j, n));
            store(simd, &mut forward.out[row.clone()], j, n, next);
        });
    }

    #[inline(always)]
    fn backward<I: Isa>(isa: I, step: Step, backward: Backward) {
        let (simd, h) = (isa.simd(), step.hidden_size);
        let Backward { grad, dh, scratch, .. } = backward;
        pointwise!(simd, step, |row, [_r, z, candidate], j, n| {
            let (zt, c) = (load(simd, z, j, n), load(simd, candidate, j, n));
            let state = load(simd, &step.h[row.clone()], j, n);
            let d = simd
                .add_f32s(load(simd, &grad[row.clone()], j, n), load(simd, &dh[row.clone()], j, n));
            let dz =
                simd.mul_f32s(simd.mul_f32s(d, simd.sub_f32s(c, state)), sigmoid_slope(simd, zt));
            let through = simd.mul_f32s(d, zt);
            store(simd, z, j, n, dz);
            store(simd, candidate, j, n, simd.mul_f32s(through, tanh_slope(simd, c)));
            store(simd, &mut dh[row.clone()], j, n, simd.sub_f32s(d, through));
        });
        // scratch = d(r ∘ h)
        let dn = MatRef::new(&step.gates[2 * h..], 3 * h);
        matmul(isa, dn, &step.weights[1], MatMut::new(scratch, h), Overwrite, step.operand);
        pointwise!(simd, step, |row, [r, _z, _n], j, n| {
            let (rt, state) = (load(simd, r, j, n), load(simd, &step.h[row.clone()], j, n));
            let d = load(simd, &scratch[row.clone()], j, n);
            let carried = simd.mul_add_e_f32s(d, rt, load(simd, &dh[row.clone()], j, n));
            store(simd, &mut dh[row.clone()], j, n, carried);
            store(simd, r, j, n, simd.mul_f32s(simd.mul_f32s(d, state), sigmoid_slope(simd, rt)));
        });
        let drz = MatRef::new(step.gates, 3 * h);
        matmul(isa, drz, &step.weights[0], MatMut::new(dh, h), Add, step.operand);
    }
}
