//! The innermost loop of every product: one tile of C, its accumulators in registers.
//! Written with the processor's own intrinsics, once, in a macro over the vector type: through a
//! generic vector trait the compiler kept the accumulators in memory, at a third of the speed.

use super::simd::{for_vectors, load, store};
use pulp::Simd;

/// One tile: `C[i][j] (+)= Σ_k A[i][k] · panel[k][j]` for `j < columns`.
///
/// Whoever runs it over some rows promises: `a + i·a_row + k·a_k` is readable for each row i and
/// `k < self.k`; `b` is readable for `self.k · NR` words and aligned to a vector;
/// `c + i·c_row + j` is writable for each row i and `j < columns`, and nothing else uses it
/// meanwhile; `columns <= NR`.
#[derive(Clone, Copy)]
pub struct Tile {
    pub a: *const f32,
    pub a_row: usize,
    pub a_k: usize,
    pub b: *const f32,
    pub k: usize,
    pub c: *mut f32,
    pub c_row: usize,
    pub columns: usize,
    pub accumulate: bool,
}

impl Tile {
    /// The tile that starts `rows` further down.
    #[inline(always)]
    pub fn below(mut self, rows: usize) -> Self {
        self.a = self.a.wrapping_add(rows * self.a_row);
        self.c = self.c.wrapping_add(rows * self.c_row);
        self
    }
}

/// Adds or writes the accumulators to C.
///
/// # Safety
/// [`Tile`]'s promise for C with M rows.
#[inline(always)]
unsafe fn write<S: Simd, const M: usize, const V: usize>(
    simd: S,
    t: Tile,
    acc: &[[S::f32s; V]; M],
) {
    debug_assert!(t.columns <= V * S::F32_LANES && V * S::F32_LANES <= 64);
    for (i, acc) in acc.iter().enumerate() {
        // SAFETY: row i of C has `columns` writable elements that are ours alone.
        let c = unsafe { std::slice::from_raw_parts_mut(t.c.add(i * t.c_row), t.columns) };
        // Through memory, and with constant indices: the accumulators must stay in registers.
        let mut row = [0.0; 64];
        for (v, &sum) in acc.iter().enumerate() {
            store(simd, &mut row, v * S::F32_LANES, S::F32_LANES, sum);
        }
        for_vectors!(simd, t.columns, |j, count| {
            let mut sum = load(simd, &row, j, count);
            if t.accumulate {
                sum = simd.add_f32s(load(simd, c, j, count), sum);
            }
            store(simd, c, j, count, sum);
        });
    }
}

/// A tile function over M rows and the first V vectors of a panel, in one instruction set.
macro_rules! tile {
    (
        $(#[$attribute:meta])* $name:ident, $simd:ty, $vector:ty, $vectors:literal,
        zero: $zero:expr, splat: $splat:expr, fma: $fma:expr
    ) => {
        /// # Safety
        /// [`Tile`]'s promise with M rows and at most V vectors of columns, on a processor with the
        /// instructions.
        $(#[$attribute])*
        // In plain Rust the vector is the number itself, and nothing is converted.
        #[allow(clippy::useless_transmute)]
        pub unsafe fn $name<const M: usize, const V: usize>(simd: $simd, t: Tile) {
            let mut acc = [[$zero; V]; M];
            let (mut a, mut b) = (t.a, t.b.cast::<$vector>());
            for _ in 0..t.k {
                // SAFETY: `Tile`'s promise.
                unsafe {
                    let b_row: [$vector; V] = std::array::from_fn(|v| *b.add(v));
                    for (i, acc) in acc.iter_mut().enumerate() {
                        let a = $splat(*a.add(i * t.a_row));
                        for (acc, b) in acc.iter_mut().zip(b_row) {
                            *acc = $fma(a, b, *acc);
                        }
                    }
                }
                a = a.wrapping_add(t.a_k);
                b = b.wrapping_add($vectors);
            }
            // SAFETY: both are vectors of the same number of float32; the rest is `Tile`'s promise.
            unsafe { write(simd, t, &acc.map(|row| row.map(|v| std::mem::transmute(v)))) }
        }
    };
}

tile!(
    /// In plain Rust.
    portable, pulp::Scalar, f32, 8,
    zero: 0.0, splat: std::convert::identity, fma: |a: f32, b: f32, c: f32| a * b + c
);

#[cfg(target_arch = "x86_64")]
pub use x86::*;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Tile, write};
    use pulp::x86::{V3, V4};
    use std::arch::x86_64::*;
    use std::mem::transmute;

    tile!(
        #[target_feature(enable = "avx,avx2,fma")]
        avx2, V3, __m256, 2,
        zero: _mm256_setzero_ps(), splat: _mm256_set1_ps, fma: _mm256_fmadd_ps
    );
    tile!(
        #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512cd,avx512dq,avx512vl")]
        avx512, V4, __m512, 3,
        zero: _mm512_setzero_ps(), splat: _mm512_set1_ps, fma: _mm512_fmadd_ps
    );
    tile!(
        /// A word of A or of the panel is two bfloat16 along k.
        #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16")]
        bf16, V4, __m512, 3,
        zero: _mm512_setzero_ps(), splat: _mm512_set1_ps,
        fma: |a: __m512, b: __m512, c| _mm512_dpbf16_ps(
            c,
            transmute::<__m512, __m512bh>(a),
            transmute::<__m512, __m512bh>(b)
        )
    );
}
