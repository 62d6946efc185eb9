//! A matrix laid out in panels of columns, in the order in which the product reads it.

use crate::fused::parallel;
use crate::fused::simd::isa::{Isa, Task};
use crate::fused::simd::level::Level;
use crate::fused::simd::memory::{Buffer, MatRef};
use crate::fused::simd::tile::prefetch;

/// A matrix B `[k, n]` laid out for the product: panels of NR columns, `[panel][word][NR]`, the last
/// one filled up with zeros. A word is one value of k, or two in bfloat16, the last of an odd k paired
/// with zero. NR and the word are those of the level that B was laid out for.
#[derive(Default)]
pub struct Panels {
    pub data: Buffer,
    pub k: usize,
    pub n: usize,
}

/// Which way a matrix B `[k, n]` lies in memory.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// Row after row: `[k, n]`.
    RowMajor,
    /// Column after column: `[n, k]`.
    ColumnMajor,
}

impl Panels {
    /// Lays out `source`, which is B `[k, n]` in `order`, for the tiles of `level`.
    ///
    /// # Panics
    /// If `source` is shorter than `k · n`.
    pub fn pack(&mut self, level: Level, source: &[f32], order: Order, k: usize, n: usize) {
        assert!(source.len() >= k * n);
        (self.k, self.n) = (k, n);
        let width = level.panel_width();
        let panel_len = k.div_ceil(level.word()) * width;
        let data = self.data.resized(n.div_ceil(width) * panel_len);
        if data.is_empty() {
            return;
        }
        let panels = data.len() / panel_len;
        let tasks = match data.len() {
            ..PACKED_AT_LEAST => 1,
            _ => parallel::tasks(panels, PACKED_AT_LEAST.div_ceil(panel_len)),
        };
        parallel::for_items(parallel::shares(data, panel_len, tasks), |(range, out)| {
            for (p, out) in range.zip(out.chunks_exact_mut(panel_len)) {
                level.run(Pack { source, order, k, n, first: p * width, out });
            }
        });
    }
}

/// Words that one task lays out at least: a thread takes longer to wake than to lay out fewer.
const PACKED_AT_LEAST: usize = 32 * 1024;

/// The task to lay out one panel of B: its columns from `first`.
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
            Order::RowMajor => {
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
            Order::ColumnMajor => {
                // A cache line of words of each column at a time.
                let (mut scratch, step) = (Buffer::default(), 16 * I::WORD);
                for (block, rows) in out.chunks_mut(16 * I::NR).enumerate() {
                    let from = block * step;
                    let lines = MatRef { data: &source[first * k + from..], stride: k };
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
