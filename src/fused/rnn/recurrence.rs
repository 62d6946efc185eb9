//! The loop over T, forward and backward, that all cells share.
//!
//! Every worker takes some rows of the batch and runs all T steps for them, so no step waits for
//! another worker. Rows do not touch each other, and each sum has one order, so the result does not
//! depend on how many workers there are.

#![allow(unsafe_code)]

use crate::fused::gemm::panels::Panels;
use crate::fused::parallel;
use crate::fused::rnn::cells::step::{Backward, BiasHh, CellStep, Forward, Step};
use crate::fused::rnn::cells::{Cell, with_cell};
use crate::fused::rnn::sizes::Sizes;
use crate::fused::simd::isa::{Isa, Task};
use crate::fused::simd::level::Level;
use crate::fused::simd::memory::{Buffer, Shared};
use std::marker::PhantomData;

/// What the workers of one pass share.
pub struct Pass<'a> {
    pub sizes: Sizes,
    pub ids: Option<&'a [u32]>,
    pub resets: Option<&'a [u8]>,
    pub weights: &'a [Panels; 2],
    pub bias_hn: &'a [f32],
    /// `[V, G·H]` where there are ids.
    pub table: &'a [f32],
    /// `[S, B, H]`
    pub state: &'a [f32],
    pub gates: Shared<'a>,
    pub saved: Shared<'a>,
    pub hidden: Shared<'a>,
}

impl Pass<'_> {
    /// Rows `first..first + rows` of the batch at step t, of a `[T, B, width]` buffer.
    ///
    /// # Safety
    /// The caller is the only worker of these rows of the batch, and keeps no overlapping part.
    #[inline(always)]
    unsafe fn part<'b>(
        &self,
        buffer: Shared<'b>,
        width: usize,
        t: usize,
        first: usize,
        rows: usize,
    ) -> &'b mut [f32] {
        debug_assert!(t < self.sizes.t && first + rows <= self.sizes.b);
        // SAFETY: the caller's.
        unsafe { buffer.part((t * self.sizes.b + first) * width, rows * width) }
    }

    /// A state as it enters step t: what left the step before, or the given one; zero after a reset.
    ///
    /// # Safety
    /// As for [`Pass::part`]; nobody writes these rows of the step before while the result is alive.
    #[inline(always)]
    unsafe fn entering<'b>(
        &'b self,
        given: &'b [f32],
        sequence: Shared<'b>,
        t: usize,
        first: usize,
        rows: usize,
        scratch: &'b mut [f32],
    ) -> &'b [f32] {
        let h = self.sizes.h;
        let before: &[f32] = match self.sizes.before(t) {
            None => &given[first * h..][..rows * h],
            // SAFETY: the caller's.
            Some(before) => unsafe { sequence.read((before * self.sizes.b + first) * h, rows * h) },
        };
        let Some(resets) = self.resets_at(t, first, rows) else {
            return before;
        };
        for ((row, before), &reset) in
            scratch.chunks_exact_mut(h).zip(before.chunks_exact(h)).zip(resets)
        {
            if reset == 0 { row.copy_from_slice(before) } else { row.fill(0.0) }
        }
        scratch
    }

    /// Rows `first..first + rows` of the batch at step t, as the cell takes them.
    ///
    /// # Safety
    /// The caller is the only worker of these rows of the batch, and keeps no part of step t.
    #[inline(always)]
    unsafe fn step<'b>(
        &'b self,
        t: usize,
        first: usize,
        rows: usize,
        scratch: &'b mut Scratch,
    ) -> Step<'b> {
        let Sizes { b, h, gates: width, .. } = self.sizes;
        let (h_given, c_given) = self.state.split_at(b * h);
        // SAFETY: the caller's; `gates` and `saved` are step t of two buffers, and the entering states
        // the step before.
        unsafe {
            Step {
                hidden_size: h,
                weights: self.weights,
                saved: self.part(self.saved, h, t, first, rows),
                gates: self.part(self.gates, width, t, first, rows),
                h: self.entering(h_given, self.hidden, t, first, rows, &mut scratch.h),
                c: match c_given {
                    [] => c_given,
                    _ => self.entering(c_given, self.saved, t, first, rows, &mut scratch.c),
                },
                operand: &mut scratch.operand,
            }
        }
    }

    /// The rows' resets at step t, if there is any.
    #[inline(always)]
    fn resets_at(&self, t: usize, first: usize, rows: usize) -> Option<&[u8]> {
        let resets = &self.resets?[t * self.sizes.b + first..][..rows];
        resets.iter().any(|&reset| reset != 0).then_some(resets)
    }
}

/// What one worker keeps from step to step.
struct Scratch {
    /// h and c after resets, `[rows, H]`.
    h: Vec<f32>,
    c: Vec<f32>,
    operand: Buffer,
}

impl Scratch {
    fn new(rows: usize, h: usize) -> Self {
        Self { h: vec![0.0; rows * h], c: vec![0.0; rows * h], operand: Buffer::default() }
    }
}

struct ForwardBlock<'a, C> {
    pass: &'a Pass<'a>,
    first: usize,
    rows: usize,
    cell: PhantomData<C>,
}

impl<C: CellStep> Task for ForwardBlock<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { pass, first, rows, .. } = self;
        let Sizes { b, h, gates: width, .. } = pass.sizes;
        let mut scratch = Scratch::new(rows, h);
        for t in pass.sizes.order() {
            // SAFETY: no other worker has these rows; `out` is of a buffer that the step has no part of
            // at t.
            let (step, out) = unsafe {
                let out = pass.part(pass.hidden, h, t, first, rows);
                (pass.step(t, first, rows, &mut scratch), out)
            };
            if let Some(ids) = pass.ids {
                for (row, &id) in step.gates.chunks_exact_mut(width).zip(&ids[t * b + first..]) {
                    row.copy_from_slice(&pass.table[id as usize * width..][..width]);
                }
            }
            C::forward(isa, step, Forward { bias_hn: pass.bias_hn, out });
        }
    }
}

/// What the backward workers write and read besides.
pub struct BackwardPass<'a> {
    pub pass: &'a Pass<'a>,
    /// `dL/dhidden [T, B, H]`
    pub grad: &'a [f32],
    /// `dL/dc_T [B, H]`, or empty.
    pub grad_cell: &'a [f32],
    /// `dL/dstate [S, B, H]`
    pub grad_state: Shared<'a>,
    /// `[B, (G+1)·H]`
    pub bias: Shared<'a>,
}

struct BackwardBlock<'a, C> {
    backward: &'a BackwardPass<'a>,
    first: usize,
    rows: usize,
    cell: PhantomData<C>,
}

impl<C: CellStep> Task for BackwardBlock<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { backward, first, rows, .. } = self;
        let pass = backward.pass;
        let Sizes { b, h, gates: width, .. } = pass.sizes;
        let (mut scratch, mut cell_scratch) = (Scratch::new(rows, h), vec![0.0; rows * h]);
        let one_state = pass.state.len() == b * h;
        // SAFETY: no other worker has these rows.
        let (dh, dc, bias) = unsafe {
            let dc = if one_state {
                &mut []
            } else {
                backward.grad_state.part((b + first) * h, rows * h)
            };
            let bias = backward.bias.part(first * (width + h), rows * (width + h));
            (backward.grad_state.part(first * h, rows * h), dc, bias)
        };
        dh.fill(0.0);
        match backward.grad_cell {
            [] => dc.fill(0.0),
            grad => dc.copy_from_slice(&grad[first * h..][..rows * h]),
        }
        bias.fill(0.0);
        for t in pass.sizes.order().rev() {
            // SAFETY: no other worker has these rows.
            let step = unsafe { pass.step(t, first, rows, &mut scratch) };
            let grad = &backward.grad[(t * b + first) * h..][..rows * h];
            C::backward(isa, step, Backward { grad, dh, dc, scratch: &mut cell_scratch });
            for (row, &reset) in
                pass.resets_at(t, first, rows).unwrap_or_default().iter().enumerate()
            {
                if reset != 0 {
                    dh[row * h..][..h].fill(0.0);
                    dc.chunks_exact_mut(h).nth(row).unwrap_or_default().fill(0.0);
                }
            }
            // SAFETY: as above; the cell's borrows have ended.
            let (gates, saved) = unsafe {
                (
                    pass.part(pass.gates, width, t, first, rows),
                    pass.part(pass.saved, h, t, first, rows),
                )
            };
            for (sums, (gates, saved)) in bias
                .chunks_exact_mut(width + h)
                .zip(gates.chunks_exact(width).zip(saved.chunks_exact(h)))
            {
                let (gate_sums, saved_sums) = sums.split_at_mut(width);
                gate_sums.iter_mut().zip(gates).for_each(|(sum, g)| *sum += g);
                if C::BIAS_HH == BiasHh::LastApart {
                    saved_sums.iter_mut().zip(saved).for_each(|(sum, g)| *sum += g);
                }
            }
        }
    }
}

/// Runs all T steps, each worker for its rows.
pub fn forward(cell: Cell, level: Level, pass: &Pass) {
    with_cell!(cell, C => for_blocks(pass.sizes.b, |first, rows| {
        level.run(ForwardBlock::<C> { pass, first, rows, cell: PhantomData });
    }));
}

/// Runs all T steps backwards, each worker for its rows.
pub fn backward(cell: Cell, level: Level, backward: &BackwardPass) {
    with_cell!(cell, C => for_blocks(backward.pass.sizes.b, |first, rows| {
        level.run(BackwardBlock::<C> { backward, first, rows, cell: PhantomData });
    }));
}

/// Calls `work(first, rows)` for a block of rows of the batch on each thread, none of which has more
/// than one row more than another.
fn for_blocks(batch: usize, work: impl Fn(usize, usize) + Sync + Send) {
    let blocks = parallel::threads().min(batch);
    parallel::for_each(blocks, |block| {
        let rows = parallel::share(batch, blocks, block);
        work(rows.start, rows.len());
    });
}
