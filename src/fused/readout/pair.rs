//! The readout of two hidden sequences side by side, and a readout of each alone.
//!
//! The logits of both are `W_1 h_1 + W_2 h_2 + b`, those of one alone `A_1 h_1 + b_1`. The weights that
//! read one sequence are stacked, `[W_1; A_1]`, so that each sequence takes part in one product.

use crate::fused::gemm::panels::{Order, Panels};
use crate::fused::gemm::product::{Accumulate, linear, matmul};
use crate::fused::gemm::reduce::column_sums;
use crate::fused::gemm::transposed::{MatmulTn, zeros};
use crate::fused::parallel;
use crate::fused::readout::softmax::cross_entropy;
use crate::fused::simd::isa::{Isa, Task};
use crate::fused::simd::level::Level;
use crate::fused::simd::memory::{Buffer, MatMut, MatRef};
use crate::fused::tensors::{self, floats};
use crate::fused::workspace::Buffers;
use candle_core::{Result, Tensor, bail};

/// Which targets of a window count, `[T, B]` (u8, not 0), and one over how many those are.
struct Scored {
    flags: Option<Vec<u8>>,
    share: f32,
}

impl Scored {
    fn new(flags: Option<&Tensor>, rows: usize) -> Result<Self> {
        let flags = flags.map(tensors::flags).transpose()?;
        let count = flags.as_ref().map_or(rows, |flags| flags.iter().filter(|&&f| f != 0).count());
        Ok(Self { flags, share: 1.0 / count.max(1) as f32 })
    }

    fn counts(&self, row: usize) -> bool {
        self.flags.as_ref().is_none_or(|flags| flags[row] != 0)
    }
}

/// The readouts of a window: of both sequences, of the first alone, of the second alone.
pub struct PairReadout {
    level: Level,
    h: usize,
    v: usize,
    targets: Vec<u32>,
    /// Of each of the readouts.
    scored: [Scored; 3],
    /// Factor of the losses of one sequence alone in the sum that the gradients are of.
    alone: f32,
    /// Of each of the readouts: weight (`[V, 2H]` of both, `[V, H]` of one), contiguous, and bias `[V]`.
    weights: [Tensor; 3],
    biases: [Vec<f32>; 3],
}

/// What the backward pass gives beside the gradients of the hidden sequences, of each of the readouts.
pub struct PairGradients {
    /// `[V, 2H]` of both, `[V, H]` of one.
    pub weights: [Vec<f32>; 3],
    /// `[V]`
    pub biases: [Vec<f32>; 3],
}

/// A block of rows: logits of the readouts, then their gradients, and the nats of that of both.
struct RowBlock<'a> {
    readout: &'a PairReadout,
    hidden: [MatRef<'a>; 2],
    panels: &'a [Panels; 2],
    /// The first row.
    first: usize,
    /// For each sequence `[rows, 2V]`: of both, of this one alone.
    grads: [&'a mut [f32]; 2],
    nats: &'a mut [f32],
}

impl Task for RowBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let PairReadout { v, targets, scored, biases, alone, .. } = self.readout;
        let v = *v;
        let [left, right] = self.grads;
        let mut operand = Buffer::default();
        let sides = [&mut *left, &mut *right].into_iter().zip(self.hidden);
        for ((logits, hidden), panels) in sides.zip(self.panels) {
            let logits = MatMut::new(logits, 2 * v);
            matmul(isa, hidden, panels, logits, Accumulate::Overwrite, &mut operand);
        }
        let rows = left.chunks_exact_mut(2 * v).zip(right.chunks_exact_mut(2 * v)).zip(self.nats);
        for (at, ((left, right), nats)) in (self.first..).zip(rows) {
            let (both, left) = left.split_at_mut(v);
            let (both_again, right) = right.split_at_mut(v);
            for (j, both) in both.iter_mut().enumerate() {
                *both += both_again[j] + biases[0][j];
                left[j] += biases[1][j];
                right[j] += biases[2][j];
            }
            *nats = 0.0;
            for (readout, logits) in [&mut *both, left, right].into_iter().enumerate() {
                let share = scored[readout].share;
                if !scored[readout].counts(at) {
                    logits.fill(0.0);
                } else if readout == 0 {
                    *nats = cross_entropy(isa, logits, targets[at], share);
                } else {
                    cross_entropy(isa, logits, targets[at], share * alone);
                }
            }
            both_again.copy_from_slice(both);
        }
    }
}

impl PairReadout {
    /// Of two hidden sequences `[T, B, H]`, by weight and bias of each readout: of both (`[V, 2H]`, `[V]`), of
    /// the first alone and of the second alone (`[V, H]`, `[V]`). A target of both, and of the second alone,
    /// counts where `scored` `[T, B]` (u8) is not 0; for the first alone all count. The gradients are of the
    /// loss of both and `alone` times that of each alone.
    pub fn new(
        level: Level,
        [t, b, h]: [usize; 3],
        readouts: [(&Tensor, &Tensor); 3],
        targets: &Tensor,
        scored: Option<&Tensor>,
        alone: f32,
    ) -> Result<Self> {
        let v = readouts[0].1.dims1()?;
        if [t, b, h, v].contains(&0) {
            bail!("the readout needs T, B, H and V of at least 1, got T={t} B={b} H={h} V={v}");
        }
        for ((weight, bias), width) in readouts.into_iter().zip([2 * h, h, h]) {
            tensors::expect("readout weight", weight, &[v, width])?;
            tensors::expect("readout bias", bias, &[v])?;
        }
        if targets.dims() != [t, b] {
            bail!("targets must be [T, B] = [{t}, {b}], got {:?}", targets.dims());
        }
        if let Some(scored) = scored.filter(|scored| scored.dims() != [t, b]) {
            bail!("scored must be [T, B] = [{t}, {b}], got {:?}", scored.dims());
        }
        let rows = t * b;
        let [both, first, second] = readouts;
        Ok(Self {
            level,
            h,
            v,
            targets: tensors::ids(targets, v)?,
            scored: [
                Scored::new(scored, rows)?,
                Scored::new(None, rows)?,
                Scored::new(scored, rows)?,
            ],
            alone,
            weights: [both.0.contiguous()?, first.0.contiguous()?, second.0.contiguous()?],
            biases: [both.1.to_vec1()?, first.1.to_vec1()?, second.1.to_vec1()?],
        })
    }

    /// The weights that read a sequence, one above the other: `[2V, H]`.
    fn stacked(&self, side: usize) -> Result<Vec<f32>> {
        let (both, alone) = (floats(&self.weights[0])?, floats(&self.weights[1 + side])?);
        let half = both.chunks_exact(2 * self.h).flat_map(|row| &row[side * self.h..][..self.h]);
        Ok(half.chain(&*alone).copied().collect())
    }

    /// The loss of both; `buffers` keeps the gradients of the logits.
    pub fn forward(&self, hidden: [&[f32]; 2], buffers: &mut Buffers) -> Result<f32> {
        let (h, v, rows) = (self.h, self.v, self.targets.len());
        let panels = &mut buffers.recurrent_weights;
        for (side, panels) in panels.iter_mut().enumerate() {
            panels.pack(self.level, &self.stacked(side)?, Order::ColumnMajor, h, 2 * v);
        }
        let panels = &buffers.recurrent_weights;
        let (grads, nats) = buffers.gates.resized(rows * (4 * v + 1)).split_at_mut(4 * rows * v);
        let (left, right) = grads.split_at_mut(2 * rows * v);
        let tasks = parallel::tasks(rows, 1..=64);
        let blocks = parallel::shares(left, 2 * v, tasks)
            .zip(parallel::shares(right, 2 * v, tasks))
            .zip(parallel::shares(nats, 1, tasks));
        parallel::for_items(blocks, |(((block, left), (_, right)), (_, nats))| {
            let first = block.start;
            let hidden = hidden.map(|hidden| MatRef::new(&hidden[first * h..], h));
            let grads = [left, right];
            self.level.run(RowBlock { readout: self, hidden, panels, first, grads, nats });
        });
        let sum = nats.iter().map(|&x| f64::from(x)).sum::<f64>();
        Ok((sum * f64::from(self.scored[0].share)) as f32)
    }

    /// Writes the gradients of the two hidden sequences and returns those of weights and biases.
    pub fn backward(
        &self,
        hidden: [&[f32]; 2],
        grad_hidden: [&mut [f32]; 2],
        buffers: &mut Buffers,
    ) -> Result<PairGradients> {
        let (h, v, rows) = (self.h, self.v, self.targets.len());
        let mut weights = [vec![0.0; 2 * v * h], Vec::new(), Vec::new()];
        let mut biases = [const { Vec::new() }; 3];
        for (side, grad_hidden) in grad_hidden.into_iter().enumerate() {
            let grad = &buffers.gates[side * 2 * rows * v..][..2 * rows * v];
            let panels = &mut buffers.recurrent_weights[side];
            panels.pack(self.level, &self.stacked(side)?, Order::RowMajor, 2 * v, h);
            linear(self.level, grad, panels, None, grad_hidden);
            let mut sums = zeros(2 * v * h);
            let (a, row) = (MatRef::new(grad, 2 * v), |row: usize| &hidden[side][row * h..][..h]);
            MatmulTn { level: self.level, a, m: 2 * v, b: row, n: h, k: rows }
                .write(&mut buffers.packed, &mut sums);
            weights[1 + side] = sums.split_off(v * h);
            for (row, of_half) in weights[0].chunks_exact_mut(2 * h).zip(sums.chunks_exact(h)) {
                row[side * h..][..h].copy_from_slice(of_half);
            }
            let mut sums = column_sums(grad, 2 * v);
            biases[1 + side] = sums.split_off(v);
            // The same on either side.
            biases[0] = sums;
        }
        Ok(PairGradients { weights, biases })
    }
}
