//! What one time step of a cell is: its inputs and outputs, its facts, and helpers for its formulas.
//!
//! A step works on some rows of the batch. `gates` enters the forward step as `W_ih x + b` and leaves
//! it as the gates after their nonlinearity; the backward step overwrites it with the gradients
//! before the nonlinearity.

use crate::fused::gemm::panels::Panels;
use crate::fused::simd::isa::Isa;
use crate::fused::simd::memory::Buffer;
use pulp::Simd;

/// The rows that one step works on. H is the hidden size, G the number of gates.
pub struct Step<'a> {
    pub hidden_size: usize,
    /// The recurrent weights, packed for this direction, one for each of [`CellStep::SECTIONS`].
    pub weights: &'a [Panels; 2],
    /// What the forward step saves for the backward step; see each cell. `[rows, H]`
    pub saved: &'a mut [f32],
    /// `[rows, G·H]`
    pub gates: &'a mut [f32],
    /// h and, for a cell of two states, c as they enter the step, `[rows, H]`.
    pub h: &'a [f32],
    pub c: &'a [f32],
    /// For the product's operand.
    pub operand: &'a mut Buffer,
}

/// What the forward step has besides.
pub struct Forward<'a> {
    /// `b_hn [H]` where [`BiasHh::LastApart`].
    pub bias_hn: &'a [f32],
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
    /// `[rows, H]`, for the cell's own use.
    pub scratch: &'a mut [f32],
}

/// Rows of `weight_hh` that enter a product of their own, and the factors of their gradient:
/// `Σ_t left_tᵀ · right_t`, `[blocks·H, H]`.
pub struct Section {
    /// Rows, in units of H.
    pub blocks: usize,
    pub left: Left,
    pub right: Right,
}

/// What stands on the left in a section's gradient, after the backward steps.
pub enum Left {
    /// The section's columns of the gates' gradient `[T·B, G·H]`.
    Gates,
    /// The saved values `[T·B, H]`.
    Saved,
}

/// What stands on the right in a section's gradient.
pub enum Right {
    /// h as it entered the step `[T·B, H]`.
    Entering,
    /// The saved values `[T·B, H]`.
    Saved,
}

/// What a cell does with `bias_hh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BiasHh {
    /// The cell has none.
    None,
    /// It is added to `bias_ih`.
    Added,
    /// As `Added`, but its last H values, `b_hn`, are added to a product inside the step; their
    /// gradient is the sum of the saved values.
    LastApart,
}

/// A cell: everything that differs between cells. It has no values: a cell is a type, and `isa` is the
/// proof that the processor has the instructions.
pub trait CellStep: Send + Sync + 'static {
    /// As the command line and the checkpoint write it.
    const NAME: &'static str;
    /// G: blocks of H rows of `weight_ih` and `bias_ih`.
    const GATES: usize;
    /// S: vectors of the state. With 2 the saved values are the second, c.
    const STATES: usize = 1;
    /// The products with `weight_hh`, at most 2, which together have all its rows. A cell without
    /// `weight_hh` has none.
    const SECTIONS: &'static [Section];
    const BIAS_HH: BiasHh;

    /// Runs the step for its rows.
    fn forward<I: Isa>(isa: I, step: Step, forward: Forward);

    /// Runs the step backwards for its rows.
    fn backward<I: Isa>(isa: I, step: Step, backward: Backward);
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
            $crate::fused::simd::isa::for_vectors!($simd, h, |$j, $n| $body);
        }
    }};
}
pub(crate) use pointwise;

/// `a (1 - a)`: the derivative of the sigmoid whose value is a.
#[inline(always)]
pub fn sigmoid_slope<S: Simd>(simd: S, a: S::f32s) -> S::f32s {
    simd.mul_f32s(a, simd.sub_f32s(simd.splat_f32s(1.0), a))
}

/// `1 - a²`: the derivative of the tanh whose value is a.
#[inline(always)]
pub fn tanh_slope<S: Simd>(simd: S, a: S::f32s) -> S::f32s {
    simd.negate_mul_add_e_f32s(a, a, simd.splat_f32s(1.0))
}

/// `from + part (to - from)`
#[inline(always)]
pub fn mix<S: Simd>(simd: S, from: S::f32s, to: S::f32s, part: S::f32s) -> S::f32s {
    simd.mul_add_e_f32s(part, simd.sub_f32s(to, from), from)
}
