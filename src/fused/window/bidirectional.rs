//! A bidirectional network over a window: two stacks, a readout of both, and one of each alone.

use crate::fused::readout::pair::{PairGradients, PairReadout};
use crate::fused::simd::level::Level;
use crate::fused::window::network::{Window, WindowGradients};
use crate::fused::window::stack::insert;
use crate::fused::workspace::Workspace;
use candle_core::{Result, Tensor, backprop::GradStore, bail};
use std::mem::take;

/// A bidirectional network, and a window of text for it.
pub struct BidirectionalWindow<'a> {
    /// The two directions: forward, then backward, each with a readout of its own, on the same targets.
    pub halves: [Window<'a>; 2],
    /// Of the two hidden sequences side by side: weight `[V, 2H]` and bias `[V]`.
    pub readout: (&'a Tensor, &'a Tensor, &'a Workspace),
    /// `[T, B]` of u8: 0 where only the forward half is to predict the target. None if both are everywhere.
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
        let shape = runs[0].shape();
        if runs[1].shape() != shape {
            bail!("the halves of a window differ: {shape:?} and {:?}", runs[1].shape());
        }
        let state = runs[0].state()?;

        let mut grads = GradStore::default();
        let workspace = self.readout.2;
        let readouts = [self.readout, forward.readout, backward.readout].map(|(w, b, _)| (w, b));
        let (targets, scored, alone) = (forward.targets, self.scored, self.half_weight);
        let mut buffers = workspace.begin();
        // The gradients of the hidden sequences belong to the buffers of the readouts of each alone.
        let mut own = [forward.readout.2.begin(), backward.readout.2.begin()];
        let [mut left, mut right] = own.each_mut().map(|own| take(&mut own.grad_source));
        let readout = PairReadout::new(level, shape, readouts, targets, scored, alone)?;
        let hidden = [runs[0].output(), runs[1].output()];
        let loss = readout.forward(hidden, &mut buffers)?;
        let count = hidden[0].len();
        let of_hidden = [left.resized(count), right.resized(count)];
        let of_readout = readout.backward(hidden, of_hidden, &mut buffers)?;
        workspace.finish(buffers);
        let PairGradients { weights, biases } = of_readout;
        for ((weight, bias), grads_of) in readouts.into_iter().zip(weights.into_iter().zip(biases))
        {
            insert(&mut grads, weight, grads_of.0)?;
            insert(&mut grads, bias, grads_of.1)?;
        }

        let work = stacks.iter().zip(&mut runs).zip([left, right]).zip(&mut own);
        for (((stack, runs), of_hidden), own) in work {
            own.grad_source = stack.backward(runs, of_hidden, &mut grads)?;
        }
        for (half, own) in self.halves.iter().zip(own) {
            half.readout.2.finish(own);
        }
        for (stack, runs) in stacks.iter().zip(runs) {
            stack.finish(runs);
        }
        Ok(WindowGradients { loss, grads, state })
    }
}
