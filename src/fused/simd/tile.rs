//! The innermost loop of every product: one tile of C, whose sums stay in registers.
//!
//! It is written once, in a macro over the vector type, and instantiated with each processor's own
//! intrinsics. Written over a generic vector trait it ran at a third of the speed, because the
//! compiler kept the sums in memory.

#![allow(unsafe_code)]

/// One tile: `C[i][j] (+)= Σ_k A[i][k] · panel[k][j]` for `j < columns`.
///
/// k counts words, which are one float32 or two bfloat16. Whoever computes some rows of the tile
/// promises, for each of them:
///
/// - `a + i·a_row + k·a_k` is readable for `k < self.k`;
/// - `b` is aligned to a vector and readable for `self.k · NR` words;
/// - `c + i·c_row + j` is writable for `j < columns`, and nothing else uses it meanwhile;
/// - `columns <= NR`.
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

/// How many words of k ahead a panel is prefetched.
const PREFETCH: usize = 16;
/// Floats in a cache line.
const LINE: usize = 16;

/// Asks the processor to bring the cache line at `address`, which need not be readable, into its
/// cache. Does nothing on processors other than x86-64.
#[inline(always)]
pub fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, without effect on what can be read or written; every x86-64 has it.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// A tile function over M rows and the first V vectors of a panel, in one instruction set.
macro_rules! tile {
    (
        $(#[$attribute:meta])* $name:ident, $simd:ty, $vector:ty, $vectors:literal,
        zero: $zero:expr, splat: $splat:expr, fma: $fma:expr,
        load: $load:expr, store: $store:expr, add: $add:expr
    ) => {
        /// # Safety
        /// [`Tile`]'s promise with M rows and at most V vectors of columns, on a processor with the
        /// instructions.
        $(#[$attribute])*
        pub unsafe fn $name<const M: usize, const V: usize>(_: $simd, t: Tile) {
            const LANES: usize = size_of::<$vector>() / size_of::<f32>();
            debug_assert!(t.columns <= V * LANES && t.b.cast::<$vector>().is_aligned());
            // C is needed when the sums are done. It may come from memory, so ask for it now.
            for i in 0..M {
                for line in (0..V * LANES).step_by(LINE) {
                    prefetch(t.c.wrapping_add(i * t.c_row + line));
                }
            }
            let mut acc = [[$zero; V]; M];
            let (mut a, mut b) = (t.a, t.b.cast::<$vector>());
            for _ in 0..t.k {
                // SAFETY: `Tile`'s promise.
                unsafe {
                    let b_row: [$vector; V] = std::array::from_fn(|v| *b.add(v));
                    // The processor's own prefetching stops at the end of each page. A tile of one
                    // row is limited by its loads, which prefetching would delay.
                    let ahead = b.wrapping_add(PREFETCH * $vectors).cast::<f32>();
                    if M > 1 {
                        for line in (0..V * LANES).step_by(LINE) {
                            prefetch(ahead.wrapping_add(line));
                        }
                    }
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
            // Only loops of constant length use the sums: they are unrolled, and the sums stay in
            // registers.
            let whole = t.columns / LANES;
            if whole >= V {
                for i in 0..M {
                    for v in 0..V {
                        // SAFETY: `Tile`'s promise for row i and the columns before `columns`.
                        unsafe {
                            let (c, sum) = (t.c.add(i * t.c_row + v * LANES), acc[i][v]);
                            $store(c, if t.accumulate { $add($load(c), sum) } else { sum });
                        }
                    }
                }
                return;
            }
            // The vector of which only some columns exist is stored to `edge` and copied from there.
            let mut edge = [[0.0; LANES]; M];
            for i in 0..M {
                for v in 0..V {
                    // SAFETY: as above.
                    unsafe {
                        if v < whole {
                            let (c, sum) = (t.c.add(i * t.c_row + v * LANES), acc[i][v]);
                            $store(c, if t.accumulate { $add($load(c), sum) } else { sum });
                        } else if v == whole {
                            $store(edge[i].as_mut_ptr(), acc[i][v]);
                        }
                    }
                }
            }
            for (i, edge) in edge.iter().enumerate() {
                for (j, &sum) in edge.iter().take(t.columns - whole * LANES).enumerate() {
                    // SAFETY: as above.
                    unsafe {
                        let c = t.c.add(i * t.c_row + whole * LANES + j);
                        *c = if t.accumulate { *c + sum } else { sum };
                    }
                }
            }
        }
    };
}

tile!(
    /// In plain Rust.
    portable, pulp::Scalar, f32, 8,
    zero: 0.0, splat: std::convert::identity, fma: |a: f32, b: f32, c: f32| a * b + c,
    load: |p: *mut f32| *p, store: |p: *mut f32, v: f32| *p = v, add: |a: f32, b: f32| a + b
);

#[cfg(target_arch = "aarch64")]
pub use arm::*;

#[cfg(target_arch = "aarch64")]
mod arm {
    use super::{LINE, PREFETCH, Tile, prefetch};
    use pulp::aarch64::Neon;
    use std::arch::aarch64::*;

    tile!(
        #[target_feature(enable = "neon")]
        neon, Neon, float32x4_t, 4,
        zero: vdupq_n_f32(0.0), splat: vdupq_n_f32, fma: |a, b, c| vfmaq_f32(c, a, b),
        load: vld1q_f32, store: vst1q_f32, add: vaddq_f32
    );
}

#[cfg(target_arch = "x86_64")]
pub use x86::*;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{LINE, PREFETCH, Tile, prefetch};
    use pulp::x86::{V3, V4};
    use std::arch::x86_64::*;
    use std::mem::transmute;

    tile!(
        #[target_feature(enable = "avx,avx2,fma")]
        avx2, V3, __m256, 2,
        zero: _mm256_setzero_ps(), splat: _mm256_set1_ps, fma: _mm256_fmadd_ps,
        load: _mm256_loadu_ps, store: _mm256_storeu_ps, add: _mm256_add_ps
    );
    tile!(
        #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512cd,avx512dq,avx512vl")]
        avx512, V4, __m512, 3,
        zero: _mm512_setzero_ps(), splat: _mm512_set1_ps, fma: _mm512_fmadd_ps,
        load: _mm512_loadu_ps, store: _mm512_storeu_ps, add: _mm512_add_ps
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
        ),
        load: _mm512_loadu_ps, store: _mm512_storeu_ps, add: _mm512_add_ps
    );
}
