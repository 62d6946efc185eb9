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
    bf16,
    kernel::Tile,
    simd::{Isa, Level, Task},
};
use rayon::prelude::*;

/// Words of k between two updates of C: a panel block of 512 x 48 takes 96 KiB of cache.
pub const KC: usize = 512;

/// Memory for vectors: aligned to a cache line, so that no vector load straddles two.
#[derive(Default)]
pub struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

impl Buffer {
    /// The first `len` elements, growing when needed; what they hold is left over from before.
    pub fn resized(&mut self, len: usize) -> &mut [f32] {
        let lines = len.div_ceil(16);
        if lines > self.lines.len() {
            // Not `resize`: nobody wants the old values copied.
            self.lines = vec![Line([0.0; 16]); lines];
        }
        self.len = len;
        self
    }
}

impl std::ops::Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        debug_assert!(self.len <= self.lines.len() * 16);
        // SAFETY: `Line` is 16 floats without padding, and `resized` keeps `len` within the lines.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        debug_assert!(self.len <= self.lines.len() * 16);
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

/// A buffer whose rows are written by several workers, each its own rows.
#[derive(Clone, Copy)]
pub struct Shared<'a> {
    start: *mut f32,
    len: usize,
    owner: std::marker::PhantomData<&'a mut [f32]>,
}

// SAFETY: it is a `&mut [f32]` that `Shared::part` hands out in parts its callers keep disjoint.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub fn new(data: &'a mut [f32]) -> Self {
        Self {
            start: data.as_mut_ptr(),
            len: data.len(),
            owner: std::marker::PhantomData,
        }
    }

    /// Of data that is only read: [`Shared::part`] must not be called.
    pub fn read_only(data: &'a [f32]) -> Self {
        Self {
            start: data.as_ptr().cast_mut(),
            len: data.len(),
            owner: std::marker::PhantomData,
        }
    }

    /// Elements `first..first + len`.
    ///
    /// # Safety
    /// The part lies inside the buffer, and no [`Shared::part`] that overlaps it is alive.
    #[inline(always)]
    pub unsafe fn read(self, first: usize, len: usize) -> &'a [f32] {
        debug_assert!(first + len <= self.len);
        // SAFETY: the caller's.
        unsafe { std::slice::from_raw_parts(self.start.add(first), len) }
    }

    /// Elements `first..first + len`, to write.
    ///
    /// # Safety
    /// The part lies inside the buffer, and no other part that overlaps it is alive.
    #[inline(always)]
    pub unsafe fn part(self, first: usize, len: usize) -> &'a mut [f32] {
        debug_assert!(first + len <= self.len);
        // SAFETY: the caller's.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(first), len) }
    }
}

/// A matrix B `[k, n]` laid out for the kernel: panels of NR columns, each `[k, NR]` and contiguous,
/// the last one filled up with zeros.
#[derive(Default)]
pub struct Panels {
    data: Buffer,
    k: usize,
    n: usize,
}

/// How a matrix `[k, n]` lies in memory: element (k, n) is at `k * row + n * column`.
#[derive(Clone, Copy)]
pub struct Strides {
    pub row: usize,
    pub column: usize,
}

impl Panels {
    /// Lays out `source` `[k, n]`.
    pub fn pack(&mut self, level: Level, source: &[f32], k: usize, n: usize, strides: Strides) {
        assert!(k > 0 && n > 0 && source.len() > (k - 1) * strides.row + (n - 1) * strides.column);
        let width = level.panel_width();
        let word = level.word();
        (self.k, self.n) = (k, n);
        let panel_len = k.div_ceil(word) * width;
        let data = self.data.resized(n.div_ceil(width) * panel_len);
        data.par_chunks_mut(panel_len)
            .enumerate()
            .for_each(|(p, panel)| {
                let first = p * width;
                let columns = width.min(n - first);
                let at =
                    |k: usize, j: usize| source[k * strides.row + (first + j) * strides.column];
                let word_at = |i: usize, j: usize| match word {
                    1 => at(i, j),
                    _ if 2 * i + 1 < k => bf16::pair(at(2 * i, j), at(2 * i + 1, j)),
                    _ => bf16::pair(at(2 * i, j), 0.0),
                };
                // Sixteen values of k at a time: whole cache lines of a transposed source.
                for (block, rows) in panel.chunks_mut(16 * width).enumerate() {
                    for j in 0..columns {
                        for (i, row) in rows.chunks_exact_mut(width).enumerate() {
                            row[j] = word_at(block * 16 + i, j);
                        }
                    }
                    for row in rows.chunks_exact_mut(width) {
                        row[columns..].fill(0.0);
                    }
                }
            });
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
    struct Project<'a>(
        Rows<'a>,
        &'a Panels,
        Option<&'a [f32]>,
        usize,
        &'a mut [f32],
    );
    impl Task for Project<'_> {
        type Output = ();

        #[inline(always)]
        fn run<I: Isa>(self, isa: I) {
            let Self(x, panels, bias, n, out) = self;
            if let Some(bias) = bias {
                out.chunks_exact_mut(n)
                    .for_each(|row| row.copy_from_slice(bias));
            }
            product(
                isa,
                x,
                panels,
                out,
                n,
                bias.is_some(),
                &mut Buffer::default(),
            );
        }
    }
    // 64 rows: they and one panel fit the second-level cache.
    out.par_chunks_mut(64 * n)
        .enumerate()
        .for_each(|(chunk, out)| {
            let x = Rows {
                data: &x[chunk * 64 * k..],
                stride: k,
            };
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
            product(
                isa,
                self.0,
                self.1,
                self.2,
                stride,
                self.3,
                &mut Buffer::default(),
            );
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
            for (m, k, n) in [
                (1, 1, 1),
                (3, 2, 7),
                (4, 5, 24),
                (8, 16, 48),
                (9, 33, 49),
                (17, 1025, 97),
            ] {
                let (a, b, c) = (numbers(m * k, 1), numbers(k * n, 2), numbers(m * n, 3));
                for (transposed, accumulate) in [(false, false), (true, true)] {
                    let strides = if transposed {
                        Strides { row: 1, column: k }
                    } else {
                        Strides { row: n, column: 1 }
                    };
                    let mut panels = Panels::default();
                    panels.pack(level, &b, k, n, strides);
                    let mut got = c.clone();
                    level.run(Product(
                        Rows {
                            data: &a,
                            stride: k,
                        },
                        &panels,
                        &mut got,
                        accumulate,
                    ));
                    for i in 0..m {
                        for j in 0..n {
                            let term = |q| {
                                f64::from(a[i * k + q])
                                    * f64::from(b[q * strides.row + j * strides.column])
                            };
                            let start = if accumulate {
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
