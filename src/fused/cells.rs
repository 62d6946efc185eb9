//! One time step of each cell, forward and backward, for a block of rows of the batch.
//! The driver in `sequence` does all that the cells share.
//!
//! `gates` enters the forward step as `W_ih x + b` and leaves it as the gates after their
//! nonlinearity; the backward step overwrites it with the gradients before the nonlinearity.

use super::{
    activations::{sigmoid, tanh},
    matmul::{Panels, Rows, product},
    memory::Buffer,
    simd::{Isa, for_vectors, load, store},
};
use pulp::Simd;

/// The rows one step works on. H is the hidden size, G the number of gates.
pub struct Step<'a> {
    pub hidden_size: usize,
    /// The recurrent weights, laid out for this direction, in the cell's sections.
    pub weights: &'a [Panels; 2],
    /// What [`CellStep::EXTRA`] describes, `[rows, H]`.
    pub extra: &'a mut [f32],
    /// `[rows, G·H]`
    pub gates: &'a mut [f32],
    /// h and, for the LSTM, c as they enter the step, `[rows, H]`.
    pub h: &'a [f32],
    pub c: &'a [f32],
    pub scratch: &'a mut Buffer,
}

/// What the forward step has besides.
pub struct Forward<'a> {
    /// `b_hn [H]` of the cell with the reset gate after the product.
    pub bias_n: &'a [f32],
    /// h as it leaves the step, `[rows, H]`.
    pub out: &'a mut [f32],
}

/// What the backward step has besides.
pub struct Backward<'a> {
    /// `dL/dh_t` from above, `[rows, H]`.
    pub grad: &'a [f32],
    /// `dL/dh` and `dL/dc` from the following step; then to the preceding one. `[rows, H]`
    pub dh: &'a mut [f32],
    pub dc: &'a mut [f32],
    /// Room for one `[rows, H]`.
    pub room: &'a mut [f32],
}

pub trait CellStep: Send + Sync {
    /// Whether the extra holds, after the backward step, the gradient of a part of the gates whose
    /// bias `b_hn` acts apart.
    const APART: bool = false;

    fn forward<I: Isa>(&self, isa: I, step: Step, forward: Forward);
    fn backward<I: Isa>(&self, isa: I, step: Step, backward: Backward);
}

/// Calls `$body` for every vector of every row: `$j` is the first column, `$n` the count. The named
/// gates become the parts of the row of `gates`, each H long.
macro_rules! pointwise {
    ($simd:ident, $step:ident, |$row:ident, [$($gate:ident),+], $j:ident, $n:ident| $body:block) => {{
        let h = $step.hidden_size;
        for ($row, gates) in $step.gates.chunks_exact_mut(h * [$(stringify!($gate)),+].len()).enumerate() {
            let $row = $row * h..($row + 1) * h;
            let mut gates = gates.chunks_exact_mut(h);
            $(let $gate = gates.next().unwrap_or_default();)+
            for_vectors!($simd, h, |$j, $n| $body);
        }
    }};
}

/// `a (1 - a)`: the derivative of the sigmoid whose value is a.
#[inline(always)]
fn sigmoid_slope<S: Simd>(simd: S, a: S::f32s) -> S::f32s {
    simd.mul_f32s(a, simd.sub_f32s(simd.splat_f32s(1.0), a))
}

/// `1 - a²`: the derivative of the tanh whose value is a.
#[inline(always)]
fn tanh_slope<S: Simd>(simd: S, a: S::f32s) -> S::f32s {
    simd.negate_mul_add_e_f32s(a, a, simd.splat_f32s(1.0))
}

/// `from + part (to - from)`
#[inline(always)]
fn mix<S: Simd>(simd: S, from: S::f32s, to: S::f32s, part: S::f32s) -> S::f32s {
    simd.mul_add_e_f32s(part, simd.sub_f32s(to, from), from)
}

/// Cho et al. 2014: the reset gate acts on h before the product. Extra: `r ∘ h`.
pub struct Gru;

impl CellStep for Gru {
    #[inline(always)]
    fn forward<I: Isa>(&self, isa: I, step: Step, forward: Forward) {
        let (simd, h) = (isa.simd(), step.hidden_size);
        let state = Rows { data: step.h, stride: h };
        product(isa, state, &step.weights[0], step.gates, 3 * h, true, step.scratch);
        pointwise!(simd, step, |row, [r, z, _n], j, n| {
            let reset = sigmoid(simd, load(simd, r, j, n));
            store(simd, r, j, n, reset);
            store(simd, z, j, n, sigmoid(simd, load(simd, z, j, n)));
            let kept = simd.mul_f32s(reset, load(simd, &step.h[row.clone()], j, n));
            store(simd, &mut step.extra[row.clone()], j, n, kept);
        });
        let kept = Rows { data: step.extra, stride: h };
        product(isa, kept, &step.weights[1], &mut step.gates[2 * h..], 3 * h, true, step.scratch);
        pointwise!(simd, step, |row, [_r, z, candidate], j, n| {
            let c = tanh(simd, load(simd, candidate, j, n));
            store(simd, candidate, j, n, c);
            let state = load(simd, &step.h[row.clone()], j, n);
            let next = mix(simd, state, c, load(simd, z, j, n));
            store(simd, &mut forward.out[row.clone()], j, n, next);
        });
    }

    #[inline(always)]
    fn backward<I: Isa>(&self, isa: I, step: Step, backward: Backward) {
        let (simd, h) = (isa.simd(), step.hidden_size);
        let Backward { grad, dh, room, .. } = backward;
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
        // room = d(r ∘ h)
        let dn = Rows { data: &step.gates[2 * h..], stride: 3 * h };
        product(isa, dn, &step.weights[1], room, h, false, step.scratch);
        pointwise!(simd, step, |row, [r, _z, _n], j, n| {
            let (rt, state) = (load(simd, r, j, n), load(simd, &step.h[row.clone()], j, n));
            let d = load(simd, &room[row.clone()], j, n);
            let carried = simd.mul_add_e_f32s(d, rt, load(simd, &dh[row.clone()], j, n));
            store(simd, &mut dh[row.clone()], j, n, carried);
            store(simd, r, j, n, simd.mul_f32s(simd.mul_f32s(d, state), sigmoid_slope(simd, rt)));
        });
        let drz = Rows { data: step.gates, stride: 3 * h };
        product(isa, drz, &step.weights[0], dh, h, true, step.scratch);
    }
}

/// PyTorch's GRU: the reset gate acts after the product. Extra: `W_hn h + b_hn`, then its gradient.
pub struct GruResetAfter;

impl CellStep for GruResetAfter {
    const APART: bool = true;

    #[inline(always)]
    fn forward<I: Isa>(&self, isa: I, step: Step, forward: Forward) {
        let (simd, h) = (isa.simd(), step.hidden_size);
        let state = Rows { data: step.h, stride: h };
        product(isa, state, &step.weights[0], step.gates, 3 * h, true, step.scratch);
        step.extra.chunks_exact_mut(h).for_each(|row| row.copy_from_slice(forward.bias_n));
        product(isa, state, &step.weights[1], step.extra, h, true, step.scratch);
        pointwise!(simd, step, |row, [r, z, candidate], j, n| {
            let rt = sigmoid(simd, load(simd, r, j, n));
            let zt = sigmoid(simd, load(simd, z, j, n));
            let recurrent = load(simd, &step.extra[row.clone()], j, n);
            let c = tanh(simd, simd.mul_add_e_f32s(rt, recurrent, load(simd, candidate, j, n)));
            store(simd, r, j, n, rt);
            store(simd, z, j, n, zt);
            store(simd, candidate, j, n, c);
            let next = mix(simd, c, load(simd, &step.h[row.clone()], j, n), zt);
            store(simd, &mut forward.out[row.clone()], j, n, next);
        });
    }

    #[inline(always)]
    fn backward<I: Isa>(&self, isa: I, step: Step, backward: Backward) {
        let (simd, h) = (isa.simd(), step.hidden_size);
        let Backward { grad, dh, .. } = backward;
        pointwise!(simd, step, |row, [r, z, candidate], j, n| {
            let (rt, zt, c) =
                (load(simd, r, j, n), load(simd, z, j, n), load(simd, candidate, j, n));
            let state = load(simd, &step.h[row.clone()], j, n);
            let recurrent = load(simd, &step.extra[row.clone()], j, n);
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
            store(simd, &mut step.extra[row.clone()], j, n, simd.mul_f32s(dn, rt));
            store(simd, &mut dh[row.clone()], j, n, through);
        });
        let drz = Rows { data: step.gates, stride: 3 * h };
        product(isa, drz, &step.weights[0], dh, h, true, step.scratch);
        let dn = Rows { data: step.extra, stride: h };
        product(isa, dn, &step.weights[1], dh, h, true, step.scratch);
    }
}

/// PyTorch's LSTM. Extra: c as it leaves the step.
pub struct Lstm;

impl CellStep for Lstm {
    #[inline(always)]
    fn forward<I: Isa>(&self, isa: I, step: Step, forward: Forward) {
        let (simd, h) = (isa.simd(), step.hidden_size);
        let state = Rows { data: step.h, stride: h };
        product(isa, state, &step.weights[0], step.gates, 4 * h, true, step.scratch);
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
            store(simd, &mut step.extra[row.clone()], j, n, c);
            store(simd, &mut forward.out[row.clone()], j, n, simd.mul_f32s(o, tanh(simd, c)));
        });
    }

    #[inline(always)]
    fn backward<I: Isa>(&self, isa: I, step: Step, backward: Backward) {
        let (simd, h) = (isa.simd(), step.hidden_size);
        let Backward { grad, dh, dc, .. } = backward;
        pointwise!(simd, step, |row, [input, forget, candidate, output], j, n| {
            let (i, f) = (load(simd, input, j, n), load(simd, forget, j, n));
            let (g, o) = (load(simd, candidate, j, n), load(simd, output, j, n));
            let squashed = tanh(simd, load(simd, &step.extra[row.clone()], j, n));
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
        let gates = Rows { data: step.gates, stride: 4 * h };
        product(isa, gates, &step.weights[0], dh, h, false, step.scratch);
    }
}

/// PyTorch's RNN with tanh. No extra.
pub struct Rnn;

impl CellStep for Rnn {
    #[inline(always)]
    fn forward<I: Isa>(&self, isa: I, step: Step, forward: Forward) {
        let (simd, h) = (isa.simd(), step.hidden_size);
        let state = Rows { data: step.h, stride: h };
        product(isa, state, &step.weights[0], step.gates, h, true, step.scratch);
        pointwise!(simd, step, |row, [gate], j, n| {
            let next = tanh(simd, load(simd, gate, j, n));
            store(simd, gate, j, n, next);
            store(simd, &mut forward.out[row.clone()], j, n, next);
        });
    }

    #[inline(always)]
    fn backward<I: Isa>(&self, isa: I, step: Step, backward: Backward) {
        let (simd, h) = (isa.simd(), step.hidden_size);
        let Backward { grad, dh, .. } = backward;
        pointwise!(simd, step, |row, [gate], j, n| {
            let d = simd
                .add_f32s(load(simd, &grad[row.clone()], j, n), load(simd, &dh[row.clone()], j, n));
            store(simd, gate, j, n, simd.mul_f32s(d, tanh_slope(simd, load(simd, gate, j, n))));
        });
        let gates = Rows { data: step.gates, stride: h };
        product(isa, gates, &step.weights[0], dh, h, false, step.scratch);
    }
}
