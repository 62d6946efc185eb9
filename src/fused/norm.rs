//! Layer normalisation of hidden vectors (Ba et al. 2016) and the residual connection past a layer, on slices.
//!
//! For each row of H values y = g ∘ (h − mean(h)) / √(var(h) + ε) + x, where the variance is divided by H,
//! and x is what the layer read, or nothing. PyTorch's `LayerNorm(H, bias=False)` is the same without x.

use crate::fused::gemm::reduce::column_sums;
use crate::fused::parallel;
use crate::fused::simd::isa::{Isa, Task, for_vectors, load, store};
use crate::fused::simd::level::Level;
use pulp::Simd;

/// Added to the variance: that of PyTorch.
pub const EPSILON: f32 = 1e-5;

/// Values that one task has, in whole rows.
const BLOCK: usize = 16 * 1024;

/// Length of the rows of one task.
fn block_length(width: usize) -> usize {
    (BLOCK / width.max(1)).max(1) * width.max(1)
}

/// `out = g ∘ norm(hidden) (+ below)`, of one length: whole rows of as many values as `gain` has.
pub fn forward(level: Level, hidden: &[f32], gain: &[f32], below: Option<&[f32]>, out: &mut [f32]) {
    let length = block_length(gain.len());
    parallel::for_items(out.chunks_mut(length).enumerate(), |(block, out)| {
        let range = block * length..block * length + out.len();
        let below = below.map(|below| &below[range.clone()]);
        level.run(ForwardRows { hidden: &hidden[range], gain, below, out });
    });
}

/// From `grad`, `dL/dy`: writes `dL/dhidden` to `of_hidden` and returns `dL/dg`. The gradient of x is
/// `grad` itself.
pub fn backward(
    level: Level,
    hidden: &[f32],
    gain: &[f32],
    grad: &[f32],
    of_hidden: &mut [f32],
) -> Vec<f32> {
    let (width, length) = (gain.len().max(1), block_length(gain.len()));
    // Sums are per block of rows, then over the blocks in order, whatever the number of threads.
    let mut sums = vec![0.0; hidden.len().div_ceil(length) * width];
    let blocks = of_hidden.chunks_mut(length).zip(sums.chunks_mut(width)).enumerate();
    parallel::for_items(blocks, |(block, (of_hidden, of_gain))| {
        let range = block * length..block * length + of_hidden.len();
        let (hidden, grad) = (&hidden[range.clone()], &grad[range]);
        level.run(BackwardRows { hidden, gain, grad, of_hidden, of_gain });
    });
    column_sums(&sums, gain.len())
}

/// `values += other`, of one length.
pub fn add(values: &mut [f32], other: &[f32]) {
    parallel::for_items(values.chunks_mut(BLOCK).zip(other.chunks(BLOCK)), |(values, other)| {
        values.iter_mut().zip(other).for_each(|(value, other)| *value += other);
    });
}

struct ForwardRows<'a> {
    hidden: &'a [f32],
    gain: &'a [f32],
    below: Option<&'a [f32]>,
    out: &'a mut [f32],
}

impl Task for ForwardRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        normalise_rows(isa, self.hidden, self.gain, self.below, self.out);
    }
}

/// [`forward`] on this thread, of code that is compiled for the instruction set.
#[inline(always)]
pub fn normalise_rows<I: Isa>(
    isa: I,
    hidden: &[f32],
    gain: &[f32],
    below: Option<&[f32]>,
    out: &mut [f32],
) {
    let (simd, width) = (isa.simd(), gain.len());
    if width == 0 {
        return;
    }
    let rows = out.chunks_exact_mut(width).zip(hidden.chunks_exact(width)).enumerate();
    for (row, (out, hidden)) in rows {
        let scale = simd.splat_f32s(centre(simd, hidden, out));
        let below = below.map(|below| &below[row * width..][..width]);
        for_vectors!(simd, width, |j, n| {
            let normal = simd.mul_f32s(load(simd, out, j, n), scale);
            let mut y = simd.mul_f32s(normal, load(simd, gain, j, n));
            if let Some(below) = below {
                // Not in one rounding with the product: tensor operations add apart.
                y = simd.add_f32s(y, load(simd, below, j, n));
            }
            store(simd, out, j, n, y);
        });
    }
}

struct BackwardRows<'a> {
    hidden: &'a [f32],
    gain: &'a [f32],
    grad: &'a [f32],
    of_hidden: &'a mut [f32],
    /// Zeros, to which the rows are added.
    of_gain: &'a mut [f32],
}

impl Task for BackwardRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { hidden, gain, grad, of_hidden, of_gain } = self;
        let (simd, width) = (isa.simd(), gain.len());
        if width == 0 {
            return;
        }
        let rows = hidden.chunks_exact(width).zip(grad.chunks_exact(width));
        for (out, (hidden, grad)) in of_hidden.chunks_exact_mut(width).zip(rows) {
            let scale = simd.splat_f32s(centre(simd, hidden, out));
            // Of d = g ∘ dL/dy, and of d ∘ n for the normalised n.
            let (mut sum, mut product) = (simd.splat_f32s(0.0), simd.splat_f32s(0.0));
            for_vectors!(simd, width, |j, n| {
                let normal = simd.mul_f32s(load(simd, out, j, n), scale);
                let dy = load(simd, grad, j, n);
                let d = simd.mul_f32s(dy, load(simd, gain, j, n));
                sum = simd.add_f32s(sum, d);
                product = simd.add_f32s(product, simd.mul_f32s(d, normal));
                let total = simd.add_f32s(load(simd, of_gain, j, n), simd.mul_f32s(dy, normal));
                store(simd, of_gain, j, n, total);
                store(simd, out, j, n, normal);
            });
            let mean = simd.splat_f32s(simd.reduce_sum_f32s(sum) / width as f32);
            let share = simd.splat_f32s(simd.reduce_sum_f32s(product) / width as f32);
            // dL/dh = (d − mean(d) − n mean(d ∘ n)) / √(var + ε)
            for_vectors!(simd, width, |j, n| {
                let normal = load(simd, out, j, n);
                let d = simd.mul_f32s(load(simd, grad, j, n), load(simd, gain, j, n));
                let d = simd.sub_f32s(simd.sub_f32s(d, mean), simd.mul_f32s(normal, share));
                store(simd, out, j, n, simd.mul_f32s(d, scale));
            });
        }
    }
}

/// Writes `hidden − mean(hidden)` to `out` and returns `1 / √(var(hidden) + ε)`, of one row.
#[inline(always)]
fn centre<S: Simd>(simd: S, hidden: &[f32], out: &mut [f32]) -> f32 {
    let width = hidden.len();
    let mut sum = simd.splat_f32s(0.0);
    for_vectors!(simd, width, |j, n| {
        sum = simd.add_f32s(sum, load(simd, hidden, j, n));
    });
    let mean = simd.splat_f32s(simd.reduce_sum_f32s(sum) / width as f32);
    let mut squares = simd.splat_f32s(0.0);
    for_vectors!(simd, width, |j, n| {
        store(simd, out, j, n, simd.sub_f32s(load(simd, hidden, j, n), mean));
        // Loaded again, since lanes beyond the row must count as zero.
        let centred = load(simd, out, j, n);
        squares = simd.add_f32s(squares, simd.mul_f32s(centred, centred));
    });
    1.0 / (simd.reduce_sum_f32s(squares) / width as f32 + EPSILON).sqrt()
}
