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
        let alone = data.len() < ALONE;
        let parts = data.chunks_mut(panel_len).enumerate().flat_map(|(p, panel)| {
            let parts = panel.chunks_mut(WORDS * width).enumerate();
            parts.map(move |(part, out)| (p * width, part * WORDS, out))
        });
        let pack = |(first, word, out)| {
            level.run(Pack { source, order, k, n, first, word, out });
        };
        if alone { parts.for_each(pack) } else { parallel::for_items(parts, pack) }
    }
}

/// Words of a matrix that one thread lays out alone: sooner than another takes to come.
const ALONE: usize = 32 * 1024;
/// Words of k that one task lays out in a panel, so that few panels are enough for many threads.
const WORDS: usize = 64;

/// The task to lay out a part of one panel of B: its columns from `first`, and of k from `word`.
struct Pack<'a> {
    source: &'a [f32],
    order: Order,
    k: usize,
    n: usize,
    first: usize,
    word: usize,
    out: &'a mut [f32],
}

impl Task for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { source, order, k, n, first, word, out } = self;
        let columns = I::NR.min(n - first);
        let zeros = vec![0.0; columns];
        match order {
            Order::RowMajor => {
                for (word, out) in (word..).zip(out.chunks_exact_mut(I::NR)) {
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
                    let from = word * I::WORD + block * step;
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
