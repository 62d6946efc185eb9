//! The readout of two hidden sequences side by side, and the same weights as the readout of each alone.
//!
//! With the weight `[W_1 W_2]` the logits of both are `W_1 h_1 + W_2 h_2 + b`, those of one alone
//! `W_1 h_1 + b_1`: the products are taken once.

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
    /// Of the readout of both and of that of the second sequence; of the first.
    scored: [Scored; 3],
    /// Factor of the losses of one sequence alone in the sum that the gradients are of.
    alone: f32,
    /// `[V, 2H]`, contiguous
    weight: Tensor,
    /// `[V]` each
    biases: [Vec<f32>; 3],
}

/// What the backward pass gives beside the gradients of the hidden sequences.
pub struct PairGradients {
    /// `[V, 2H]`
    pub weight: Vec<f32>,
    /// `[V]` each: of both, of the first alone, of the second alone.
    pub biases: [Vec<f32>; 3],
}

/// A block of rows: logits of the three readouts, then their gradients, and the nats of that of both.
struct RowBlock<'a> {
    readout: &'a PairReadout,
    hidden: [MatRef<'a>; 2],
    panels: [&'a Panels; 2],
    /// The first row.
    first: usize,
    /// `[rows, V]` each
    grads: [&'a mut [f32]; 3],
    nats: &'a mut [f32],
}

impl Task for RowBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let PairReadout { v, targets, scored, biases, alone, .. } = self.readout;
        let [both, first, second] = self.grads;
        let mut operand = Buffer::default();
        let sides = [&mut *first, &mut *second].into_iter().zip(self.hidden);
        for ((logits, hidden), panels) in sides.zip(self.panels) {
            let logits = MatMut::new(logits, *v);
            matmul(isa, hidden, panels, logits, Accumulate::Overwrite, &mut operand);
        }
        let rows = both.chunks_exact_mut(*v).zip(first.chunks_exact_mut(*v));
        let rows = rows.zip(second.chunks_exact_mut(*v)).zip(self.nats).enumerate();
        for (index, (((both, first), second), nats)) in rows {
            for (j, both) in both.iter_mut().enumerate() {
                *both = first[j] + second[j] + biases[0][j];
                first[j] += biases[1][j];
                second[j] += biases[2][j];
            }
            *nats = 0.0;
            let at = self.first + index;
            for (readout, logits) in [both, first, second].into_iter().enumerate() {
                let share = scored[readout].share;
                if !scored[readout].counts(at) {
                    logits.fill(0.0);
                } else if readout == 0 {
                    *nats = cross_entropy(isa, logits, targets[at], share);
                } else {
                    cross_entropy(isa, logits, targets[at], share * alone);
                }
            }
        }
    }
}

impl PairReadout {
    /// Of two hidden sequences `[T, B, H]`. `weight` is `[V, 2H]`, each of `biases` `[V]`: of both, of the
    /// first alone, of the second alone. A target of both, and of the second alone, counts where `scored`
    /// `[T, B]` (u8) is not 0; for the first alone all count. The gradients are of the loss of both and
    /// `alone` times that of each alone.
    pub fn new(
        level: Level,
        [t, b, h]: [usize; 3],
        weight: &Tensor,
        biases: [&Tensor; 3],
        targets: &Tensor,
        scored: Option<&Tensor>,
        alone: f32,
    ) -> Result<Self> {
        let v = biases[0].dims1()?;
        if [t, b, h, v].contains(&0) {
            bail!("the readout needs T, B, H and V of at least 1, got T={t} B={b} H={h} V={v}");
        }
        tensors::expect("readout weight", weight, &[v, 2 * h])?;
        for bias in biases {
            tensors::expect("readout bias", bias, &[v])?;
        }
        if targets.dims() != [t, b] {
            bail!("targets must be [T, B] = [{t}, {b}], got {:?}", targets.dims());
        }
        if let Some(scored) = scored.filter(|scored| scored.dims() != [t, b]) {
            bail!("scored must be [T, B] = [{t}, {b}], got {:?}", scored.dims());
        }
        let [of_both, of_first, of_second] = biases;
        Ok(Self {
            level,
            h,
            v,
            targets: tensors::ids(targets, v)?,
            scored: [
                Scored::new(scored, t * b)?,
                Scored::new(None, t * b)?,
                Scored::new(scored, t * b)?,
            ],
            alone,
            weight: weight.contiguous()?,
            biases: [of_both.to_vec1()?, of_first.to_vec1()?, of_second.to_vec1()?],
        })
    }

    /// The loss of both; `buffers` keeps the gradients of the logits.
    pub fn forward(&self, hidden: [&[f32]; 2], buffers: &mut Buffers) -> Result<f32> {
        let (h, v, rows) = (self.h, self.v, self.targets.len());
        let weight = floats(&self.weight)?;
        let halves = [0, 1].map(|side| half(&weight, side, h));
        let panels = &mut buffers.recurrent_weights;
        for (panels, weight) in panels.iter_mut().zip(&halves) {
            panels.pack(self.level, weight, Order::ColumnMajor, h, v);
        }
        let panels = [&panels[0], &panels[1]];
        let (grads, nats) = buffers.gates.resized(rows * (3 * v + 1)).split_at_mut(3 * rows * v);
        let (both, each) = grads.split_at_mut(rows * v);
        let (first, second) = each.split_at_mut(rows * v);
        let tasks = parallel::tasks(rows, 1..=64);
        let shares = |grad| parallel::shares(grad, v, tasks);
        let blocks = shares(both).zip(shares(first)).zip(shares(second));
        let blocks = blocks.zip(parallel::shares(nats, 1, tasks));
        parallel::for_items(blocks, |((((block, both), (_, first)), (_, second)), (_, nats))| {
            let hidden = hidden.map(|hidden| MatRef::new(&hidden[block.start * h..], h));
            let grads = [both, first, second];
            self.level.run(RowBlock {
                readout: self,
                hidden,
                panels,
                first: block.start,
                grads,
                nats,
            });
        });
        let sum = nats.iter().map(|&x| f64::from(x)).sum::<f64>();
        Ok((sum * f64::from(self.scored[0].share)) as f32)
    }

    /// Writes the gradients of the two hidden sequences and returns the others.
    pub fn backward(
        &self,
        hidden: [&[f32]; 2],
        grad_hidden: [&mut [f32]; 2],
        buffers: &mut Buffers,
    ) -> Result<PairGradients> {
        let (h, v, rows) = (self.h, self.v, self.targets.len());
        let (both, each) = buffers.gates[..3 * rows * v].split_at_mut(rows * v);
        let (first, second) = each.split_at_mut(rows * v);
        let biases = [&*both, &*first, &*second].map(|grad| column_sums(grad, v));
        let weight = floats(&self.weight)?;
        let mut grad_weight = zeros(2 * v * h);
        for (side, (own, grad_hidden)) in [first, second].into_iter().zip(grad_hidden).enumerate() {
            // The logits of both count as well.
            parallel::for_items(own.chunks_mut(64 * v).zip(both.chunks(64 * v)), |(own, both)| {
                own.iter_mut().zip(both).for_each(|(own, both)| *own += both);
            });
            let panels = &mut buffers.recurrent_weights[side];
            panels.pack(self.level, &half(&weight, side, h), Order::RowMajor, v, h);
            linear(self.level, own, panels, None, grad_hidden);
            let mut of_half = zeros(v * h);
            let row = |row: usize| &hidden[side][row * h..][..h];
            MatmulTn { level: self.level, a: MatRef::new(own, v), m: v, b: row, n: h, k: rows }
                .write(&mut buffers.packed, &mut of_half);
            for (row, of_half) in grad_weight.chunks_exact_mut(2 * h).zip(of_half.chunks_exact(h)) {
                row[side * h..][..h].copy_from_slice(of_half);
            }
        }
        Ok(PairGradients { weight: grad_weight, biases })
    }
}

/// The first (0) or second (1) half of each row of a matrix `[V, 2H]`: `[V, H]`.
fn half(weight: &[f32], side: usize, h: usize) -> Vec<f32> {
    weight.chunks_exact(2 * h).flat_map(|row| &row[side * h..][..h]).copied().collect()
}
