//! A bidirectional network over a window: two stacks, a readout of both, and a readout of each.

use crate::fused::parallel;
use crate::fused::readout::Readout;
use crate::fused::simd::level::Level;
use crate::fused::window::network::{Window, WindowGradients};
use crate::fused::window::stack::insert;
use crate::fused::workspace::Workspace;
use candle_core::{Result, Tensor, backprop::GradStore, bail};
use std::mem::take;

/// A bidirectional network, and a window of text for it.
pub struct BidirectionalWindow<'a> {
    /// The two directions, each with a readout and targets of its own: forward, then backward.
    pub halves: [Window<'a>; 2],
    /// Of the two hidden sequences side by side: weight `[V, 2H]` and bias `[V]`.
    pub readout: (&'a Tensor, &'a Tensor, &'a Workspace),
    /// `[T, B]` of u32
    pub targets: &'a Tensor,
    /// `[T, B]` of u8: 0 where a target does not count. None if all do.
    pub scored: Option<&'a Tensor>,
    /// Factor of the losses of the halves in the sum that the gradients are of.
    pub half_weight: f32,
}

impl BidirectionalWindow<'_> {
    /// Runs the window forward and backward. The loss is that of the readout of both sides alone; the
    /// state is the forward half's.
    ///
    /// # Errors
    /// Those of [`Window::gradients`]; halves of different T, B or H.
    pub fn gradients(&self) -> Result<WindowGradients> {
        let [forward, backward] = &self.halves;
        let level = Level::choose(forward.precision)?;
        let stacks = [forward.stack(level), backward.stack(level)];
        let mut runs = [stacks[0].forward()?, stacks[1].forward()?];
        let shape @ [t, b, h] = runs[0].shape();
        if runs[1].shape() != shape {
            bail!("the halves of a window differ: {shape:?} and {:?}", runs[1].shape());
        }
        let state = runs[0].state()?;

        let mut grads = GradStore::default();
        let (weight, bias, workspace) = self.readout;
        let mut buffers = workspace.begin();
        let (mut joined, mut of_both) = (take(&mut buffers.hidden), take(&mut buffers.grad_source));
        let hidden = joined.resized(2 * t * b * h);
        join([runs[0].output(), runs[1].output()], h, hidden);
        let readout = Readout::new(level, [t, b, 2 * h], weight, bias, self.targets, self.scored)?;
        let loss = readout.forward(hidden, &mut buffers)?;
        let grad = of_both.resized(hidden.len());
        let [of_weight, of_bias] = readout.backward(hidden, 1.0, grad, &mut buffers)?;
        insert(&mut grads, weight, of_weight)?;
        insert(&mut grads, bias, of_bias)?;

        for (half, (window, (stack, runs))) in
            self.halves.iter().zip(stacks.iter().zip(&mut runs)).enumerate()
        {
            let (weight, bias, workspace) = window.readout;
            let mut own = workspace.begin();
            let mut grad = take(&mut own.grad_source);
            let readout = Readout::new(level, shape, weight, bias, window.targets, window.scored)?;
            let hidden = runs.output();
            readout.forward(hidden, &mut own)?;
            let of_hidden = grad.resized(hidden.len());
            let [of_weight, of_bias] =
                readout.backward(hidden, self.half_weight, of_hidden, &mut own)?;
            insert(&mut grads, weight, of_weight)?;
            insert(&mut grads, bias, of_bias)?;
            add_half(&of_both, half, h, of_hidden);
            own.grad_source = stack.backward(runs, grad, &mut grads)?;
            workspace.finish(own);
        }
        (buffers.hidden, buffers.grad_source) = (joined, of_both);
        workspace.finish(buffers);
        for (stack, runs) in stacks.iter().zip(runs) {
            stack.finish(runs);
        }
        Ok(WindowGradients { loss, grads, state })
    }
}

/// Rows that one task copies.
const ROWS: usize = 256;

/// Puts the rows `[H]` of two sequences side by side, `[2H]`.
fn join(halves: [&[f32]; 2], h: usize, joined: &mut [f32]) {
    parallel::for_items(joined.chunks_mut(ROWS * 2 * h).enumerate(), |(block, joined)| {
        let [left, right] = halves.map(|half| half[block * ROWS * h..].chunks_exact(h));
        for (row, (left, right)) in joined.chunks_exact_mut(2 * h).zip(left.zip(right)) {
            row[..h].copy_from_slice(left);
            row[h..].copy_from_slice(right);
        }
    });
}

/// Adds the first (0) or second (1) half of each row `[2H]` to the row `[H]` of `sums`.
fn add_half(joined: &[f32], half: usize, h: usize, sums: &mut [f32]) {
    parallel::for_items(sums.chunks_mut(ROWS * h).enumerate(), |(block, sums)| {
        let joined = joined[block * ROWS * 2 * h..].chunks_exact(2 * h);
        for (sums, row) in sums.chunks_exact_mut(h).zip(joined) {
            for (sum, value) in sums.iter_mut().zip(&row[half * h..][..h]) {
                *sum += value;
            }
        }
    });
}
