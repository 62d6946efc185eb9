//! What a layer keeps between its forward and its backward pass, and from one training step to the
//! next: buffers are allocated once, since fresh pages cost as much as the arithmetic on them.

use crate::fused::gemm::panels::Panels;
use crate::fused::simd::memory::Buffer;
use candle_core::{Result, Tensor, bail};
use std::sync::{Arc, Mutex, MutexGuard};

/// Buffers of one layer (or of the readout). Clones share them; give each layer its own.
///
/// One forward pass at a time: a second one overwrites what the first saved, and the backward pass
/// of the first then fails rather than be wrong.
#[derive(Clone, Default)]
pub struct Workspace(Arc<Mutex<Slot>>);

#[derive(Default)]
struct Slot {
    /// Counts passes; the pass that filled the buffers remembers its number.
    generation: u64,
    buffers: Buffers,
}

#[derive(Default)]
pub(crate) struct Buffers {
    /// `[T, B, G·H]`: gates, then their gradients. The readout's: gradients of the logits.
    pub gates: Buffer,
    /// `[T, B, H]`: see each cell.
    pub saved: Buffer,
    /// `[V, G·H]`: the embedding table through `W_ih`, then its gradient.
    pub table: Buffer,
    /// `[B, (G+1)·H]`: gradients of the biases, row by row.
    pub bias: Buffer,
    pub input_weights: Panels,
    pub recurrent_weights: [Panels; 2],
    /// One operand of a weight gradient, in panels.
    pub packed: Buffer,
    /// `[T, B, H]`, of a window that is run as a whole: the hidden sequence, what the layer gives of it
    /// (normalised, after dropout), and the gradient of what the layer or readout read (`[V, I]` or `[T, B, I]`).
    pub hidden: Buffer,
    pub output: Buffer,
    pub grad_source: Buffer,
    /// `dL/dc_T` from the op that gave c out.
    pub grad_cell: Option<Tensor>,
    /// Gradients of the weights, until their autograd hooks ask for them.
    pub grads: Vec<Option<Tensor>>,
}

impl Workspace {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        // A panic elsewhere leaves numbers behind, which the next forward pass overwrites.
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Takes the buffers for a new forward pass. The lock is not held while threads work on them, so a
    /// thread that runs a task of another layer meanwhile cannot wait for itself.
    pub(crate) fn begin(&self) -> Buffers {
        let mut slot = self.lock();
        slot.generation += 1;
        let mut buffers = std::mem::take(&mut slot.buffers);
        buffers.grad_cell = None;
        buffers.grads.clear();
        buffers
    }

    /// Gives the buffers back; returns the generation that they now hold.
    pub(crate) fn finish(&self, buffers: Buffers) -> u64 {
        let mut slot = self.lock();
        slot.generation += 1;
        slot.buffers = buffers;
        slot.generation
    }

    /// Looks at what the pass of `generation` left.
    ///
    /// # Errors
    /// The workspace was used again since.
    pub(crate) fn with<R>(
        &self,
        generation: u64,
        look: impl FnOnce(&mut Buffers) -> Result<R>,
    ) -> Result<R> {
        let mut slot = self.lock();
        if slot.generation != generation {
            bail!(
                "the workspace of this layer was used again before the backward pass: run backward \
                 once, before the next forward, or give each pass its own Workspace"
            );
        }
        look(&mut slot.buffers)
    }

    /// Takes what the pass of `generation` left, for its backward pass.
    ///
    /// # Errors
    /// The workspace was used again since.
    pub(crate) fn resume(&self, generation: u64) -> Result<Buffers> {
        let taken = self.with(generation, |buffers| Ok(std::mem::take(buffers)))?;
        self.lock().generation += 1;
        Ok(taken)
    }
}
