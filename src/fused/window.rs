//! A whole network over a window: loss and gradients, without candle's graph.
//!
//! candle's backward pass makes a tensor of zeros for each gradient and adds the gradient to it, on
//! one thread: at H = 128 a twentieth of a step, and as much memory again as the hidden sequences.
//! Here the gradient of a hidden sequence goes from layer to layer in the workspaces, and only the
//! weights' gradients become tensors. The sums are those of [`super::sequence()`] and
//! [`super::readout_loss`], bit for bit.

use super::{
    Cell, Mask, Precision, Weights, Workspace,
    layer::{Inputs, Layer},
    memory::Buffer,
    readout::Readout,
    simd::Level,
    sizes::Reads,
    tensors::{self, floats},
    workspace::Buffers,
};
use candle_core::{Result, Tensor, backprop::GradStore, bail};
use std::mem::{replace, take};

/// A network, and a window of text for it.
pub struct Window<'a> {
    pub cell: Cell,
    pub precision: Precision,
    /// `[V, E]`
    pub embedding: &'a Tensor,
    /// From the lowest to the highest, each with a workspace of its own.
    pub layers: Vec<(Weights<'a>, &'a Workspace)>,
    /// Weight `[V, H]` and bias `[V]`.
    pub readout: (&'a Tensor, &'a Tensor, &'a Workspace),
    /// `[T, B]` of u32
    pub ids: &'a Tensor,
    /// `[T, B]` of u32
    pub targets: &'a Tensor,
    /// `[T, B]` of u8: the state entering a step is zero where it is not 0.
    pub resets: Option<&'a Tensor>,
    /// One for each layer, `[S, B, H]`.
    pub state: &'a [Tensor],
    /// None, or one for each layer's hidden sequence, of T·B·H values.
    pub masks: &'a [Mask],
}

/// What a window gives.
pub struct Gradients {
    /// Mean cross-entropy, in nats.
    pub loss: f32,
    /// By weight. Nothing flows into the state.
    pub grads: GradStore,
    /// The state after the window, one for each layer, `[S, B, H]`.
    pub state: Vec<Tensor>,
}

/// A layer that has run forward, with what its backward pass needs.
struct Run {
    layer: Layer,
    state: Tensor,
    hidden: Buffer,
    dropped: Option<Buffer>,
    buffers: Buffers,
}

impl Run {
    /// What the layer above, or the readout, reads: `[T, B, H]`.
    fn output(&self) -> &[f32] {
        self.dropped.as_ref().unwrap_or(&self.hidden)
    }

    /// The state after the window, `[S, B, H]`.
    fn last(&self) -> Result<Tensor> {
        let first = self.hidden.len() - self.layer.sizes.b * self.layer.sizes.h;
        let mut last = self.hidden[first..].to_vec();
        if self.layer.cell.states() == 2 {
            last.extend_from_slice(&self.buffers.extra[first..]);
        }
        tensors::like(last, &self.state)
    }

    /// The buffers, for the next window.
    fn into_buffers(mut self) -> Buffers {
        self.buffers.hidden = self.hidden;
        if let Some(dropped) = self.dropped {
            self.buffers.dropped = dropped;
        }
        self.buffers
    }
}

impl Window<'_> {
    /// Runs the window forward and backward.
    ///
    /// Fails on shapes, dtypes or devices that do not fit, and on an id outside the vocabulary.
    pub fn gradients(&self) -> Result<Gradients> {
        let (layers, states, masks) = (self.layers.len(), self.state.len(), self.masks.len());
        if layers == 0 || states != layers || ![0, layers].contains(&masks) {
            bail!("a window of {layers} layers was given {states} states and {masks} masks");
        }
        let embedding = self.embedding.contiguous()?;
        tensors::expect("embedding", &embedding, embedding.dims())?;
        let embedding = floats(&embedding)?;
        let mut runs: Vec<Run> = Vec::with_capacity(layers);
        for index in 0..layers {
            runs.push(self.forward(index, runs.last(), &embedding)?);
        }
        let state = runs.iter().map(Run::last).collect::<Result<_>>()?;

        let mut grads = GradStore::default();
        let (weight, bias, workspace) = self.readout;
        let mut readout_buffers = workspace.begin();
        let mut grad = take(&mut readout_buffers.grad_source);
        let top = &runs[layers - 1];
        let sizes = top.layer.sizes;
        let readout =
            Readout::new(top.layer.level, [sizes.t, sizes.b, sizes.h], weight, bias, self.targets)?;
        let loss = readout.forward(top.output(), &mut readout_buffers)?;
        let room = grad.resized(top.output().len());
        let [of_weight, of_bias] =
            readout.backward(top.output(), 1.0, room, &mut readout_buffers)?;
        insert(&mut grads, weight, of_weight)?;
        insert(&mut grads, bias, of_bias)?;

        for index in (0..layers).rev() {
            let (below, above) = runs.split_at_mut(index);
            let Some((run, above)) = above.split_first_mut() else {
                break;
            };
            if let Some(mask) = self.masks.get(index) {
                mask.apply(&mut grad);
            }
            let source = below.last().map_or(&embedding[..], Run::output);
            let of_source = self.backward(index, run, source, &grad, &mut grads)?;
            // The gradient of a run's output is in the buffers of whatever read it.
            let reader = above.first_mut().map_or(&mut readout_buffers, |run| &mut run.buffers);
            reader.grad_source = replace(&mut grad, of_source);
        }
        insert(&mut grads, self.embedding, grad.to_vec())?;
        runs[0].buffers.grad_source = grad;
        workspace.finish(readout_buffers);
        for (run, (_, workspace)) in runs.into_iter().zip(&self.layers) {
            workspace.finish(run.into_buffers());
        }
        Ok(Gradients { loss, grads, state })
    }

    /// Runs one layer on the output of the one below.
    fn forward(&self, index: usize, below: Option<&Run>, embedding: &[f32]) -> Result<Run> {
        let (weights, workspace) = &self.layers[index];
        let reads = match below {
            Some(Run { layer, .. }) => {
                Reads::Sequence { t: layer.sizes.t, b: layer.sizes.b, i: layer.sizes.h }
            }
            None => {
                let (v, i) = self.embedding.dims2()?;
                Reads::Rows { ids: self.ids, v, i }
            }
        };
        let level = Level::choose(self.precision)?;
        let state = self.state[index].contiguous()?;
        let layer = Layer::new(level, self.cell, reads, weights, &state, self.resets)?;
        let count = layer.sizes.cells() * layer.sizes.h;
        let mut buffers = workspace.begin();
        let mut hidden = take(&mut buffers.hidden);
        let source = below.map_or(embedding, Run::output);
        layer.forward(source, &floats(&state)?, hidden.resized(count), &mut buffers)?;
        let dropped = match self.masks.get(index) {
            Some(mask) if mask.kept.len() == count => {
                let mut dropped = take(&mut buffers.dropped);
                mask.write(&hidden, dropped.resized(count));
                Some(dropped)
            }
            Some(mask) => bail!("a mask of {} values was given for {count}", mask.kept.len()),
            None => None,
        };
        Ok(Run { layer, state, hidden, dropped, buffers })
    }

    /// Runs one layer backwards; its weights' gradients go into `grads`. Returns `dL/dsource`.
    fn backward(
        &self,
        index: usize,
        run: &mut Run,
        source: &[f32],
        grad: &[f32],
        grads: &mut GradStore,
    ) -> Result<Buffer> {
        let Run { layer, state, hidden, buffers, .. } = run;
        let state = floats(state)?;
        let inputs = Inputs { source, state: &state, hidden };
        let mut of_source = take(&mut buffers.grad_source);
        let room = of_source.resized(source.len());
        let (_, sums) = layer.backward(&inputs, grad, &[], Some(room), buffers)?;
        let weights = &self.layers[index].0;
        let parameters = [weights.weight_ih, weights.weight_hh, weights.bias_ih];
        for (parameter, sum) in parameters.into_iter().chain(weights.bias_hh).zip(sums) {
            insert(grads, parameter, sum)?;
        }
        Ok(of_source)
    }
}

/// Adds to the gradient of `parameter`: a tied weight has two.
fn insert(grads: &mut GradStore, parameter: &Tensor, grad: Vec<f32>) -> Result<()> {
    let mut grad = tensors::like(grad, parameter)?;
    if let Some(other) = grads.get(parameter) {
        grad = (other + grad)?;
    }
    grads.insert(parameter, grad);
    Ok(())
}
