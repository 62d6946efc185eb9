//! The stacked layers of one direction over a window.

use crate::fused::gemm::reduce::scatter_add;
use crate::fused::mask::Mask;
use crate::fused::norm;
use crate::fused::rnn::layer::{Inputs, Layer, LayerSpec};
use crate::fused::rnn::sizes::{Reads, look_up_first};
use crate::fused::rnn::weights::LayerWeights;
use crate::fused::simd::memory::Buffer;
use crate::fused::tensors::{self, Floats, floats};
use crate::fused::workspace::{Buffers, Workspace};
use candle_core::{Result, Tensor, backprop::GradStore, bail};
use std::mem::{replace, take};

/// Layers, each on the output of the one below, and what they read. See [`Window`] for the shapes.
///
/// [`Window`]: crate::fused::Window
pub struct Stack<'a> {
    pub spec: LayerSpec,
    pub embedding: &'a Tensor,
    pub layers: &'a [(&'a LayerWeights, &'a Workspace)],
    pub norms: &'a [Tensor],
    pub ids: &'a Tensor,
    pub resets: Option<&'a Tensor>,
    pub state: &'a [Tensor],
    pub masks: &'a [Mask],
}

/// Layers that have run forward.
pub struct Runs {
    /// What the lowest layer read, contiguous: the embedding `[V, E]`, or the rows looked up in it
    /// `[T, B, E]`.
    source: Tensor,
    /// At least one.
    runs: Vec<Run>,
}

/// A layer that has run forward, with what its backward pass needs.
struct Run {
    layer: Layer,
    state: Tensor,
    hidden: Buffer,
    /// What the layer above, or the readout, reads, where that is not `hidden`: normalised, dropped.
    output: Option<Buffer>,
    buffers: Buffers,
}

impl Runs {
    fn top(&self) -> &Run {
        &self.runs[self.runs.len() - 1]
    }

    /// What the highest layer gives, `[T, B, H]`. Not there any more after the backward pass.
    pub fn output(&self) -> &[f32] {
        self.top().output()
    }

    /// T, B, H.
    pub fn shape(&self) -> [usize; 3] {
        let sizes = self.top().layer.sizes;
        [sizes.t, sizes.b, sizes.h]
    }

    /// The state after the window, `[S, B, H]` for each layer.
    pub fn state(&self) -> Result<Vec<Tensor>> {
        self.runs.iter().map(Run::last).collect()
    }
}

impl Run {
    /// What the layer above, or the readout, reads: `[T, B, H]`.
    fn output(&self) -> &[f32] {
        self.output.as_ref().unwrap_or(&self.hidden)
    }

    /// The state after the window, `[S, B, H]`.
    fn last(&self) -> Result<Tensor> {
        let last = self.layer.sizes.last();
        let mut state = self.hidden[last.clone()].to_vec();
        if self.layer.spec.cell.states() == 2 {
            state.extend_from_slice(&self.buffers.saved[last]);
        }
        tensors::like(state, &self.state)
    }

    /// The buffers, for the next window.
    fn into_buffers(mut self) -> Buffers {
        self.buffers.hidden = self.hidden;
        if let Some(output) = self.output {
            self.buffers.output = output;
        }
        self.buffers
    }
}

impl Stack<'_> {
    /// Runs every layer over the window.
    pub fn forward(&self) -> Result<Runs> {
        let (layers, states, masks) = (self.layers.len(), self.state.len(), self.masks.len());
        if layers == 0 || states != layers || ![0, layers].contains(&masks) {
            bail!("a window of {layers} layers was given {states} states and {masks} masks");
        }
        if ![0, layers].contains(&self.norms.len()) {
            bail!("a window of {layers} layers was given {} norms", self.norms.len());
        }
        let embedding = self.embedding.contiguous()?;
        tensors::expect("embedding", &embedding, embedding.dims())?;
        let source = if self.looks_up() {
            let (t, b) = self.ids.dims2()?;
            embedding.index_select(&self.ids.flatten_all()?, 0)?.reshape((t, b, ()))?
        } else {
            embedding
        };
        let mut runs: Vec<Run> = Vec::with_capacity(layers);
        for index in 0..layers {
            runs.push(self.forward_layer(index, runs.last(), &source)?);
        }
        Ok(Runs { source, runs })
    }

    /// Runs every layer backwards from `grad`, `dL/doutput` `[T, B, H]`, which comes back for the next
    /// window. The weights' and the embedding's gradients go into `grads`.
    pub fn backward(
        &self,
        runs: &mut Runs,
        mut grad: Buffer,
        grads: &mut GradStore,
    ) -> Result<Buffer> {
        let lowest = floats(&runs.source)?;
        let mut given = Buffer::default();
        for index in (0..runs.runs.len()).rev() {
            let (below, above) = runs.runs.split_at_mut(index);
            let Some((run, above)) = above.split_first_mut() else { break };
            if let Some(mask) = self.masks.get(index) {
                mask.apply(&mut grad);
            }
            let source = below.last().map_or(&lowest[..], Run::output);
            let of_source = match self.norms.get(index) {
                None => self.backward_layer(index, run, source, &grad, grads)?,
                Some(gain) => {
                    // What the layer gave is read no more: its place takes the gradient of h.
                    let mut of_hidden = run.output.take().unwrap_or_default();
                    let out = of_hidden.resized(run.hidden.len());
                    let level = self.spec.level;
                    let of_gain = norm::backward(level, &run.hidden, &floats(gain)?, &grad, out);
                    insert(grads, gain, of_gain)?;
                    let mut of_source =
                        self.backward_layer(index, run, source, &of_hidden, grads)?;
                    run.output = Some(of_hidden);
                    if index > 0 {
                        norm::add(&mut of_source, &grad);
                    }
                    of_source
                }
            };
            // The gradient of a run's output belongs to the buffers of whatever read it.
            let reader = above.first_mut().map_or(&mut given, |run| &mut run.buffers.grad_source);
            *reader = replace(&mut grad, of_source);
        }
        let of_embedding = if self.looks_up() {
            let (v, width) = self.embedding.dims2()?;
            let mut sums = vec![0.0; v * width];
            let ids = tensors::ids(self.ids, v)?;
            scatter_add(self.spec.level, &ids, &grad, width, &mut sums);
            sums
        } else {
            grad.to_vec()
        };
        insert(grads, self.embedding, of_embedding)?;
        runs.runs[0].buffers.grad_source = grad;
        Ok(given)
    }

    /// Whether the embedding is looked up before the lowest layer's input product.
    fn looks_up(&self) -> bool {
        self.embedding.dim(0).is_ok_and(|v| look_up_first(v, self.ids.elem_count()))
    }

    /// Gives the buffers back to the workspaces.
    pub fn finish(&self, runs: Runs) {
        for (run, (_, workspace)) in runs.runs.into_iter().zip(self.layers) {
            workspace.finish(run.into_buffers());
        }
    }

    /// Runs one layer on the output of the one below.
    fn forward_layer(&self, index: usize, below: Option<&Run>, lowest: &Tensor) -> Result<Run> {
        let (weights, workspace) = self.layers[index];
        let table: Floats;
        let (reads, source) = match below {
            Some(run) => {
                let sizes = run.layer.sizes;
                (Reads::Sequence { t: sizes.t, b: sizes.b, i: sizes.h }, run.output())
            }
            None => {
                table = floats(lowest)?;
                let reads = match *lowest.dims() {
                    [v, i] => Reads::Rows { ids: self.ids, v, i },
                    [t, b, i] => Reads::Sequence { t, b, i },
                    _ => bail!("the embedding must be [V, E], got {:?}", self.embedding.dims()),
                };
                (reads, &table[..])
            }
        };
        let state = self.state[index].contiguous()?;
        let layer = Layer::new(self.spec, reads, weights, &state, self.resets)?;
        let count = layer.sizes.positions() * layer.sizes.h;
        let mut buffers = workspace.begin();
        let mut hidden = take(&mut buffers.hidden);
        layer.forward(source, &floats(&state)?, hidden.resized(count), &mut buffers)?;
        let mut output = None;
        if let Some(gain) = self.norms.get(index) {
            tensors::expect("norm", gain, &[layer.sizes.h])?;
            let mut normal = take(&mut buffers.output);
            let (gain, below) = (floats(gain)?, below.map(Run::output));
            norm::forward(self.spec.level, &hidden, &gain, below, normal.resized(count));
            output = Some(normal);
        }
        if let Some(mask) = self.masks.get(index) {
            let (b, h, values) = (layer.sizes.b, layer.sizes.h, mask.kept.len());
            if values != b * h {
                bail!("a mask of {values} values was given for B = {b} rows of H = {h}");
            }
            match &mut output {
                Some(output) => mask.apply(output),
                None => {
                    let mut dropped = take(&mut buffers.output);
                    mask.write(&hidden, dropped.resized(count));
                    output = Some(dropped);
                }
            }
        }
        Ok(Run { layer, state, hidden, output, buffers })
    }

    /// Runs one layer backwards; its weights' gradients go into `grads`. Returns `dL/dsource`.
    fn backward_layer(
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
        let wanted = Some(of_source.resized(source.len()));
        let (_, sums) = layer.backward(&inputs, grad, &[], wanted, buffers)?;
        for (parameter, sum) in self.layers[index].0.tensors().zip(sums) {
            insert(grads, parameter, sum)?;
        }
        Ok(of_source)
    }
}

/// Adds to the gradient of `parameter`: a tied weight has two.
pub fn insert(grads: &mut GradStore, parameter: &Tensor, grad: Vec<f32>) -> Result<()> {
    let mut grad = tensors::like(grad, parameter)?;
    if let Some(other) = grads.get(parameter) {
        grad = (other + grad)?;
    }
    grads.insert(parameter, grad);
    Ok(())
}
