//! The normalisation against the same equations in float64, and on several numbers of threads.

use crate::fused::norm;
use crate::fused::simd::level::Level;
use crate::fused::tests::random;
use crate::fused::*;
use crate::runtime::with_threads;
use candle_core::{D, DType, Device, Result, Tensor, Var};

/// Rows and values of a row: less than a vector, no whole vectors, one value, several blocks.
const SHAPES: [[usize; 2]; 6] = [[7, 3], [5, 17], [4, 1], [300, 256], [70, 1000], [3, 20_000]];

/// Of some rows: hidden vectors, gain, what the layer read, the gradient of what it gives.
fn inputs([rows, width]: [usize; 2]) -> [Tensor; 4] {
    // A mean that is large beside the spread.
    let hidden = (random(&[rows, width], 1) + 0.7).unwrap();
    [hidden, random(&[width], 2), random(&[rows, width], 3), random(&[rows, width], 4)]
}

fn numbers(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

/// What the layer gives, then the gradients of h and g.
fn kernel(level: Level, shape: [usize; 2], residual: bool) -> [Vec<f32>; 3] {
    let [hidden, gain, below, grad] = inputs(shape).map(|x| numbers(&x));
    let (mut out, mut of_hidden) = (vec![f32::NAN; hidden.len()], vec![f32::NAN; hidden.len()]);
    norm::forward(level, &hidden, &gain, residual.then_some(&below), &mut out);
    let of_gain = norm::backward(level, &hidden, &gain, &grad, &mut of_hidden);
    [out, of_hidden, of_gain]
}

#[test]
fn agrees_with_the_equations_in_float64_at_every_level() -> Result<()> {
    for (shape, residual) in SHAPES.into_iter().flat_map(|shape| [(shape, false), (shape, true)]) {
        let wide =
            inputs(shape).map(|x| Var::from_tensor(&x.to_dtype(DType::F64).unwrap()).unwrap());
        let [hidden, gain, below, grad] = wide;
        let centred = hidden.broadcast_sub(&hidden.mean_keepdim(D::Minus1)?)?;
        let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + 1e-5)?.sqrt()?;
        let mut y = centred.broadcast_div(&deviation)?.broadcast_mul(&gain)?;
        if residual {
            y = (y + below.as_tensor())?;
        }
        let grads = (&y * grad.as_tensor())?.sum_all()?.backward()?;
        let [of_hidden, of_gain] = [&hidden, &gain].map(|x| grads.get(x).unwrap().clone());
        for level in Level::all() {
            let got = kernel(level, shape, residual);
            for ((what, got), want) in
                ["y", "dh", "dg"].into_iter().zip(got).zip([&y, &of_hidden, &of_gain])
            {
                let want = want.flatten_all()?.to_vec1::<f64>()?;
                let scale = want.iter().fold(1e-3, |most: f64, x| most.max(x.abs()));
                for (index, (got, want)) in got.iter().zip(&want).enumerate() {
                    assert!(
                        (f64::from(*got) - want).abs() <= 1e-5 * scale,
                        "{level:?} {shape:?} {what}[{index}] is {got} but must be {want}"
                    );
                }
            }
        }
    }
    Ok(())
}

#[test]
fn the_number_of_threads_changes_no_bit_of_a_normalisation() {
    let level = Level::choose(Precision::F32).unwrap();
    for shape in SHAPES {
        let run = |threads| with_threads(threads, || kernel(level, shape, true));
        let bits = |found: [Vec<f32>; 3]| found.map(|x| x.into_iter().map(f32::to_bits).collect());
        let one: [Vec<u32>; 3] = bits(run(1));
        for threads in [2, 3, 5] {
            assert!(bits(run(threads)) == one, "{shape:?} on {threads} threads");
        }
    }
}

/// Rows do not depend on their number, so that a text is read alone as it is beside others.
#[test]
fn a_row_is_normalised_alone_as_beside_others() {
    for level in Level::all() {
        let [hidden, gain, below, _] = inputs([9, 37]).map(|x| numbers(&x));
        let mut all = vec![0.0; hidden.len()];
        norm::forward(level, &hidden, &gain, Some(&below), &mut all);
        for (row, want) in all.chunks(37).enumerate() {
            let (at, mut one) = (row * 37..(row + 1) * 37, vec![0.0; 37]);
            norm::forward(level, &hidden[at.clone()], &gain, Some(&below[at]), &mut one);
            assert_eq!(one, want, "{level:?} {row}");
        }
    }
}

/// Of equal values nothing is left but what the layer read; the state before any text is one of zeros.
#[test]
fn equal_values_are_normalised_to_zeros() -> Result<()> {
    let gain = random(&[5], 2);
    let below = random(&[3, 5], 3);
    for value in [0f32, -3.5] {
        let hidden = Tensor::full(value, (3, 5), &Device::Cpu)?;
        let alone = layer_norm(&hidden, &gain, None, Precision::F32)?;
        assert!(numbers(&alone).iter().all(|&x| x == 0.0), "{value}");
        let added = layer_norm(&hidden, &gain, Some(&below), Precision::F32)?;
        assert_eq!(numbers(&added), numbers(&below), "{value}");
    }
    Ok(())
}

#[test]
fn a_normalisation_of_other_shapes_is_refused() {
    let [hidden, gain, below, _] = inputs([4, 6]);
    let run = |hidden: &Tensor, gain: &Tensor, below: &Tensor| {
        layer_norm(hidden, gain, Some(below), Precision::F32).map(|_| ())
    };
    run(&hidden, &gain, &below).unwrap();
    let wide = hidden.to_dtype(DType::F64).unwrap();
    assert!(run(&wide, &gain, &below).is_err());
    let error = run(&hidden, &random(&[5], 1), &below).unwrap_err().to_string();
    assert!(error.contains("gain must be [6], got [5]"), "{error}");
    assert!(run(&hidden, &gain, &random(&[3, 6], 1)).is_err());
}
