//! `lstm`: Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000, as in PyTorch.
//!
//! ```text
//! i = σ(..)   f = σ(..)   g = tanh(..)   o = σ(..)     of W_i· x + b_i· + W_h· h + b_h·
//! c' = f ∘ c + i ∘ g      h' = o ∘ tanh(c')
//! ```
//!
//! Gates i, f, g, o. Saved: c as it leaves the step.

use crate::fused::gemm::product::{
    Accumulate::{Add, Overwrite},
    matmul,
};
use crate::fused::rnn::cells::step::{
    Backward, BiasHh, CellStep, Forward, Left, Right, Section, Step, pointwise, sigmoid_slope,
    tanh_slope,
};
use crate::fused::simd::activations::{sigmoid, tanh};
use crate::fused::simd::isa::{Isa, load, store};
use crate::fused::simd::memory::{MatMut, MatRef};
use pulp::Simd;

/// The cell `lstm`.
pub struct Lstm;

impl CellStep for Lstm {
    const NAME: &'static str = "lstm";
    const GATES: usize = 4;
    const STATES: usize = 2;
    const SECTIONS: &'static [Section] =
        &[Section { blocks: 4, left: Left::Gates, right: Right::Entering }];
    const BIAS_HH: BiasHh = BiasHh::Added;

    #[inline(always)]
    fn forward<I: Isa>(isa: I, step: Step, forward: Forward) {
        let (simd, h) = (isa.simd(), step.hidden_size);
        let state = MatRef::new(step.h, h);
        matmul(isa, state, &step.weights[0], MatMut::new(step.gates, 4 * h), Add, step.operand);
        pointwise!(simd, step, |row, [input, forget, candidate, output], j, n| {
            let i = sigmoid(simd, load(simd, input, j, n));
            let f = sigmoid(simd, load(simd, forget, j, n));
            let g = tanh(simd, load(simd, candidate, j, n));
            let o = sigmoid(simd, load(simd, output, j, n));
            store(simd, input, j, n, i);
            store(simd, forget, j, n, f);
            store(simd, candidate, j, n, g);
            store(simd, output, j, n, o);
            let kept = simd.mul_f32s(f, load(simd, &step.c[row.clone()], j, n));
            let c = simd.mul_add_e_f32s(i, g, kept);
            store(simd, &mut step.saved[row.clone()], j, n, c);
            store(simd, &mut forward.out[row.clone()], j, n, simd.mul_f32s(o, tanh(simd, c)));
        });
    }

    #[inline(always)]
    fn backward<I: Isa>(isa: I, step: Step, backward: Backward) {
        let (simd, h) = (isa.simd(), step.hidden_size);
        let Backward { grad, dh, dc, .. } = backward;
        pointwise!(simd, step, |row, [input, forget, candidate, output], j, n| {
            let (i, f) = (load(simd, input, j, n), load(simd, forget, j, n));
            let (g, o) = (load(simd, candidate, j, n), load(simd, output, j, n));
            let squashed = tanh(simd, load(simd, &step.saved[row.clone()], j, n));
            let d = simd
                .add_f32s(load(simd, &grad[row.clone()], j, n), load(simd, &dh[row.clone()], j, n));
            let through = simd.mul_f32s(simd.mul_f32s(d, o), tanh_slope(simd, squashed));
            let cell = simd.add_f32s(load(simd, &dc[row.clone()], j, n), through);
            let entered = load(simd, &step.c[row.clone()], j, n);
            store(simd, input, j, n, simd.mul_f32s(simd.mul_f32s(cell, g), sigmoid_slope(simd, i)));
            store(
                simd,
                forget,
                j,
                n,
                simd.mul_f32s(simd.mul_f32s(cell, entered), sigmoid_slope(simd, f)),
            );
            store(
                simd,
                candidate,
                j,
                n,
                simd.mul_f32s(simd.mul_f32s(cell, i), tanh_slope(simd, g)),
            );
            store(
                simd,
                output,
                j,
                n,
                simd.mul_f32s(simd.mul_f32s(d, squashed), sigmoid_slope(simd, o)),
            );
            store(simd, &mut dc[row.clone()], j, n, simd.mul_f32s(cell, f));
        });
        let gates = MatRef::new(step.gates, 4 * h);
        matmul(isa, gates, &step.weights[0], MatMut::new(dh, h), Overwrite, step.operand);
    }
}
