//! Layers against the same equations in tensor ops, finite differences, and themselves.

use crate::fused::simd::level::Level;
use crate::fused::simd::testing::levels;
use crate::fused::tests::case::{Case, assert_agrees, assert_close, flip, norms_agree};
use crate::fused::tests::random;
use crate::fused::*;
use crate::runtime::with_threads;
use candle_core::{DType, Device, Result, Tensor, Var};
use proptest::prelude::*;
use std::time::Duration;

#[test]
fn cells_agree_with_tensor_ops_and_their_autograd() -> Result<()> {
    for cell in Cell::ALL {
        for [t, b, h, i] in
            [[1, 1, 1, 1], [2, 5, 3, 2], [7, 1, 17, 5], [7, 5, 17, 17], [2, 9, 65, 33]]
        {
            for (embedded, resets) in [(false, false), (true, true), (false, true)] {
                let case = Case::new(cell, [t, b, h, i], embedded, resets);
                let want = case.reference()?;
                for level in levels() {
                    let name =
                        format!("{level:?} {cell:?} T={t} B={b} H={h} I={i} {embedded} {resets}");
                    let got = case.fused(level, &Workspace::default())?;
                    assert_agrees(&name, (cell, level), &got, &want, 2e-5);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_reversed_layer_is_a_forward_one_between_two_flips() -> Result<()> {
    for cell in Cell::ALL {
        for (embedded, resets) in [(false, false), (true, true)] {
            let case = Case {
                direction: Direction::Reverse,
                ..Case::new(cell, [7, 5, 17, 9], embedded, resets)
            };
            let want = case.reference()?;
            let n = case.vars.len();
            let (source, state) = (&case.vars[n - 2], &case.vars[n - 1]);
            for level in levels() {
                let name = format!("{level:?} {cell} {embedded} {resets}");
                let got = case.fused(level, &Workspace::default())?;
                assert_agrees(&name, (cell, level), &got, &want, 2e-5);
                let run = |direction, turn: &dyn Fn(&Tensor) -> Result<Tensor>| {
                    let weights = Case::weights(cell, &case.vars);
                    let layer = RecurrentLayer { direction, ..RecurrentLayer::new(cell, weights) };
                    let ids = case.ids.as_ref().map(turn).transpose()?;
                    let x = if embedded { source.clone() } else { turn(source)? };
                    let input = match &ids {
                        Some(ids) => Input::Embedded { ids, table: &x },
                        None => Input::Sequence(&x),
                    };
                    let resets = case.resets.as_ref().map(turn).transpose()?;
                    let (hidden, last) = layer.forward_at(level, input, state, resets.as_ref())?;
                    let bits = |x: Tensor| x.flatten_all()?.to_vec1::<f32>();
                    Ok::<_, candle_core::Error>((bits(turn(&hidden)?)?, bits(last)?))
                };
                let reversed = run(Direction::Reverse, &|x| Ok(x.clone()))?;
                assert!(reversed == run(Direction::Forward, &flip)?, "{name}");
            }
        }
    }
    Ok(())
}

#[test]
fn long_windows_cross_every_block() -> Result<()> {
    // T·B = 1100 rows of k pass the block of 512 twice, H = 50 the panel of 48 columns.
    for cell in [Cell::Gru, Cell::Lstm] {
        let case = Case::new(cell, [100, 11, 50, 49], false, true);
        let want = case.reference()?;
        for level in levels() {
            let got = case.fused(level, &Workspace::default())?;
            assert_agrees(&format!("{level:?} {cell:?}"), (cell, level), &got, &want, 1e-4);
        }
    }
    Ok(())
}

/// In each gradient, a row that is another's and a term that is left out are found at the tolerance that
/// bfloat16 has.
#[test]
fn a_wrong_row_and_a_dropped_term_are_found_in_bfloat16_too() -> Result<()> {
    for cell in Cell::ALL {
        let case = Case::new(cell, [7, 5, 17, 17], false, true);
        let want = case.reference()?;
        norms_agree(cell, &want, &want).unwrap();
        for gradient in 0..want.1.len() {
            let width = case.vars[gradient].dims().last().copied().unwrap_or(1);
            let mut wrong = (want.0, want.1.clone());
            let rows = if case.vars[gradient].rank() > 1 { width } else { 1 };
            let (first, rest) = wrong.1[gradient].split_at_mut(rows);
            first.copy_from_slice(&rest[..rows]);
            assert!(norms_agree(cell, &wrong, &want).is_err(), "{cell} {gradient}: a wrong row");
        }
        // The last step's share of the weights' gradients.
        let shorter = Case::new(cell, [6, 5, 17, 17], false, true).reference()?;
        for gradient in 0..want.1.len() - 2 {
            let mut wrong = (want.0, want.1.clone());
            wrong.1[gradient].clone_from(&shorter.1[gradient]);
            assert!(norms_agree(cell, &wrong, &want).is_err(), "{cell} {gradient}: a term");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn cells_agree_at_any_size(
        cell in 0..Cell::ALL.len(), t in 1..5usize, b in 1..12usize, h in 1..40usize, i in 1..40usize,
        embedded: bool, resets: bool,
    ) {
        let case = Case::new(Cell::ALL[cell], [t, b, h, i], embedded, resets);
        let got = case.fused(Level::choose(Precision::F32).unwrap(), &Workspace::default()).unwrap();
        assert_close(&format!("{:?} {t} {b} {h} {i}", case.cell), &got, &case.reference().unwrap(), 2e-5);
    }
}

#[test]
fn gradients_are_the_slopes_of_the_loss() -> Result<()> {
    // Central differences of the float64 reference; that `fused` equals its value is tested above.
    for cell in Cell::ALL {
        let case = Case::new(cell, [3, 2, 3, 2], true, true);
        let (_, grads) = case.fused(Level::choose(Precision::F32)?, &Workspace::default())?;
        let vars: Vec<Tensor> =
            case.vars.iter().map(|v| v.to_dtype(DType::F64)).collect::<Result<_>>()?;
        for (v, grad) in grads.iter().enumerate() {
            for (e, &got) in grad.iter().enumerate() {
                let at = |step: f64| -> Result<f64> {
                    let mut vars = vars.clone();
                    let mut data: Vec<f64> = vars[v].flatten_all()?.to_vec1()?;
                    data[e] += step;
                    vars[v] = Tensor::from_vec(data, vars[v].shape(), &Device::Cpu)?;
                    case.reference_loss(&vars)?.to_scalar()
                };
                let slope = (at(1e-5)? - at(-1e-5)?) / 2e-5;
                assert!((got - slope).abs() < 2e-6, "{cell:?} {v} {e}: {got} for {slope}");
            }
        }
    }
    Ok(())
}

#[test]
fn any_number_of_threads_gives_the_same_bits() -> Result<()> {
    let workspace = Workspace::default();
    for cell in Cell::ALL {
        for embedded in [false, true] {
            let case = Case::new(cell, [9, 37, 50, 31], embedded, true);
            for level in levels() {
                let on = |threads| with_threads(threads, || case.fused(level, &workspace));
                let one = on(1)?;
                for threads in [2, 3, 5] {
                    assert!(on(threads)? == one, "{cell:?} {embedded} {threads} threads");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn threads_that_compete_for_the_workers_get_the_same_bits() -> Result<()> {
    let level = Level::choose(Precision::F32)?;
    let case = Case::new(Cell::Gru, [5, 9, 50, 31], true, true);
    let one = with_threads(1, || case.fused(level, &Workspace::default()))?;
    std::thread::scope(|scope| {
        for threads in 1..=5 {
            let (case, one) = (&case, &one);
            scope.spawn(move || {
                let workspace = Workspace::default();
                for _ in 0..20 {
                    let got = with_threads(threads, || case.fused(level, &workspace));
                    assert!(got.unwrap() == *one, "{threads} threads");
                }
            });
        }
    });
    Ok(())
}

/// The work is cut as for so many threads, and runs on one.
#[test]
fn any_way_of_cutting_the_work_gives_the_same_bits() -> Result<()> {
    let workspace = Workspace::default();
    for (cell, b) in [(Cell::Gru, 32), (Cell::Lstm, 13), (Cell::GruResetAfter, 1), (Cell::Rnn, 7)] {
        let case = Case::new(cell, [4, b, 50, 31], true, true);
        for level in levels() {
            let cut =
                |threads| record(threads, || Duration::ZERO, || case.fused(level, &workspace)).0;
            let one = cut(1)?;
            for threads in 2..=17 {
                assert!(cut(threads)? == one, "{level:?} {cell} B={b} for {threads} threads");
            }
        }
    }
    Ok(())
}

#[test]
fn every_thread_has_as_much_of_the_recurrence() -> Result<()> {
    for (threads, b) in [(8, 32), (16, 64), (3, 32), (5, 4)] {
        let case = Case::new(Cell::Gru, [2, b, 8, 3], false, false);
        let workspace = Workspace::default();
        let level = Level::choose(Precision::F32)?;
        let (_, sections, _) = record(threads, || Duration::ZERO, || case.fused(level, &workspace));
        let recurrence: Vec<_> = sections
            .iter()
            .filter(|section| section.place.file().ends_with("recurrence.rs"))
            .map(|section| section.tasks.len())
            .collect();
        assert_eq!(recurrence, [threads.min(b); 2], "B={b}");
    }
    Ok(())
}

#[test]
fn a_workspace_used_again_fails_rather_than_give_a_wrong_gradient() -> Result<()> {
    let case = Case::new(Cell::Gru, [3, 2, 4, 2], false, false);
    let weights: Vec<Var> = case.vars.iter().map(Var::from_tensor).collect::<Result<_>>()?;
    let tensors: Vec<Tensor> = weights.iter().map(|v| v.as_tensor().clone()).collect();
    let layer = RecurrentLayer::new(case.cell, Case::weights(case.cell, &tensors));
    let run = || layer.forward(Input::Sequence(&tensors[3]), &tensors[4], None);
    let first = run()?.0.sum_all()?;
    let second = run()?.0.sum_all()?;
    let error = first.backward().unwrap_err().to_string();
    assert!(error.contains("used again"), "{error}");
    second.backward()?;
    assert!(second.backward().is_err(), "the gates are gradients by now");
    Ok(())
}

#[test]
fn what_does_not_fit_is_an_error() -> Result<()> {
    let case = Case::new(Cell::Gru, [3, 2, 4, 2], true, false);
    let ids = case.ids.as_ref().unwrap();
    let run = |ids: &Tensor, table: &Tensor, state: &Tensor, resets: Option<&Tensor>| {
        let layer = RecurrentLayer::new(case.cell, Case::weights(case.cell, &case.vars));
        layer.forward(Input::Embedded { ids, table }, state, resets).map(|_| ())
    };
    let (table, state) = (&case.vars[3], &case.vars[4]);
    run(ids, table, state, None)?;
    let cpu = &Device::Cpu;
    assert!(
        run(&(ids + 6.0)?, table, state, None).unwrap_err().to_string().contains("vocabulary of 6")
    );
    assert!(run(ids, &random(&[6, 3], 1), state, None).is_err());
    assert!(run(ids, table, &random(&[2, 2, 4], 1), None).is_err());
    assert!(run(ids, table, state, Some(&Tensor::zeros((2, 3), DType::U8, cpu)?)).is_err());
    assert!(run(&ids.narrow(0, 0, 0)?, table, state, None).is_err());
    assert!(run(ids, &table.to_dtype(DType::F64)?, state, None).is_err());
    Ok(())
}
