//! Matrix products `C (+)= A · B` with B laid out in column panels.
//!
//! A recurrent layer multiplies by the same weights at each of T steps, so they are laid out once per
//! pass ([`Panels`]) and then read from first to last. In pseudocode, with tiles of MR x NR:
//!
//! ```text
//! for each panel of NR columns          the panel stays in the second-level cache
//!   for each block of KC words of k
//!     for each MR rows of A             MR x NR accumulators stay in registers
//!       for k in the block:  acc[i][j] += A[i][k] * panel[k][j]
//!       C[i][j] += acc[i][j]
//! ```
//!
//! A word ([`Isa::WORD`]) is one value of k, or two in bfloat16. Each element of C is summed over k in
//! the same order whatever the rows around it, so results do not depend on how the batch was split
//! among threads.

#![allow(unsafe_code)]

use crate::fused::gemm::panels::Panels;
use crate::fused::parallel;
use crate::fused::simd::isa::{Isa, Task};
use crate::fused::simd::level::Level;
use crate::fused::simd::memory::{Buffer, MatMut, MatRef};
use crate::fused::simd::tile::Tile;
use std::ops::Range;

/// Words of k between two updates of C: that many rows of a panel of 48 columns take 96 KiB of cache.
pub const KC: usize = 512;

/// Whether a product is added to what C holds or takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accumulate {
    Add,
    Overwrite,
}

/// `C[rows, n] (+)= A[rows, k] · B`, on this thread. C has as many rows as fit `c`: it ends with the
/// last element of its last row, or is empty. A sum over no k is zero. `scratch` is for the kernel's
/// use.
///
/// # Panics
/// If A or C is smaller than that, if rows of C overlap, or if B was laid out for another level.
#[inline(always)]
pub fn matmul<I: Isa>(
    isa: I,
    a: MatRef,
    b: &Panels,
    c: MatMut,
    accumulate: Accumulate,
    scratch: &mut Buffer,
) {
    let (k, n) = (b.k, b.n);
    let MatMut { data: c, stride: c_stride } = c;
    if c.is_empty() || n == 0 {
        return;
    }
    assert!(c.len() >= n && n <= c_stride);
    let rows = (c.len() - n) / c_stride + 1;
    if k == 0 {
        if accumulate == Accumulate::Overwrite {
            c.chunks_mut(c_stride).for_each(|row| row[..n].fill(0.0));
        }
        return;
    }
    let words = k.div_ceil(I::WORD);
    assert!(
        a.data.len() >= (rows - 1) * a.stride + k
            && b.data.len() == n.div_ceil(I::NR) * words * I::NR
    );
    // None much lower than another: a tile of one or two rows waits for its own sums.
    let tiles = rows.div_ceil(I::MR);
    let a = isa.operand(a, rows, k, scratch);
    for (p, panel) in b.data.chunks_exact(words * I::NR).enumerate() {
        let first = p * I::NR;
        for from in (0..words).step_by(KC) {
            for i in 0..tiles {
                let Range { start: row, end } = parallel::share(rows, tiles, i);
                // SAFETY: rows `row..end` of A and C are inside their slices
                // by the assertion; the panel has `words` rows of NR, of which the block takes
                // `from..from + k`; only the first `n - first` columns of C are written.
                unsafe {
                    isa.tile(
                        end - row,
                        Tile {
                            a: a.data.as_ptr().add(row * a.stride + from),
                            a_row: a.stride,
                            a_k: 1,
                            b: panel.as_ptr().add(from * I::NR),
                            k: KC.min(words - from),
                            c: c.as_mut_ptr().add(row * c_stride + first),
                            c_row: c_stride,
                            columns: I::NR.min(n - first),
                            accumulate: accumulate == Accumulate::Add || from > 0,
                        },
                    );
                }
            }
        }
    }
}

/// `out[rows, n] = x[rows, k] · B + bias`, in parallel over the rows.
///
/// # Panics
/// If `x` has fewer rows than `out`, if `bias` is not n long, or if B was laid out for another level.
pub fn linear(level: Level, x: &[f32], b: &Panels, bias: Option<&[f32]>, out: &mut [f32]) {
    struct Linear<'a> {
        x: MatRef<'a>,
        b: &'a Panels,
        bias: Option<&'a [f32]>,
        out: &'a mut [f32],
    }
    impl Task for Linear<'_> {
        type Output = ();

        #[inline(always)]
        fn run<I: Isa>(self, isa: I) {
            let Self { x, b, bias, out } = self;
            let accumulate = match bias {
                Some(bias) => {
                    out.chunks_exact_mut(b.n).for_each(|row| row.copy_from_slice(bias));
                    Accumulate::Add
                }
                None => Accumulate::Overwrite,
            };
            let out = MatMut::new(out, b.n);
            matmul(isa, x, b, out, accumulate, &mut Buffer::default());
        }
    }
    let (k, n) = (b.k, b.n);
    if out.is_empty() {
        return;
    }
    // 64 rows of x, 64 of the result and one panel fit the second-level cache.
    let tasks = parallel::tasks(out.len() / n, 1..=64);
    parallel::for_items(parallel::shares(out, n, tasks), |(rows, out)| {
        let x = MatRef::new(&x[rows.start * k..], k);
        level.run(Linear { x, b, bias, out });
    });
}
