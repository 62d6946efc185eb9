//! `C = Aᵀ · B`: outer products of rows of A and rows of B, summed over the rows. The gradient of a
//! weight matrix is such a sum over the T·B rows of a window.
//!
//! Both operands are laid out anew, since each is used once. In pseudocode, with tiles of MR x NR and
//! k as the number of a row (a word, [`Isa::WORD`], is one value of k, or two):
//!
//! ```text
//! for each DEPTH blocks of KC words of k
//!   lay out these rows of B in panels of NR columns          in parallel, for all tasks to read
//!   for each task of at most ROWS rows of C                  in parallel
//!     for each of the blocks
//!       lay out the task's columns of A in strips of MR columns
//!       for each panel, for each strip:  one tile of C += sum of strip[k][i] * panel[k][j]
//! ```
//!
//! Each element of C is summed over k in the same order, whatever the number of tasks.

#![allow(unsafe_code)]

use crate::fused::gemm::product::KC;
use crate::fused::parallel;
use crate::fused::simd::isa::{Isa, Task};
use crate::fused::simd::level::Level;
use crate::fused::simd::memory::{Buffer, MatRef, Shared};
use crate::fused::simd::tile::{Tile, prefetch};
use std::{cell::RefCell, ops::Range};

/// Rows of C that one task computes, at most: its strips of one block and its rows of C stay in the
/// second-level cache. A multiple of every tile's rows.
pub(super) const ROWS: usize = 96;
/// Blocks of B that are laid out at a time: they stay in the last-level cache while all tasks read them.
pub(super) const DEPTH: usize = 4;
/// Words of k that one task lays out of B.
const PACKED_WORDS: usize = 64;
/// How many words of k ahead A is prefetched: a task reads only a short piece of each of its rows,
/// which the processor's own prefetching does not foresee.
const PREFETCH: usize = 16;

thread_local! {
    /// Memory for the strips of a task, kept for the next one on this thread.
    static STRIPS: RefCell<Buffer> = RefCell::default();
}

/// A vector of zeros for a product, written by all threads: clearing the gradient of a large weight
/// matrix on one thread takes long beside one of 16 threads' share of the product.
pub fn zeros(len: usize) -> Vec<f32> {
    const CHUNK: usize = 1 << 16;
    if len <= CHUNK {
        return vec![0.0; len];
    }
    let mut zeros = Vec::with_capacity(len);
    parallel::for_items(zeros.spare_capacity_mut()[..len].chunks_mut(CHUNK), |chunk| {
        chunk.iter_mut().for_each(|x| {
            x.write(0.0);
        });
    });
    // SAFETY: the capacity is at least `len`, and the section has written the first `len` elements.
    unsafe { zeros.set_len(len) };
    zeros
}

/// The product `Aᵀ · B` of A `[k, m]` and B `[k, n]`.
pub struct MatmulTn<'a, B> {
    pub level: Level,
    pub a: MatRef<'a>,
    pub m: usize,
    /// Gives a row of B, n long.
    pub b: B,
    pub n: usize,
    /// How many rows are summed.
    pub k: usize,
}

/// A block of k: the first of its rows of A and B, and how many there are, `KC` words at most.
type KBlock = (usize, usize);

impl<'b, B: Fn(usize) -> &'b [f32] + Sync> MatmulTn<'_, B> {
    /// Writes the sum to `out` `[m, n]`; zeros if there are no rows. `packed` is for the kernel's use.
    ///
    /// # Panics
    /// If `out` is not `[m, n]`, or A or a row of B is shorter than `k`, `m` and `n` say.
    pub fn write(&self, packed: &mut Buffer, out: &mut [f32]) {
        assert!(out.len() == self.m * self.n);
        if out.is_empty() || self.k == 0 {
            out.fill(0.0);
            return;
        }
        assert!(self.a.data.len() >= (self.k - 1) * self.a.stride + self.m);
        let depth = KC * self.level.word();
        for from in (0..self.k).step_by(DEPTH * depth) {
            let blocks: Vec<KBlock> = (from..self.k.min(from + DEPTH * depth))
                .step_by(depth)
                .map(|first| (first, depth.min(self.k - first)))
                .collect();
            self.pack(&blocks, packed);
            self.multiply(&blocks, packed, from == 0, out);
        }
    }

    /// Lays out the blocks of B one after another: `[block][panel][KC][NR]`, in words.
    fn pack(&self, blocks: &[KBlock], packed: &mut Buffer) {
        let width = self.level.panel_width();
        let block_len = self.n.div_ceil(width) * KC * width;
        let packed = Shared::new(packed.resized(blocks.len() * block_len));
        let groups = KC / PACKED_WORDS;
        parallel::for_each(blocks.len() * groups, |i| {
            let (block, group) = (i / groups, i % groups);
            self.level.run(PackWords {
                product: self,
                block: blocks[block],
                words: group * PACKED_WORDS..(group + 1) * PACKED_WORDS,
                out: packed,
                start: block * block_len,
            });
        });
    }

    /// Adds the sums over `blocks` to `out`, or writes them if they are the first (`fresh`).
    fn multiply(&self, blocks: &[KBlock], packed: &[f32], fresh: bool, out: &mut [f32]) {
        // Each thread gets as many tasks as the others, and the tasks are of nearly equal length.
        let tile = self.level.tile_rows();
        let tasks = parallel::tasks(self.m, tile.div_ceil(2)..=ROWS);
        let out = Shared::new(out);
        parallel::for_each(tasks, |i| {
            let Range { start: first, end } = parallel::share(self.m, tasks, i);
            // SAFETY: the tasks' rows are inside and do not overlap.
            let out = unsafe { out.part(first * self.n, (end - first) * self.n) };
            STRIPS.with_borrow_mut(|strips| {
                self.level.run(RowShare {
                    product: self,
                    first_row: first,
                    blocks,
                    packed,
                    strips,
                    out,
                    fresh,
                });
            });
        });
    }
}

/// The task to lay out some words of k of a block of B, in all panels.
struct PackWords<'a, 'o, B> {
    product: &'a MatmulTn<'o, B>,
    block: KBlock,
    words: Range<usize>,
    out: Shared<'a>,
    /// Where the block starts in `out`.
    start: usize,
}

impl<'b, B: Fn(usize) -> &'b [f32]> Task for PackWords<'_, '_, B> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let (n, (first, len)) = (self.product.n, self.block);
        let zeros = vec![0.0; n];
        let row = |k: usize| match k {
            k if k < len => (self.product.b)(first + k),
            _ => &zeros[..],
        };
        for word in self.words.start..self.words.end.min(len.div_ceil(I::WORD)) {
            let rows: [&[f32]; 2] = std::array::from_fn(|i| row(word * I::WORD + i));
            for (panel, column) in (0..n).step_by(I::NR).enumerate() {
                // SAFETY: each word of each panel is inside its block, and one task's.
                let out = unsafe {
                    let at = self.start + (panel * KC + word) * I::NR;
                    self.out.part(at, I::NR)
                };
                let columns = column..n.min(column + I::NR);
                let (used, rest) = out.split_at_mut(columns.len());
                isa.pack_row(|i| &rows[i][columns.clone()], used);
                rest.fill(0.0);
            }
        }
    }
}

/// The task to compute some rows of C, summed over some blocks of k.
struct RowShare<'a, 'o, B> {
    product: &'a MatmulTn<'o, B>,
    first_row: usize,
    blocks: &'a [KBlock],
    packed: &'a [f32],
    strips: &'a mut Buffer,
    /// The rows of C from `first_row`.
    out: &'a mut [f32],
    /// Whether the sums take the place of what `out` holds.
    fresh: bool,
}

impl<B> RowShare<'_, '_, B> {
    /// Lays out the columns of A for these rows of C: `[strip][word][MR]`, the last strip filled up
    /// with zeros.
    #[inline(always)]
    fn lay_out<I: Isa>(&mut self, isa: I, (first, len): KBlock) {
        const { assert!(ROWS.is_multiple_of(I::MR)) };
        let rows = self.out.len() / self.product.n;
        let words = len.div_ceil(I::WORD);
        let strips = self.strips.resized(rows.next_multiple_of(I::MR) * words);
        let a = self.product.a;
        let zeros = [0.0; ROWS];
        let row = |k: usize| match k {
            k if k < len => &a.data[(first + k) * a.stride + self.first_row..][..rows],
            _ => &zeros[..rows],
        };
        let mut paired = [0.0; ROWS];
        for word in 0..words {
            let line = if I::WORD == 1 {
                row(word)
            } else {
                isa.pack_row(|i| row(word * I::WORD + i), &mut paired[..rows]);
                &paired[..rows]
            };
            let ahead = row(((word + PREFETCH) * I::WORD).min(len - 1));
            for (strip, line) in line.chunks(I::MR).enumerate() {
                prefetch(&ahead[strip * I::MR]);
                let out = &mut strips[(strip * words + word) * I::MR..][..I::MR];
                // A whole strip is of constant length: it is copied by one or two instructions.
                if line.len() == I::MR {
                    out.copy_from_slice(line);
                } else {
                    let (used, rest) = out.split_at_mut(line.len());
                    used.copy_from_slice(line);
                    rest.fill(0.0);
                }
            }
        }
    }
}

impl<'b, B: Fn(usize) -> &'b [f32]> Task for RowShare<'_, '_, B> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self, isa: I) {
        let n = self.product.n;
        let rows = self.out.len() / n;
        let panels = n.div_ceil(I::NR);
        let blocks = self.blocks.iter().zip(self.packed.chunks_exact(panels * KC * I::NR));
        for (i, (&block, packed)) in blocks.enumerate() {
            self.lay_out(isa, block);
            let words = block.1.div_ceil(I::WORD);
            for (p, panel) in packed.chunks_exact(KC * I::NR).enumerate() {
                let column = p * I::NR;
                for row in (0..rows).step_by(I::MR) {
                    let strip = &self.strips[row * words..];
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
                                accumulate: !self.fresh || i > 0,
                            },
                        );
                    }
                }
            }
        }
    }
}
