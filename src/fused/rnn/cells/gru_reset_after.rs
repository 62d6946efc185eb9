//! `gru-reset-after`: the reset gate acts after the matrix product, and z has the opposite sense.
//! The GRU of PyTorch, cuDNN and of Keras with `reset_after`.
//!
//! ```text
//! r = σ(W_ir x + b_ir + W_hr h + b_hr)              z = σ(W_iz x + b_iz + W_hz h + b_hz)
//! n = tanh(W_in x + b_in + r ∘ (W_hn h + b_hn))     h' = (1 - z) ∘ n + z ∘ h
//! ```
//!
//! Gates r, z, n. Saved: `W_hn h + b_hn`, then its gradient.

use crate::fused::gemm::product::{Accumulate::Add, matmul};
use crate::fused::rnn::cells::step::{
    Backward, BiasHh, CellStep, Forward, Left, Right, Section, Step, mix, pointwise, sigmoid_slope,
    tanh_slope,
};
use crate::fused::simd::activations::{sigmoid, tanh};
use crate::fused::simd::isa::{Isa, load, store};
use crate::fused::simd::memory::{MatMut, MatRef};
use pulp::Simd;

/// The cell `gru-reset-after`.
pub struct GruResetAfter;

impl CellStep for GruResetAfter {
    const NAME: &'static str = "gru-reset-after";
    const GATES: usize = 3;
    const SECTIONS: &'static [Section] = &[
        Section { blocks: 2, left: Left::Gates, right: Right::Entering },
        Section { blocks: 1, left: Left::Saved, right: Right::Entering },
    ];
    const BIAS_HH: BiasHh = BiasHh::LastApart;

    #[inline(always)]
    fn forward<I: Isa>(isa: I, step: Step, forward: Forward) {
        let (simd, h) = (isa.simd(), step.hidden_size);
        let state = MatRef::new(step.h, h);
        matmul(isa, state, &step.weights[0], MatMut::new(step.gates, 3 * h), Add, step.operand);
        step.saved.chunks_exact_mut(h).for_each(|row| row.copy_from_slice(forward.bias_hn));
        matmul(isa, state, &step.weights[1], MatMut::new(step.saved, h), Add, step.operand);
        pointwise!(simd, step, |row, [r, z, candidate], j, n| {
            let rt = sigmoid(simd, load(simd, r, j, n));
            let zt = sigmoid(simd, load(simd, z, j, n));
            let recurrent = load(simd, &step.saved[row.clone()], j, n);
            let c = tanh(simd, simd.mul_add_e_f32s(rt, recurrent, load(simd, candidate, j, n)));
            store(simd, r, j, n, rt);
            store(simd, z, j, n, zt);
            store(simd, candidate, j, n, c);
            let next = mix(simd, c, load(simd, &step.h[row.clone()], j, n), zt);
            store(simd, &mut forward.out[row.clone()], j, n, next);
        });
    }

    #[inline(always)]
    fn backward<I: Isa>(isa: I, step: Step, backward: Backward) {
        let (simd, h) = (isa.simd(), step.hidden_size);
        let Backward { grad, dh, .. } = backward;
        pointwise!(simd, step, |row, [r, z, candidate], j, n| {
            let (rt, zt, c) =
                (load(simd, r, j, n), load(simd, z, j, n), load(simd, candidate, j, n));
            let state = load(simd, &step.h[row.clone()], j, n);
            let recurrent = load(simd, &step.saved[row.clone()], j, n);
            let d = simd
                .add_f32s(load(simd, &grad[row.clone()], j, n), load(simd, &dh[row.clone()], j, n));
            let dz =
                simd.mul_f32s(simd.mul_f32s(d, simd.sub_f32s(state, c)), sigmoid_slope(simd, zt));
            let through = simd.mul_f32s(d, zt);
            let dn = simd.mul_f32s(simd.sub_f32s(d, through), tanh_slope(simd, c));
            let dr = simd.mul_f32s(simd.mul_f32s(dn, recurrent), sigmoid_slope(simd, rt));
            store(simd, r, j, n, dr);
            store(simd, z, j, n, dz);
            store(simd, candidate, j, n, dn);
            store(simd, &mut step.saved[row.clone()], j, n, simd.mul_f32s(dn, rt));
            store(simd, &mut dh[row.clone()], j, n, through);
        });
        let drz = MatRef::new(step.gates, 3 * h);
        matmul(isa, drz, &step.weights[0], MatMut::new(dh, h), Add, step.operand);
        let dn = MatRef::new(step.saved, h);
        matmul(isa, dn, &step.weights[1], MatMut::new(dh, h), Add, step.operand);
    }
}
