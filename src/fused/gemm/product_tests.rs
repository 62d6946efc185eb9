//! The product against three plain loops, at sizes around every vector, tile and block.

use crate::fused::gemm::panels::{Order, Panels};
use crate::fused::gemm::product::{Accumulate, KC, linear, matmul};
use crate::fused::simd::isa::{Isa, Task};
use crate::fused::simd::level::Level;
use crate::fused::simd::memory::{Buffer, MatMut, MatRef};
use crate::fused::simd::testing::{around, integers, lanes, levels, numbers};

struct Product<'a> {
    a: MatRef<'a>,
    b: &'a Panels,
    c: MatMut<'a>,
    accumulate: Accumulate,
    scratch: &'a mut Buffer,
}

impl Task for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        matmul(isa, self.a, self.b, self.c, self.accumulate, self.scratch);
    }
}

/// `x` `[rows, columns]` with `gap` elements of NaN after each row but the last.
fn spread(x: &[f32], rows: usize, columns: usize, gap: usize) -> Vec<f32> {
    let mut spread = vec![f32::NAN; (rows * (columns + gap)).saturating_sub(gap)];
    for i in 0..rows {
        spread[i * (columns + gap)..][..columns].copy_from_slice(&x[i * columns..][..columns]);
    }
    spread
}

/// `B[q][j]` of a `[k, n]` matrix that lies in `order`.
fn element(b: &[f32], order: Order, (k, n): (usize, usize), (q, j): (usize, usize)) -> f32 {
    match order {
        Order::RowMajor => b[q * n + j],
        Order::ColumnMajor => b[j * k + q],
    }
}

/// `start + A · B` with A `[m, k]`, B `[k, n]`, in float64.
fn plain(
    a: &[f32],
    b: &[f32],
    order: Order,
    [m, n, k]: [usize; 3],
    start: impl Fn(usize, usize) -> f32,
) -> Vec<f64> {
    let mut sums = Vec::with_capacity(m * n);
    for i in 0..m {
        for j in 0..n {
            let products = (0..k)
                .map(|q| f64::from(a[i * k + q]) * f64::from(element(b, order, (k, n), (q, j))));
            sums.push(f64::from(start(i, j)) + products.sum::<f64>());
        }
    }
    sums
}

/// One product of integers must be right to the bit and leave what lies between rows of C alone.
fn check(level: Level, order: Order, accumulate: Accumulate, gap: usize, [m, n, k]: [usize; 3]) {
    let (a, b, c) = (integers(m * k, 1), integers(k * n, 2), integers(m * n, 3));
    let mut panels = Panels::default();
    panels.pack(level, &b, order, k, n);
    let spread_a = spread(&a, m, k, gap);
    let mut got = spread(&c, m, n, gap);
    let mut scratch = Buffer::default();
    // What the kernel leaves in its buffer from the call before must not matter.
    scratch.resized(m * k + 64).fill(f32::NAN);
    level.run(Product {
        a: MatRef::new(&spread_a, k + gap),
        b: &panels,
        c: MatMut::new(&mut got, n + gap),
        accumulate,
        scratch: &mut scratch,
    });
    let start = |i, j| if accumulate == Accumulate::Add { c[i * n + j] } else { 0.0 };
    let want: Vec<f32> =
        plain(&a, &b, order, [m, n, k], start).into_iter().map(|sum| sum as f32).collect();
    let want = spread(&want, m, n, gap);
    let wrong = got.iter().zip(&want).position(|(g, w)| g != w && !(g.is_nan() && w.is_nan()));
    assert_eq!(
        wrong.map(|at| (at, got[at], want[at])),
        None,
        "{level:?} {order:?} {accumulate:?} gap {gap}: {m} x {n} x {k}"
    );
}

const WAYS: [(Order, Accumulate); 4] = [
    (Order::RowMajor, Accumulate::Overwrite),
    (Order::RowMajor, Accumulate::Add),
    (Order::ColumnMajor, Accumulate::Overwrite),
    (Order::ColumnMajor, Accumulate::Add),
];

#[test]
fn products_of_integers_are_exact_around_every_tile() {
    for level in levels() {
        let (mr, nr, lanes) = (level.tile_rows(), level.panel_width(), lanes(level));
        for m in 0..=2 * mr + 1 {
            for n in around(&[0, lanes, 2 * lanes, nr, 2 * nr]) {
                for k in [0, 1, 2, 3, 5] {
                    let (order, accumulate) = WAYS[(m + n + k) % 4];
                    check(level, order, accumulate, (m + n) % 3, [m, n, k]);
                    let (order, accumulate) = WAYS[(m + n + k + 2) % 4];
                    check(level, order, accumulate, (m + n + 1) % 3, [m, n, k]);
                }
            }
        }
    }
}

#[test]
fn products_of_integers_are_exact_around_every_block_of_k() {
    for level in levels() {
        let (mr, nr, word) = (level.tile_rows(), level.panel_width(), level.word());
        // 16 words is what the column-major layout takes at a time, 32 what is rounded at a time.
        for k in around(&[16, 32, 64, KC * word, 2 * KC * word]) {
            for [m, n] in [[1, 1], [mr, nr + 1], [mr + 1, lanes(level) + 1]] {
                for (order, accumulate) in WAYS {
                    check(level, order, accumulate, k % 3, [m, n, k]);
                }
            }
        }
    }
}

#[test]
fn rounding_stays_within_the_bound_of_float32_sums() {
    for level in levels() {
        // Of operands in bfloat16 each is off by at most one part in 256.
        let relative = |k: usize| {
            let operands = if level.word() == 2 { 2.1 / 256.0 } else { 0.0 };
            operands + (k + 1) as f64 * f64::from(f32::EPSILON)
        };
        for [m, n, k] in [[3, 7, 2], [4, 24, 5], [8, 48, 16], [9, 49, 33], [17, 97, 1025]] {
            let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
            let mut panels = Panels::default();
            panels.pack(level, &b, Order::RowMajor, k, n);
            let mut got = vec![0.0; m * n];
            linear(level, &a, &panels, None, &mut got);
            let absolute = |x: &[f32]| x.iter().map(|x| x.abs()).collect::<Vec<_>>();
            let want = plain(&a, &b, Order::RowMajor, [m, n, k], |_, _| 0.0);
            let sizes = plain(&absolute(&a), &absolute(&b), Order::RowMajor, [m, n, k], |_, _| 0.0);
            for (i, (got, (want, size))) in got.iter().zip(want.iter().zip(sizes)).enumerate() {
                let error = (f64::from(*got) - want).abs();
                assert!(
                    error <= relative(k) * size,
                    "{level:?} {m}x{n}x{k} at {i}: {got} for {want}, of terms that sum to {size}"
                );
            }
        }
    }
}

#[test]
fn linear_adds_the_bias_to_every_row_of_every_chunk() {
    for level in levels() {
        // 64 rows are one task's.
        for m in around(&[0, 64, 128]) {
            for [n, k] in [[1, 1], [level.panel_width() + 1, 3], [2, 0], [0, 2]] {
                let (x, b, bias) = (integers(m * k, 1), integers(k * n, 2), integers(n, 3));
                let mut panels = Panels::default();
                panels.pack(level, &b, Order::ColumnMajor, k, n);
                for bias in [None, Some(&bias[..])] {
                    let mut got = vec![f32::NAN; m * n];
                    linear(level, &x, &panels, bias, &mut got);
                    let start = |_, j| bias.map_or(0.0, |bias| bias[j]);
                    let want = plain(&x, &b, Order::ColumnMajor, [m, n, k], start);
                    let same = got.iter().zip(&want).all(|(&g, &w)| f64::from(g) == w);
                    assert!(same, "{level:?} {m} x {n} x {k}, bias {}", bias.is_some());
                }
            }
        }
    }
}

#[test]
fn rows_of_c_are_the_same_whatever_rows_are_around_them() {
    for level in levels() {
        let (m, n, k) = (2 * level.tile_rows() + 1, level.panel_width() + 3, 2 * KC + 7);
        let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
        let mut panels = Panels::default();
        panels.pack(level, &b, Order::RowMajor, k, n);
        let mut all = vec![0.0; m * n];
        linear(level, &a, &panels, None, &mut all);
        for first in 0..m {
            let mut some = vec![0.0; (m - first).min(5) * n];
            linear(level, &a[first * k..], &panels, None, &mut some);
            assert_eq!(some, all[first * n..][..some.len()], "{level:?} from row {first}");
        }
    }
}

#[test]
#[should_panic(expected = "assertion failed")]
fn panels_of_another_level_are_refused() {
    let mut panels = Panels::default();
    let level = Level::Portable;
    panels.pack(level, &[1.0; 12], Order::RowMajor, 3, 4);
    // The same panels as if they had been laid out for a matrix of more columns.
    panels.n = 40;
    linear(level, &[1.0; 3], &panels, None, &mut [0.0; 40]);
}
