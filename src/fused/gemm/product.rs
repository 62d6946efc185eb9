//! Matrix products `C (+)= A · B` with B laid out in column panels.
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

use crate::fused::gemm::panels::Panels;
use crate::fused::simd::isa::{Isa, Task};
use crate::fused::simd::level::Level;
use crate::fused::simd::memory::{Buffer, MatMut, MatRef};
use crate::fused::simd::tile::Tile;
use rayon::prelude::*;

/// Words of k between two updates of C: a panel block of 512 x 48 takes 96 KiB of cache.
pub const KC: usize = 512;

/// Whether a product is added to what C holds, or takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accumulate {
    Add,
    Overwrite,
}

/// `C[rows, n] (+)= A[rows, k] · B`, on this thread. `c` ends with its last row. `scratch` is for the
/// kernel's use.
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
                            accumulate: accumulate == Accumulate::Add || from > 0,
                        },
                    );
                }
            }
        }
    }
}

/// `out[rows, n] = x[rows, k] · B + bias`, in parallel over the rows.
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
    // 64 rows: they and one panel fit the second-level cache.
    out.par_chunks_mut(64 * n).enumerate().for_each(|(chunk, out)| {
        let x = MatRef::new(&x[chunk * 64 * k..], k);
        level.run(Linear { x, b, bias, out });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fused::gemm::panels::Order;

    struct Product<'a>(MatRef<'a>, &'a Panels, &'a mut [f32], Accumulate);
    impl Task for Product<'_> {
        type Output = ();

        #[inline(always)]
        fn run<I: Isa>(self, isa: I) {
            let c = MatMut::new(self.2, self.1.n);
            matmul(isa, self.0, self.1, c, self.3, &mut Buffer::default());
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
                for (order, accumulate) in [
                    (Order::RowMajor, Accumulate::Overwrite),
                    (Order::ColumnMajor, Accumulate::Add),
                ] {
                    let mut panels = Panels::default();
                    panels.pack(level, &b, order, k, n);
                    let mut got = c.clone();
                    level.run(Product(MatRef::new(&a, k), &panels, &mut got, accumulate));
                    for i in 0..m {
                        for j in 0..n {
                            let term = |q| {
                                let b = match order {
                                    Order::RowMajor => b[q * n + j],
                                    Order::ColumnMajor => b[j * k + q],
                                };
                                f64::from(a[i * k + q]) * f64::from(b)
                            };
                            let start = if accumulate == Accumulate::Add {
                                f64::from(c[i * n + j])
                            } else {
                                0.0
                            };
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
