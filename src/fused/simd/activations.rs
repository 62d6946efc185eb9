//! exp, sigmoid and tanh on vectors of float32, without branches.
//!
//! Measured over a dense sweep against float64 (the tests repeat it), in units in the last place:
//! sigmoid is within 2.1 and tanh within 2.3, at every instruction set. Both are exact at 0, finite
//! at every finite or infinite argument, and NaN stays NaN. Sigmoid stops at 1.6e-38 (x = -87),
//! where float32 runs out of normal numbers.

use pulp::Simd;

/// 1.5 · 2^23: adding it leaves the nearest integer in the low bits of the float.
const ROUND: f32 = 12_582_912.0;
/// ln 2 in two parts: a product of the first with a small integer is exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// `(2^n, e^r - 1)` with `y = n ln 2 + r`, `|r| <= ln 2 / 2`, for `|y| <= 87.5`. Two numbers and not
/// their product, because tanh needs all digits of `e^y - 1` near zero, where `2^n = 1`.
#[inline(always)]
fn exp_parts<S: Simd>(simd: S, y: S::f32s) -> (S::f32s, S::f32s) {
    let rounded =
        simd.mul_add_e_f32s(y, simd.splat_f32s(std::f32::consts::LOG2_E), simd.splat_f32s(ROUND));
    let n = simd.sub_f32s(rounded, simd.splat_f32s(ROUND));
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-LN_2_HIGH), y);
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-LN_2_LOW), r);
    // Taylor's series: at |r| = 0.347 the first term left out is a quarter of a unit in the last place.
    let mut p = simd.splat_f32s(1.0 / 5040.0);
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5] {
        p = simd.mul_add_e_f32s(p, r, simd.splat_f32s(c));
    }
    let expm1 = simd.mul_add_e_f32s(simd.mul_f32s(r, r), p, r);
    let exponent =
        simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(rounded), simd.splat_u32s(23));
    let scale = simd.add_u32s(exponent, simd.splat_u32s(1f32.to_bits()));
    (simd.transmute_f32s_u32s(scale), expm1)
}

/// `value`, but NaN where `x` is NaN: `min` and `max` may turn a NaN into their bound.
#[inline(always)]
fn keep_nan<S: Simd>(simd: S, x: S::f32s, value: S::f32s) -> S::f32s {
    simd.select_f32s(simd.equal_f32s(x, x), value, x)
}

/// `e^x`, with x held within ±87.
#[inline(always)]
pub fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let y = simd.max_f32s(simd.min_f32s(x, simd.splat_f32s(87.0)), simd.splat_f32s(-87.0));
    let (scale, expm1) = exp_parts(simd, y);
    keep_nan(simd, x, simd.mul_add_e_f32s(scale, expm1, scale))
}

/// `1 / (1 + e^-x)`
#[inline(always)]
pub fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    simd.div_f32s(one, simd.add_f32s(one, exp(simd, simd.neg_f32s(x))))
}

/// `(e^2|x| - 1) / (e^2|x| + 1)` with the sign of x.
#[inline(always)]
pub fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    // Beyond 10 tanh is 1 in float32.
    let a = simd.min_f32s(simd.abs_f32s(x), simd.splat_f32s(10.0));
    let (scale, expm1) = exp_parts(simd, simd.add_f32s(a, a));
    let expm1 = simd.mul_add_e_f32s(scale, expm1, simd.sub_f32s(scale, one));
    let value = simd.div_f32s(expm1, simd.add_f32s(expm1, simd.splat_f32s(2.0)));
    let sign = simd.and_u32s(simd.transmute_u32s_f32s(x), simd.splat_u32s(1 << 31));
    let signed = simd.or_u32s(simd.transmute_u32s_f32s(value), sign);
    keep_nan(simd, x, simd.transmute_f32s_u32s(signed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fused::simd::isa::{Isa, Task, for_vectors, load, store};
    use crate::fused::simd::testing::levels;

    struct Map<'a>(bool, &'a mut [f32]);
    impl Task for Map<'_> {
        type Output = ();

        #[inline(always)]
        fn run<I: Isa>(self, isa: I) {
            let simd = isa.simd();
            for_vectors!(simd, self.1.len(), |j, n| {
                let x = load(simd, self.1, j, n);
                let y = if self.0 { tanh(simd, x) } else { sigmoid(simd, x) };
                store(simd, self.1, j, n, y);
            });
        }
    }

    fn ulp(got: f32, want: f64) -> f64 {
        let nearest = (want as f32).abs().max(f32::MIN_POSITIVE);
        let unit = f64::from(f32::from_bits(nearest.to_bits() + 1)) - f64::from(nearest);
        (f64::from(got) - want).abs() / unit
    }

    #[test]
    fn sigmoid_and_tanh_stay_within_the_stated_error() {
        // Every 997th float of both signs below 128, and everything around zero.
        let positive = (0..=128f32.to_bits()).step_by(997).map(f32::from_bits);
        let sweep: Vec<f32> = positive.flat_map(|x| [x, -x]).collect();
        for level in levels() {
            for (is_tanh, bound) in [(false, 2.1), (true, 2.3)] {
                let mut got = sweep.clone();
                level.run(Map(is_tanh, &mut got));
                let (mut worst, mut at) = (0.0, 0.0);
                for (&x, &y) in sweep.iter().zip(&got) {
                    let x64 = f64::from(x);
                    let want =
                        if is_tanh { x64.tanh() } else { 1.0 / (1.0 + (-x64.max(-87.0)).exp()) };
                    if ulp(y, want) > worst {
                        (worst, at) = (ulp(y, want), x);
                    }
                }
                println!("{level:?} tanh={is_tanh}: {worst:.3} ulp at {at}");
                assert!(worst <= bound, "{level:?} tanh={is_tanh}: {worst} ulp at {at}");
            }
        }
    }

    #[test]
    fn the_ends_are_finite_and_nan_stays() {
        let ends =
            [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 1e-40, f32::NAN];
        for level in levels() {
            let (mut s, mut t) = (ends, ends);
            level.run(Map(false, &mut s));
            level.run(Map(true, &mut t));
            assert_eq!(t[..7], [0.0, 0.0, 1.0, -1.0, 1.0, -1.0, 1e-40]);
            assert_eq!((s[0], s[1], s[2], s[4]), (0.5, 0.5, 1.0, 1.0));
            assert!(s[3] < 2e-38 && s[5] < 2e-38);
            assert!(t[1].is_sign_negative() && s[7].is_nan() && t[7].is_nan());
        }
    }
}
