//! `rnn`: Elman 1990, with tanh: `h' = tanh(W_ih x + b_ih + W_hh h + b_hh)`.
//!
//! One gate, which is the new h. Nothing is saved.

use crate::fused::gemm::product::{
    Accumulate::{Add, Overwrite},
    matmul,
};
use crate::fused::rnn::cells::step::{
    Backward, BiasHh, CellStep, Forward, Left, Right, Section, Step, pointwise, tanh_slope,
};
use crate::fused::simd::activations::tanh;
use crate::fused::simd::isa::{Isa, load, store};
use crate::fused::simd::memory::{MatMut, MatRef};
use pulp::Simd;

/// The cell `rnn`.
pub struct Rnn;

impl CellStep for Rnn {
    const NAME: &'static str = "rnn";
    const GATES: usize = 1;
    const SECTIONS: &'static [Section] =
        &[Section { blocks: 1, left: Left::Gates, right: Right::Entering }];
    const BIAS_HH: BiasHh = BiasHh::Added;

    #[inline(always)]
    fn forward<I: Isa>(isa: I, step: Step, forward: Forward) {
        let (simd, h) = (isa.simd(), step.hidden_size);
        let state = MatRef::new(step.h, h);
        matmul(isa, state, &step.weights[0], MatMut::new(step.gates, h), Add, step.operand);
        pointwise!(simd, step, |row, [gate], j, n| {
            let next = tanh(simd, load(simd, gate, j, n));
            store(simd, gate, j, n, next);
            store(simd, &mut forward.out[row.clone()], j, n, next);
        });
    }

    #[inline(always)]
    fn backward<I: Isa>(isa: I, step: Step, backward: Backward) {
        let (simd, h) = (isa.simd(), step.hidden_size);
        let Backward { grad, dh, .. } = backward;
        pointwise!(simd, step, |row, [gate], j, n| {
            let d = simd
                .add_f32s(load(simd, &grad[row.clone()], j, n), load(simd, &dh[row.clone()], j, n));
            store(simd, gate, j, n, simd.mul_f32s(d, tanh_slope(simd, load(simd, gate, j, n))));
        });
        let gates = MatRef::new(step.gates, h);
        matmul(isa, gates, &step.weights[0], MatMut::new(dh, h), Overwrite, step.operand);
    }
}
