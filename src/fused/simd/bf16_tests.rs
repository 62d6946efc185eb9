//! Rounding to bfloat16, and the vector code against it.

use crate::fused::simd::bf16::{Bf16, pair, round};
use crate::fused::simd::isa::Isa;
use crate::fused::simd::memory::{Buffer, MatRef};
use crate::fused::simd::testing::{levels, numbers};

/// The bfloat16 that `round` gives, as a float.
fn rounded(x: f32) -> f32 {
    f32::from_bits(round(x) << 16)
}

/// Numbers at which rounding could go wrong, and ordinary ones between them: `count` in all.
fn difficult(count: usize, seed: u32) -> Vec<f32> {
    let special = [
        0.0,
        -0.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        -f32::NAN,
        f32::from_bits(0x7f80_0001), // a signalling NaN whose payload is in the lower half
        f32::MAX,
        f32::MIN,
        f32::MIN_POSITIVE,
        1e-40,
        -1e-40,
        f32::from_bits(0x007f_ffff), // the largest subnormal number: to nearest it would be normal
        f32::from_bits(0x3f80_8000), // halfway, to the lower, even one
        f32::from_bits(0x3f81_8000), // halfway, to the upper, even one
        f32::from_bits(0x3f80_8001), // just above halfway
        f32::from_bits(0x3f80_7fff), // just below
    ];
    let mut values = numbers(count, seed);
    for (i, value) in
        values.iter_mut().enumerate().filter(|(i, _)| (i + seed as usize).is_multiple_of(2))
    {
        *value = special[(i / 2 + seed as usize) % special.len()];
    }
    values
}

fn bits(words: &[f32]) -> Vec<u32> {
    words.iter().map(|word| word.to_bits()).collect()
}

/// The level, where this processor has it; `levels` complains where it should.
fn bf16() -> Option<Bf16> {
    levels();
    Bf16::try_new()
}

#[test]
fn rounding_is_to_nearest_and_ties_to_even() {
    for (x, want) in [
        (0x3f80_0000, 0x3f80),
        (0x3f80_7fff, 0x3f80),
        (0x3f80_8000, 0x3f80),
        (0x3f80_8001, 0x3f81),
        (0x3f81_7fff, 0x3f81),
        (0x3f81_8000, 0x3f82),
        (0xbf81_8000, 0xbf82),
        (0x3fff_8000, 0x4000),
        (0x7f7f_ffff, 0x7f80),
        (0x7f80_0000, 0x7f80),
        (0xff80_0000, 0xff80),
        (0x8000_0000, 0x8000),
        (0x0080_0000, 0x0080),
        (0x007f_ffff, 0x0000),
        (0x8000_0001, 0x8000),
    ] {
        assert_eq!(round(f32::from_bits(x)), want, "{x:#x}");
    }
    for nan in [0x7f80_0001, 0xff80_0001, 0x7fc0_0000, 0x7fff_ffff, 0x7f80_ffff] {
        assert!(rounded(f32::from_bits(nan)).is_nan(), "{nan:#x}");
        assert_eq!(round(f32::from_bits(nan)) & 0x40, 0x40, "{nan:#x} must become quiet");
    }
    for x in numbers(1000, 1) {
        let step = f32::from_bits(rounded(x).to_bits() + 0x1_0000) - rounded(x);
        assert!((rounded(x) - x).abs() <= step.abs() / 2.0, "{x}");
    }
    assert_eq!(pair(1.0, -2.0).to_bits(), 0xc000_3f80);
}

#[test]
fn rows_are_paired_as_the_scalar_code_does_it_at_every_length() {
    let Some(isa) = bf16() else { return };
    for len in 0..=70 {
        let (low, high) = (difficult(len, 1), difficult(len, 2));
        let mut got = vec![0.0; len];
        isa.pack_row(|i| if i == 0 { &low } else { &high }, &mut got);
        let want: Vec<f32> = low.iter().zip(&high).map(|(&l, &h)| pair(l, h)).collect();
        assert_eq!(bits(&got), bits(&want), "{len} elements");
    }
}

#[test]
fn rows_are_rounded_as_the_scalar_code_does_it_at_every_length() {
    let Some(isa) = bf16() else { return };
    for k in 1..=100 {
        let (rows, stride) = (3, k + 2);
        let a = difficult(rows * stride, k as u32);
        // Cut after the last row: what follows it need not be there.
        let a = &a[..2 * stride + k];
        let mut scratch = Buffer::default();
        let got = isa.operand(MatRef::new(a, stride), rows, k, &mut scratch);
        assert_eq!(got.stride, k.div_ceil(2));
        for i in 0..rows {
            let row = &a[i * stride..][..k];
            let want: Vec<f32> =
                row.chunks(2).map(|x| pair(x[0], *x.get(1).unwrap_or(&0.0))).collect();
            assert_eq!(bits(&got.data[i * got.stride..][..got.stride]), bits(&want), "{k}");
        }
    }
}
