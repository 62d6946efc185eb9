//! Gradients that sum over all characters of the window: of weights, biases, and the table.

use super::{
    kernel::Tile,
    matmul::{Buffer, KC, Rows, Shared},
    simd::{Isa, Level, Task, for_vectors, load, store},
};
use pulp::Simd;
use rayon::prelude::*;
use std::ops::Range;

/// Rows of the result that one task computes: its share of the left operand, `KC` deep, stays in
/// the second-level cache. A multiple of every tile.
const ROWS: usize = 96;
/// Blocks of `KC` words laid out at a time: what the tasks then share stays in the last-level cache.
const DEPTH: usize = 4;

/// `A^T · B`: the sum over the window of outer products of rows of A and B.
pub struct Outer<'a, B> {
    pub level: Level,
    /// Rows of A; the first `m` columns count.
    pub a: Rows<'a>,
    pub m: usize,
    /// Row k of B, n long.
    pub b: B,
    pub n: usize,
    /// How many rows.
    pub k: usize,
}

impl<'b, B: Fn(usize) -> &'b [f32] + Sync> Outer<'_, B> {
    /// Writes the sum to `out` `[m, n]`.
    pub fn write(&self, packed: &mut Buffer, out: &mut [f32]) {
        assert!(
            out.len() == self.m * self.n
                && self.a.data.len() >= (self.k - 1) * self.a.stride + self.m
        );
        let depth = KC * self.level.word();
        for from in (0..self.k).step_by(DEPTH * depth) {
            let blocks: Vec<(usize, usize)> = (from..self.k.min(from + DEPTH * depth))
                .step_by(depth)
                .map(|first| (first, depth.min(self.k - first)))
                .collect();
            let panels = self.n.div_ceil(self.level.panel_width());
            let panel_len = KC * self.level.panel_width();
            let packed = packed.resized(blocks.len() * panels * panel_len);
            packed
                .par_chunks_mut(panel_len)
                .enumerate()
                .for_each(|(i, out)| {
                    let (first, len) = blocks[i / panels];
                    self.level.run(PackPanel {
                        outer: self,
                        panel: i % panels,
                        first,
                        len,
                        out,
                    });
                });
            let packed = &*packed;
            out.par_chunks_mut(ROWS * self.n)
                .enumerate()
                .for_each(|(i, out)| {
                    let blocks = &blocks;
                    self.level.run(Block {
                        outer: self,
                        first_row: i * ROWS,
                        blocks,
                        packed,
                        out,
                        fresh: from == 0,
                    });
                });
        }
    }
}

/// `len` rows of B, from `first`, in the columns of one panel.
struct PackPanel<'a, 'o, B> {
    outer: &'a Outer<'o, B>,
    panel: usize,
    first: usize,
    len: usize,
    out: &'a mut [f32],
}

impl<'b, B: Fn(usize) -> &'b [f32]> Task for PackPanel<'_, '_, B> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, _: I) {
        let columns = self.panel * I::NR..self.outer.n.min((self.panel + 1) * I::NR);
        let zeros = [0.0; 64];
        let row = |k: usize| {
            if k < self.len {
                &(self.outer.b)(self.first + k)[columns.clone()]
            } else {
                &zeros[..columns.len()]
            }
        };
        for (word, out) in self
            .out
            .chunks_exact_mut(I::NR)
            .take(self.len.div_ceil(I::WORD))
            .enumerate()
        {
            let (used, rest) = out.split_at_mut(columns.len());
            I::pack_row(|i| row(word * I::WORD + i), used);
            rest.fill(0.0);
        }
    }
}

/// The rows of the result from `first_row`, over some blocks of k.
struct Block<'a, 'o, B> {
    outer: &'a Outer<'o, B>,
    first_row: usize,
    /// First row and number of rows of each block of A and B.
    blocks: &'a [(usize, usize)],
    packed: &'a [f32],
    out: &'a mut [f32],
    /// Whether `out` holds nothing yet.
    fresh: bool,
}

impl<'b, B: Fn(usize) -> &'b [f32]> Task for Block<'_, '_, B> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Outer { a, n, .. } = *self.outer;
        let rows = self.out.len() / n;
        let panels = n.div_ceil(I::NR);
        // A, transposed into strips of MR rows of the result: [strip][word][MR].
        let mut strips = Buffer::default();
        strips.resized(rows.next_multiple_of(I::MR) * KC);
        let zeros = [0.0; ROWS];
        for (block, (&(first, len), packed)) in self
            .blocks
            .iter()
            .zip(self.packed.chunks_exact(panels * KC * I::NR))
            .enumerate()
        {
            let words = len.div_ceil(I::WORD);
            let a_row = |k: usize| {
                if k < len {
                    &a.data[(first + k) * a.stride + self.first_row..][..rows]
                } else {
                    &zeros[..rows]
                }
            };
            let mut line = [0.0; ROWS];
            for word in 0..words {
                I::pack_row(|i| a_row(word * I::WORD + i), &mut line[..rows]);
                // Whole strips of constant length, so that copying one is two instructions.
                for (strip, line) in line
                    .chunks_exact(I::MR)
                    .take(rows.div_ceil(I::MR))
                    .enumerate()
                {
                    strips[(strip * words + word) * I::MR..][..I::MR].copy_from_slice(line);
                }
            }
            for (p, panel) in packed.chunks_exact(KC * I::NR).enumerate() {
                let column = p * I::NR;
                for row in (0..rows).step_by(I::MR) {
                    let strip = &strips[row * words..];
                    debug_assert!(strip.len() >= words * I::MR && panel.len() >= words * I::NR);
                    // SAFETY: the strip holds `words` times MR, the panel `words` times NR words;
                    // rows `row..rows` and columns `column..n` of `out` exist and are this task's.
                    unsafe {
                        isa.tile(
                            I::MR.min(rows - row),
                            Tile {
                                a: strip.as_ptr(),
                                a_row: 1,
                                a_k: I::MR,
                                b: panel.as_ptr(),
                                k: words,
                                c: self.out.as_mut_ptr().add(row * n + column),
                                c_row: n,
                                columns: I::NR.min(n - column),
                                accumulate: !self.fresh || block > 0,
                            },
                        );
                    }
                }
            }
        }
    }
}

/// `sums[ids[k]] += rows[k]`: rows `[k, width]`, sums `[V, width]`. In parallel over the columns, so
/// each sum has the order of the rows.
pub fn scatter(level: Level, ids: &[u32], rows: &[f32], width: usize, sums: &mut [f32]) {
    const COLUMNS: usize = 256;
    sums.par_chunks_mut(width).for_each(|row| row.fill(0.0));
    assert!(
        rows.len() >= ids.len() * width
            && ids
                .iter()
                .all(|&id| (id as usize + 1) * width <= sums.len())
    );
    let sums = Shared::new(sums);
    (0..width.div_ceil(COLUMNS))
        .into_par_iter()
        .for_each(|chunk| {
            let columns = chunk * COLUMNS..width.min((chunk + 1) * COLUMNS);
            level.run(ScatterColumns {
                ids,
                rows,
                width,
                columns,
                sums,
            });
        });
}

struct ScatterColumns<'a> {
    ids: &'a [u32],
    rows: &'a [f32],
    width: usize,
    columns: Range<usize>,
    sums: Shared<'a>,
}

impl Task for ScatterColumns<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let (simd, len) = (isa.simd(), self.columns.len());
        for (&id, row) in self.ids.iter().zip(self.rows.chunks_exact(self.width)) {
            let row = &row[self.columns.clone()];
            // SAFETY: inside by `scatter`'s assertion; no other task has these columns, and the
            // part of the last turn is gone.
            let sum = unsafe {
                self.sums
                    .part(id as usize * self.width + self.columns.start, len)
            };
            for_vectors!(simd, len, |j, n| {
                store(
                    simd,
                    sum,
                    j,
                    n,
                    simd.add_f32s(load(simd, sum, j, n), load(simd, row, j, n)),
                );
            });
        }
    }
}

/// Sums of the columns of `rows` `[k, width]`, from the first row to the last.
pub fn column_sums(rows: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0; width];
    for row in rows.chunks_exact(width) {
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
    sums
}
