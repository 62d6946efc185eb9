//! The sums over rows against plain loops.

use crate::fused::gemm::reduce::{column_sums, scatter_add};
use crate::fused::simd::testing::{around, integers, lanes, levels, numbers};

/// One row after another, as the contract says.
fn plain(ids: &[u32], rows: &[f32], width: usize, vocab: usize) -> Vec<f32> {
    let mut sums = vec![0.0; vocab * width];
    for (k, &id) in ids.iter().enumerate() {
        for j in 0..width {
            sums[id as usize * width + j] += rows[k * width + j];
        }
    }
    sums
}

#[test]
fn rows_of_equal_ids_are_added_in_order() {
    let vocab = 5;
    for level in levels() {
        // 256 columns are one task's.
        for width in around(&[0, lanes(level), 2 * lanes(level), 256, 512]) {
            for count in [0, 1, 2, 40] {
                let ids: Vec<u32> = (0..count as u32).map(|k| k * 7 % 3 + k % 2).collect();
                let rows = numbers(count * width, 1);
                let mut got = vec![f32::NAN; vocab * width];
                scatter_add(level, &ids, &rows, width, &mut got);
                assert_eq!(got, plain(&ids, &rows, width, vocab), "{level:?} {count} x {width}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "assertion failed")]
fn an_id_without_a_sum_is_refused() {
    scatter_add(levels()[0], &[0, 2], &[1.0; 8], 4, &mut [0.0; 8]);
}

#[test]
fn columns_are_summed_from_the_first_row_to_the_last() {
    for width in [0, 1, 2, 3, 8, 17] {
        for count in [0, 1, 2, 33] {
            let rows = integers(count * width, 1);
            let want = plain(&vec![0; count], &rows, width, 1);
            assert_eq!(column_sums(&rows, width), want, "{count} x {width}");
        }
    }
    // The order shows in the last bits: the small ones vanish one by one.
    assert_eq!(column_sums(&[16_777_216.0, 1.0, 1.0, 1.0], 1), [16_777_216.0]);
    assert_eq!(column_sums(&[1.0, 1.0, 1.0, 16_777_216.0], 1), [16_777_220.0]);
}
