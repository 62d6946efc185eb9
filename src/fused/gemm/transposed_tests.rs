//! The transposed product against three plain loops, at sizes around every tile and block.

use crate::fused::gemm::product::KC;
use crate::fused::gemm::transposed::{DEPTH, MatmulTn, ROWS, zeros};
use crate::fused::simd::level::Level;
use crate::fused::simd::memory::{Buffer, MatRef};
use crate::fused::simd::testing::{around, integers, lanes, levels};
use crate::runtime::with_threads;

/// `Aᵀ · B` of integers must be right to the bit. Rows of A and of B lie apart, with NaN between them.
fn check(level: Level, packed: &mut Buffer, [m, n, k]: [usize; 3]) {
    let (a_stride, b_stride) = (m + k % 3, n + m % 2);
    let mut a = vec![f32::NAN; (k * a_stride + m).saturating_sub(a_stride) * usize::from(k > 0)];
    let mut b = vec![f32::NAN; k * b_stride];
    let (a_values, b_values) = (integers(k * m, 1), integers(k * n, 2));
    let mut want = vec![0.0; m * n];
    for q in 0..k {
        let (a_row, b_row) = (&a_values[q * m..][..m], &b_values[q * n..][..n]);
        a[q * a_stride..][..m].copy_from_slice(a_row);
        b[q * b_stride..][..n].copy_from_slice(b_row);
        for (i, x) in a_row.iter().enumerate() {
            let sums = &mut want[i * n..][..n];
            sums.iter_mut().zip(b_row).for_each(|(sum, y)| *sum += x * y);
        }
    }
    // Neither what is in `out` nor what is in `packed` from before may matter.
    packed.fill(f32::NAN);
    let mut got = vec![f32::NAN; m * n];
    let row = |q: usize| &b[q * b_stride..][..n];
    MatmulTn { level, a: MatRef::new(&a, a_stride), m, b: row, n, k }.write(packed, &mut got);
    let wrong = got.iter().zip(&want).position(|(g, w)| g != w);
    assert_eq!(wrong.map(|at| (at, got[at], want[at])), None, "{level:?}: {m} x {n} over {k} rows");
}

#[test]
fn sums_of_integers_are_exact_around_every_tile() {
    let mut packed = Buffer::default();
    for level in levels() {
        let (mr, nr, lanes) = (level.tile_rows(), level.panel_width(), lanes(level));
        for m in 0..=2 * mr + 1 {
            for n in around(&[0, lanes, 2 * lanes, nr]) {
                for k in [0, 1, 2, 3] {
                    check(level, &mut packed, [m, n, k]);
                }
            }
        }
        for m in around(&[ROWS, 2 * ROWS]) {
            check(level, &mut packed, [m, nr + 1, 5]);
        }
    }
}

#[test]
fn sums_of_integers_are_exact_around_every_block_of_rows() {
    let mut packed = Buffer::default();
    for level in levels() {
        let (mr, nr, block) = (level.tile_rows(), level.panel_width(), KC * level.word());
        // 64 words are what one task lays out, KC a block, DEPTH blocks what is laid out at a time.
        for k in around(&[64 * level.word(), block, 2 * block, DEPTH * block]) {
            for [m, n] in [[1, 1], [mr + 1, nr + 1], [ROWS + 1, 2]] {
                check(level, &mut packed, [m, n, k]);
            }
        }
    }
}

#[test]
fn sums_of_integers_are_exact_for_any_number_of_threads() {
    for threads in [1, 2, 3, 5, 16] {
        with_threads(threads, || {
            let mut packed = Buffer::default();
            for level in levels() {
                for m in [1, level.tile_rows() + 1, ROWS + 1, 3 * ROWS - 1] {
                    check(level, &mut packed, [m, 3, 70]);
                }
            }
        });
    }
}

#[test]
fn zeros_are_zeros_at_every_length() {
    for len in [0, 1, (1 << 16) + 1, 300_000] {
        let zeros = zeros(len);
        assert!(zeros.len() == len && zeros.iter().all(|&x| x == 0.0), "{len}");
    }
}
