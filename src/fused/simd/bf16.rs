//! Products of bfloat16 operands with float32 sums, for processors with AVX512_BF16.
//!
//! The operands are rounded to bfloat16 and stored in pairs: a 32-bit word holds the elements 2i and
//! 2i + 1 along k, the first in its low half. The tile multiplies and adds both in one instruction;
//! the rest of the product is as in float32, on words instead of floats.

#![allow(unsafe_code)]

use crate::fused::simd::isa::{Isa, isa, lanes};
use crate::fused::simd::memory::{Buffer, MatRef};
use crate::fused::simd::tile::{self, Tile};
use pulp::x86::V4;
use std::arch::x86_64::*;

/// The nearest bfloat16 in the low half of the result, ties to even. As the processor does it: a
/// number below the smallest normal one becomes zero, and a NaN a quiet NaN.
pub fn round(x: f32) -> u32 {
    let bits = x.to_bits();
    if x.is_nan() {
        return bits >> 16 | 0x40;
    }
    if x.is_subnormal() {
        return bits >> 16 & 0x8000;
    }
    (bits + 0x7fff + (bits >> 16 & 1)) >> 16
}

/// The word of two neighbours along k.
pub fn pair(low: f32, high: f32) -> f32 {
    f32::from_bits(round(low) | round(high) << 16)
}

/// Proof that this processor has AVX-512 and AVX512_BF16.
#[derive(Clone, Copy, Debug)]
pub struct Bf16(V4);

impl Bf16 {
    pub fn try_new() -> Option<Self> {
        let v4 = V4::try_new()?;
        is_x86_feature_detected!("avx512bf16").then_some(Self(v4))
    }
}

impl Isa for Bf16 {
    type S = V4;
    const MR: usize = 8;
    const NR: usize = 48;
    const WORD: usize = 2;

    #[inline(always)]
    fn simd(self) -> V4 {
        self.0
    }

    isa!(tile bf16, 3, self, [8, 7, 6, 5, 4, 3, 2, 1]);

    #[inline(always)]
    fn pack_row<'a>(self, row: impl Fn(usize) -> &'a [f32], out: &mut [f32]) {
        // SAFETY: `self` proves the instructions.
        unsafe { pair_rows(self.0, row(0), row(1), out) };
    }

    #[inline(always)]
    fn operand<'a>(
        self,
        a: MatRef<'a>,
        rows: usize,
        k: usize,
        scratch: &'a mut Buffer,
    ) -> MatRef<'a> {
        let stride = k.div_ceil(2);
        let data = scratch.resized(rows * stride);
        // SAFETY: `self` proves the instructions.
        unsafe { round_rows(self.0, a, rows, k, data) };
        MatRef { data, stride }
    }
}

/// The words of `low` and `high`, element by element, 16 or 8 at a time.
///
/// # Panics
/// If `low` or `high` is shorter than `out`.
///
/// # Safety
/// The processor has AVX512_BF16.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16,fma,avx2")]
unsafe fn pair_rows(_: V4, low: &[f32], high: &[f32], out: &mut [f32]) {
    let len = out.len();
    let (low, high) = (&low[..len], &high[..len]);
    // The conversion puts all of `low` before all of `high`. Indices that put them in pairs:
    // 0, 16, 1, 17, .. of 32 halves; 0, 8, 1, 9, .. of 16.
    let counting = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    let doubled = _mm512_or_si512(counting, _mm512_slli_epi32::<16>(counting));
    let order = _mm512_add_epi32(doubled, _mm512_set1_epi32(16 << 16));
    let order8 = _mm512_add_epi32(doubled, _mm512_set1_epi32(8 << 16));
    let mut j = 0;
    while j + 16 <= len {
        // SAFETY: elements `j..j + 16` are inside all three.
        unsafe {
            let both = _mm512_cvtne2ps_pbh(
                _mm512_loadu_ps(high.as_ptr().add(j)),
                _mm512_loadu_ps(low.as_ptr().add(j)),
            );
            let words =
                _mm512_permutexvar_epi16(order, std::mem::transmute::<__m512bh, __m512i>(both));
            _mm512_storeu_si512(out.as_mut_ptr().add(j).cast(), words);
        }
        j += 16;
    }
    if j + 8 <= len {
        // SAFETY: elements `j..j + 8` are inside all three.
        unsafe {
            let both = _mm256_cvtne2ps_pbh(
                _mm256_loadu_ps(high.as_ptr().add(j)),
                _mm256_loadu_ps(low.as_ptr().add(j)),
            );
            let order = _mm512_castsi512_si256(order8);
            let words =
                _mm256_permutexvar_epi16(order, std::mem::transmute::<__m256bh, __m256i>(both));
            _mm256_storeu_si256(out.as_mut_ptr().add(j).cast(), words);
        }
        j += 8;
    }
    for ((word, &low), &high) in out[j..].iter_mut().zip(&low[j..]).zip(&high[j..]) {
        *word = pair(low, high);
    }
}

/// Rows of A, `[rows, k]`, as words `[rows, ceil(k / 2)]`; an odd last element is paired with zero.
///
/// # Panics
/// If `k` is 0, or `a` is shorter than its last row's end.
///
/// # Safety
/// The processor has AVX512_BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16,fma,avx2")]
unsafe fn round_rows(_: V4, a: MatRef, rows: usize, k: usize, words: &mut [f32]) {
    debug_assert!(words.len() >= rows * k.div_ceil(2));
    for (i, words) in words.chunks_exact_mut(k.div_ceil(2)).take(rows).enumerate() {
        let row = &a.data[i * a.stride..][..k];
        let (body, tail) = words.split_at_mut(k / 32 * 16);
        let blocks = row.chunks_exact(32);
        for (word, x) in tail.iter_mut().zip(blocks.remainder().chunks(2)) {
            *word = pair(x[0], x.get(1).copied().unwrap_or(0.0));
        }
        for (words, x) in body.chunks_exact_mut(16).zip(blocks) {
            // SAFETY: 32 floats are read from a slice of 32, 16 words written to a slice of 16.
            unsafe {
                let (low, high) =
                    (_mm512_loadu_ps(x.as_ptr()), _mm512_loadu_ps(x.as_ptr().add(16)));
                _mm512_storeu_si512(
                    words.as_mut_ptr().cast(),
                    std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)),
                );
            }
        }
    }
}
