//! The one matrix product of this module: `C (+)= A · B` with B packed into column panels.
//!
//! A recurrent layer multiplies by the same weights at every one of T steps, so they are laid out
//! once per pass ([`Panels`]) and then only streamed. In pseudocode, with tiles of MR x NR:
//!
//! ```text
//! for each panel of NR columns          the panel stays in the second-level cache
//!   for each block of KC values of k
//!     for each MR rows of A             MR x NR accumulators stay in registers
//!       for k in the block:  acc[i][j] += A[i][k] * panel[k][j]
//!       C[i][j] += acc[i][j]
//! ```
//!
//! Each element of C is summed over k in the same order whatever the rows around it, so results do
//! not depend on how the batch was split among threads.

use super::{
    kernel::{Tile, prefetch},
    memory::Buffer,
    simd::{Isa, Level, Task},
};
use rayon::prelude::*;

/// Words of k between two updates of C: a panel block of 512 x 48 takes 96 KiB of cache.
pub const KC: usize = 512;

/// A matrix B `[k, n]` laid out for the kernel: panels of NR columns, each `[k, NR]` and contiguous,
/// the last one filled up with zeros.
#[derive(Default)]
pub struct Panels {
    data: Buffer,
    k: usize,
    n: usize,
}

/// Which way a matrix B `[k, n]` lies in memory.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// Row after row: `[k, n]`.
    Rows,
    /// Column after column: `[n, k]`.
    Columns,
}

impl Panels {
    /// Lays out `source`, which is B `[k, n]` in `order`.
    pub fn pack(&mut self, level: Level, source: &[f32], order: Order, k: usize, n: usize) {
        assert!(k > 0 && n > 0 && source.len() >= k * n);
        (self.k, self.n) = (k, n);
        let width = level.panel_width();
        let panel_len = k.div_ceil(level.word()) * width;
        let data = self.data.resized(n.div_ceil(width) * panel_len);
        data.par_chunks_mut(panel_len)
            .with_min_len((PACKED_AT_LEAST / panel_len).max(1))
            .enumerate()
            .for_each(|(p, out)| {
                level.run(Pack { source, order, k, n, first: p * width, out });
            });
    }
}

/// Words that one task lays out at least: fewer take less time than another thread takes to wake.
const PACKED_AT_LEAST: usize = 32 * 1024;

/// One panel of B: its columns from `first`.
struct Pack<'a> {
    source: &'a [f32],
    order: Order,
    k: usize,
    n: usize,
    first: usize,
    out: &'a mut [f32],
}

impl Task for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { source, order, k, n, first, out } = self;
        let columns = I::NR.min(n - first);
        let zeros = vec![0.0; columns];
        match order {
            Order::Rows => {
                for (word, out) in out.chunks_exact_mut(I::NR).enumerate() {
                    let (used, rest) = out.split_at_mut(columns);
                    let row = |i| match word * I::WORD + i {
                        row if row < k => &source[row * n + first..][..columns],
                        _ => &zeros[..],
                    };
                    isa.pack_row(row, used);
                    rest.fill(0.0);
                }
            }
            Order::Columns => {
                // A cache line of each column at a time.
                let (mut scratch, step) = (Buffer::default(), 16 * I::WORD);
                for (block, rows) in out.chunks_mut(16 * I::NR).enumerate() {
                    let from = block * step;
                    let lines = Rows { data: &source[first * k + from..], stride: k };
                    let lines = isa.operand(lines, columns, step.min(k - from), &mut scratch);
                    for j in 0..columns {
                        let at = (first + j) * k + from;
                        prefetch(&source[source.len().min(at + step + 1) - 1]);
                        let line = &lines.data[j * lines.stride..];
                        for (row, &word) in rows.chunks_exact_mut(I::NR).zip(line) {
                            row[j] = word;
                        }
                    }
                    for row in rows.chunks_exact_mut(I::NR) {
                        row[columns..].fill(0.0);
                    }
                }
            }
        }
    }
}

/// Rows of A or C: row i starts at `data[i * stride]`.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    pub data: &'a [f32],
    pub stride: usize,
}

/// `C[rows, n] = A[rows, k] · B`, or `C += A · B` if `accumulate`, on this thread.
/// `c` holds the rows of C at a distance of `c_stride`. `scratch` is for the kernel's use.
#[inline(always)]
pub fn product<I: Isa>(
    isa: I,
    a: Rows,
    b: &Panels,
    c: &mut [f32],
    c_stride: usize,
    accumulate: bool,
    scratch: &mut Buffer,
) {
    let (k, n) = (b.k, b.n);
    let rows = c.len().saturating_sub(n) / c_stride + 1;
    assert!(c.len() >= n && a.data.len() >= (rows - 1) * a.stride + k && n <= c_stride);
    let words = k.div_ceil(I::WORD);
    let a = isa.operand(a, rows, k, scratch);
    for (p, panel) in b.data.chunks_exact(words * I::NR).enumerate() {
        let first = p * I::NR;
        for from in (0..words).step_by(KC) {
            for row in (0..rows).step_by(I::MR) {
                // SAFETY: rows `row..row + MR`, cut at `rows`, of A and C are inside their slices
                // by the assertion; the panel has `words` rows of NR, of which the block takes
                // `from..from + k`; only the first `n - first` columns of C are written.
                unsafe {
                    isa.tile(
                        I::MR.min(rows - row),
                        Tile {
                            a: a.data.as_ptr().add(row * a.stride + from),
                            a_row: a.stride,
                            a_k: 1,
                            b: panel.as_ptr().add(from * I::NR),
                            k: KC.min(words - from),
                            c: c.as_mut_ptr().add(row * c_stride + first),
                            c_row: c_stride,
                            columns: I::NR.min(n - first),
                            accumulate: accumulate || from > 0,
                        },
                    );
                }
            }
        }
    }
}

/// `out[rows, n] = x[rows, k] · B + bias`, in parallel over the rows.
pub fn project(
    level: Level,
    x: &[f32],
    k: usize,
    panels: &Panels,
    bias: Option<&[f32]>,
    n: usize,
    out: &mut [f32],
) {
    struct Project<'a>(Rows<'a>, &'a Panels, Option<&'a [f32]>, usize, &'a mut [f32]);
    impl Task for Project<'_> {
        type Output = ();

        #[inline(always)]
        fn run<I: Isa>(self, isa: I) {
            let Self(x, panels, bias, n, out) = self;
            if let Some(bias) = bias {
                out.chunks_exact_mut(n).for_each(|row| row.copy_from_slice(bias));
            }
            product(isa, x, panels, out, n, bias.is_some(), &mut Buffer::default());
        }
    }
    // 64 rows: they and one panel fit the second-level cache.
    out.par_chunks_mut(64 * n).enumerate().for_each(|(chunk, out)| {
        let x = Rows { data: &x[chunk * 64 * k..], stride: k };
        level.run(Project(x, panels, bias, n, out));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Product<'a>(Rows<'a>, &'a Panels, &'a mut [f32], bool);
    impl Task for Product<'_> {
        type Output = ();

        #[inline(always)]
        fn run<I: Isa>(self, isa: I) {
            let stride = self.1.n;
            product(isa, self.0, self.1, self.2, stride, self.3, &mut Buffer::default());
        }
    }

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let mut x = seed.wrapping_mul(2_654_435_769) | 1;
        let mut next = || {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            x as f32 / u32::MAX as f32 - 0.5
        };
        (0..count).map(|_| next()).collect()
    }

    /// The product at sizes around every tile and block, from plain and transposed sources.
    #[test]
    fn product_agrees_with_the_plain_one() {
        let mut levels = Level::all();
        levels.extend(Level::choose(crate::fused::Precision::Bf16));
        for level in levels {
            let tolerance = if level.word() == 2 { 1e-2 } else { 1e-6 };
            for (m, k, n) in
                [(1, 1, 1), (3, 2, 7), (4, 5, 24), (8, 16, 48), (9, 33, 49), (17, 1025, 97)]
            {
                let (a, b, c) = (numbers(m * k, 1), numbers(k * n, 2), numbers(m * n, 3));
                for (order, accumulate) in [(Order::Rows, false), (Order::Columns, true)] {
                    let mut panels = Panels::default();
                    panels.pack(level, &b, order, k, n);
                    let mut got = c.clone();
                    level.run(Product(Rows { data: &a, stride: k }, &panels, &mut got, accumulate));
                    for i in 0..m {
                        for j in 0..n {
                            let term = |q| {
                                let b = match order {
                                    Order::Rows => b[q * n + j],
                                    Order::Columns => b[j * k + q],
                                };
                                f64::from(a[i * k + q]) * f64::from(b)
                            };
                            let start = if accumulate { f64::from(c[i * n + j]) } else { 0.0 };
                            let want = start + (0..k).map(term).sum::<f64>();
                            let error =
                                (f64::from(got[i * n + j]) - want).abs() / (k as f64).sqrt();
                            assert!(
                                error < tolerance,
                                "{level:?} {m}x{k}x{n} at ({i}, {j}): off by {error}"
                            );
                        }
                    }
                }
            }
        }
    }
}
