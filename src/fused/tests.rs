//! The fused ops against the same equations in candle's tensor ops, in float64, with candle's own
//! autograd; against finite differences; and against themselves on other numbers of threads.

use super::{sequence::sequence_at, *};
use candle_core::{DType, Device, Result, Tensor, Var};
use proptest::prelude::*;

const CELLS: [Cell; 4] = [Cell::Gru, Cell::GruResetAfter, Cell::Lstm, Cell::Rnn];

fn random(shape: &[usize], seed: u64) -> Tensor {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let data: Vec<f32> = (0..shape.iter().product()).map(|_| next()).collect();
    Tensor::from_vec(data, shape, &Device::Cpu).unwrap()
}

/// A layer, its input and what else `sequence` takes.
struct Case {
    cell: Cell,
    /// weight_ih, weight_hh, bias_ih, bias_hh of the cells that have it; table or x; state.
    vars: Vec<Tensor>,
    ids: Option<Tensor>,
    resets: Option<Tensor>,
    t: usize,
    b: usize,
    h: usize,
}

/// Loss, then one gradient for each of `vars`.
type Outcome = (f64, Vec<Vec<f64>>);

impl Case {
    fn new(cell: Cell, [t, b, h, i]: [usize; 4], embedded: bool, resets: bool) -> Self {
        let width = cell.gates() * h;
        let scale = (1.5 / (h as f64).sqrt()).min(1.0);
        let mut vars = vec![
            random(&[width, i], 1),
            (random(&[width, h], 2) * scale).unwrap(),
            random(&[width], 3),
        ];
        if cell.has_bias_hh() {
            vars.push(random(&[width], 4));
        }
        let vocab = t * b;
        vars.push(if embedded {
            random(&[vocab, i], 5)
        } else {
            random(&[t, b, i], 5)
        });
        vars.push(random(&[cell.states(), b, h], 6));
        let numbers = |modulus: u32| (0..(t * b) as u32).map(move |n| (n * 7 + 3) % modulus);
        let ids = embedded.then(|| {
            Tensor::from_iter(numbers((vocab as u32).min(3)), &Device::Cpu)
                .unwrap()
                .reshape((t, b))
                .unwrap()
        });
        let flags = numbers(5).map(|n| u8::from(n < 2));
        let resets = resets.then(|| {
            Tensor::from_iter(flags, &Device::Cpu)
                .unwrap()
                .reshape((t, b))
                .unwrap()
        });
        Self {
            cell,
            vars,
            ids,
            resets,
            t,
            b,
            h,
        }
    }

    fn weights(cell: Cell, vars: &[Tensor]) -> Weights<'_> {
        let bias_hh = cell.has_bias_hh().then(|| &vars[3]);
        Weights {
            weight_ih: &vars[0],
            weight_hh: &vars[1],
            bias_ih: &vars[2],
            bias_hh,
        }
    }

    /// A loss in which every output counts differently, of float64 outputs.
    fn loss(&self, hidden: &Tensor, state: &Tensor) -> Result<Tensor> {
        let hidden = hidden.to_dtype(DType::F64)?;
        let state = state.to_dtype(DType::F64)?;
        let mask = |shape: &[usize], seed| random(shape, seed).to_dtype(DType::F64);
        let a = (hidden.sqr()? * mask(hidden.dims(), 7)?)?.sum_all()?;
        a + (state.sqr()? * mask(state.dims(), 8)?)?.sum_all()?
    }

    fn fused(&self, level: Level, workspace: &Workspace) -> Result<Outcome> {
        let vars: Vec<Var> = self
            .vars
            .iter()
            .map(Var::from_tensor)
            .collect::<Result<_>>()?;
        let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
        let n = tensors.len();
        let input = match &self.ids {
            Some(ids) => Input::Embedded {
                ids,
                table: &tensors[n - 2],
            },
            None => Input::Sequence(&tensors[n - 2]),
        };
        let weights = Self::weights(self.cell, &tensors);
        let state = &tensors[n - 1];
        let (hidden, last) = sequence_at(
            level,
            self.cell,
            input,
            &weights,
            state,
            self.resets.as_ref(),
            workspace,
        )?;
        let loss = self.loss(&hidden, &last)?;
        let grads = loss.backward()?;
        let of = |var: &Var| {
            grads
                .get(var)
                .unwrap()
                .to_dtype(DType::F64)?
                .flatten_all()?
                .to_vec1()
        };
        Ok((
            loss.to_scalar()?,
            vars.iter().map(of).collect::<Result<_>>()?,
        ))
    }

    /// The equations of design.md in tensor ops, float64.
    fn reference_loss(&self, vars: &[Tensor]) -> Result<Tensor> {
        let n = vars.len();
        let x = match &self.ids {
            Some(ids) => {
                vars[n - 2]
                    .index_select(&ids.flatten_all()?, 0)?
                    .reshape((self.t, self.b, ()))?
            }
            None => vars[n - 2].clone(),
        };
        let w = Self::weights(self.cell, vars);
        let h = self.h;
        let (mut state, mut c) = (vars[n - 1].get(0)?, None);
        if self.cell == Cell::Lstm {
            c = Some(vars[n - 1].get(1)?);
        }
        let mut outputs = Vec::new();
        for t in 0..self.t {
            if let Some(resets) = &self.resets {
                let keep = (1.0 - resets.get(t)?.to_dtype(DType::F64)?)?.unsqueeze(1)?;
                state = state.broadcast_mul(&keep)?;
                c = c.map(|c| c.broadcast_mul(&keep)).transpose()?;
            }
            let input = x
                .get(t)?
                .matmul(&w.weight_ih.t()?)?
                .broadcast_add(w.bias_ih)?;
            let part = |x: &Tensor, gate: usize| x.narrow(1, gate * h, h);
            let recurrent = |from: &Tensor| from.matmul(&w.weight_hh.t()?);
            let with_bias = |from: &Tensor| recurrent(from)?.broadcast_add(w.bias_hh.unwrap());
            let sigmoid = |x: Tensor| (x.neg()?.exp()? + 1.0)?.recip();
            state = match self.cell {
                Cell::Gru => {
                    let inner = (&input + recurrent(&state)?)?;
                    let (r, z) = (sigmoid(part(&inner, 0)?)?, sigmoid(part(&inner, 1)?)?);
                    let kept = part(&recurrent(&(r * &state)?)?, 2)?;
                    let n = (part(&input, 2)? + kept)?.tanh()?;
                    (((1.0 - &z)? * &state)? + (z * n)?)?
                }
                Cell::GruResetAfter => {
                    let inner = with_bias(&state)?;
                    let r = sigmoid((part(&input, 0)? + part(&inner, 0)?)?)?;
                    let z = sigmoid((part(&input, 1)? + part(&inner, 1)?)?)?;
                    let n = (part(&input, 2)? + (r * part(&inner, 2)?)?)?.tanh()?;
                    (((1.0 - &z)? * n)? + (z * &state)?)?
                }
                Cell::Lstm => {
                    let inner = (input + with_bias(&state)?)?;
                    let (i, f) = (sigmoid(part(&inner, 0)?)?, sigmoid(part(&inner, 1)?)?);
                    let (g, o) = (part(&inner, 2)?.tanh()?, sigmoid(part(&inner, 3)?)?);
                    let next = ((f * c.take().unwrap())? + (i * g)?)?;
                    let out = (o * next.tanh()?)?;
                    c = Some(next);
                    out
                }
                Cell::Rnn => (input + with_bias(&state)?)?.tanh()?,
            };
            outputs.push(state.clone());
        }
        let last = Tensor::stack(
            &[Some(state), c].into_iter().flatten().collect::<Vec<_>>(),
            0,
        )?;
        self.loss(&Tensor::stack(&outputs, 0)?, &last)
    }

    fn reference(&self) -> Result<Outcome> {
        let to_var = |v: &Tensor| Var::from_tensor(&v.to_dtype(DType::F64)?);
        let vars: Vec<Var> = self.vars.iter().map(to_var).collect::<Result<_>>()?;
        let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
        let loss = self.reference_loss(&tensors)?;
        let grads = loss.backward()?;
        let of = |var: &Var| match grads.get(var) {
            Some(grad) => grad.flatten_all()?.to_vec1(),
            None => Ok(vec![0.0; var.elem_count()]),
        };
        Ok((
            loss.to_scalar()?,
            vars.iter().map(of).collect::<Result<_>>()?,
        ))
    }
}

/// Both the same, up to `tolerance` of the largest number of each tensor.
fn assert_close(name: &str, got: &Outcome, want: &Outcome, tolerance: f64) {
    let largest = |x: &[f64]| x.iter().fold(1e-3, |m: f64, x| m.max(x.abs()));
    assert!(
        (got.0 - want.0).abs() <= tolerance * want.0.abs().max(1.0),
        "{name}: loss {} for {}",
        got.0,
        want.0
    );
    for (i, (got, want)) in got.1.iter().zip(&want.1).enumerate() {
        let bound = tolerance * largest(want);
        for (j, (g, w)) in got.iter().zip(want).enumerate() {
            assert!(
                (g - w).abs() <= bound,
                "{name}: gradient {i} at {j}: {g} for {w} (±{bound})"
            );
        }
    }
}

fn levels() -> Vec<Level> {
    let mut levels = Level::all();
    match Level::choose(Precision::Bf16) {
        Ok(level) => levels.push(level),
        Err(why) => println!("skipping bf16: {why}"),
    }
    levels
}

#[test]
fn cells_agree_with_tensor_ops_and_their_autograd() -> Result<()> {
    for cell in CELLS {
        for [t, b, h, i] in [
            [1, 1, 1, 1],
            [2, 5, 3, 2],
            [7, 1, 17, 5],
            [7, 5, 17, 17],
            [2, 9, 65, 33],
        ] {
            for (embedded, resets) in [(false, false), (true, true), (false, true)] {
                let case = Case::new(cell, [t, b, h, i], embedded, resets);
                let want = case.reference()?;
                for level in levels() {
                    let tolerance = if level.word() == 2 { 0.1 } else { 2e-5 };
                    let name =
                        format!("{level:?} {cell:?} T={t} B={b} H={h} I={i} {embedded} {resets}");
                    assert_close(
                        &name,
                        &case.fused(level, &Workspace::default())?,
                        &want,
                        tolerance,
                    );
                }
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
            let tolerance = if level.word() == 2 { 0.1 } else { 1e-4 };
            assert_close(
                &format!("{level:?} {cell:?}"),
                &case.fused(level, &Workspace::default())?,
                &want,
                tolerance,
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn cells_agree_at_any_size(
        cell in 0..4usize, t in 1..5usize, b in 1..12usize, h in 1..40usize, i in 1..40usize,
        embedded: bool, resets: bool,
    ) {
        let case = Case::new(CELLS[cell], [t, b, h, i], embedded, resets);
        let got = case.fused(Level::choose(Precision::F32).unwrap(), &Workspace::default()).unwrap();
        assert_close(&format!("{:?} {t} {b} {h} {i}", case.cell), &got, &case.reference().unwrap(), 2e-5);
    }
}

#[test]
fn gradients_are_the_slopes_of_the_loss() -> Result<()> {
    // Central differences of the float64 reference; that `fused` equals its value is tested above.
    for cell in CELLS {
        let case = Case::new(cell, [3, 2, 3, 2], true, true);
        let (_, grads) = case.fused(Level::choose(Precision::F32)?, &Workspace::default())?;
        let vars: Vec<Tensor> = case
            .vars
            .iter()
            .map(|v| v.to_dtype(DType::F64))
            .collect::<Result<_>>()?;
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
                assert!(
                    (got - slope).abs() < 2e-6,
                    "{cell:?} {v} {e}: {got} for {slope}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn any_number_of_threads_gives_the_same_bits() -> Result<()> {
    let workspace = Workspace::default();
    for cell in CELLS {
        for embedded in [false, true] {
            let case = Case::new(cell, [9, 37, 50, 31], embedded, true);
            for level in levels() {
                let on = |threads| {
                    let pool = rayon::ThreadPoolBuilder::new()
                        .num_threads(threads)
                        .build()
                        .unwrap();
                    pool.install(|| case.fused(level, &workspace))
                };
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
fn a_workspace_used_again_fails_rather_than_give_a_wrong_gradient() -> Result<()> {
    let case = Case::new(Cell::Gru, [3, 2, 4, 2], false, false);
    let weights: Vec<Var> = case
        .vars
        .iter()
        .map(Var::from_tensor)
        .collect::<Result<_>>()?;
    let tensors: Vec<Tensor> = weights.iter().map(|v| v.as_tensor().clone()).collect();
    let workspace = Workspace::default();
    let run = || {
        let w = Case::weights(case.cell, &tensors);
        sequence(
            case.cell,
            Input::Sequence(&tensors[3]),
            &w,
            &tensors[4],
            None,
            Precision::F32,
            &workspace,
        )
    };
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
        let w = Case::weights(case.cell, &case.vars);
        let input = Input::Embedded { ids, table };
        sequence(
            case.cell,
            input,
            &w,
            state,
            resets,
            Precision::F32,
            &Workspace::default(),
        )
        .map(|_| ())
    };
    let (table, state) = (&case.vars[3], &case.vars[4]);
    run(ids, table, state, None)?;
    let cpu = &Device::Cpu;
    assert!(
        run(&(ids + 6.0)?, table, state, None)
            .unwrap_err()
            .to_string()
            .contains("vocabulary of 6")
    );
    assert!(run(ids, &random(&[6, 3], 1), state, None).is_err());
    assert!(run(ids, table, &random(&[2, 2, 4], 1), None).is_err());
    assert!(
        run(
            ids,
            table,
            state,
            Some(&Tensor::zeros((2, 3), DType::U8, cpu)?)
        )
        .is_err()
    );
    assert!(run(&ids.narrow(0, 0, 0)?, table, state, None).is_err());
    assert!(run(ids, &table.to_dtype(DType::F64)?, state, None).is_err());
    Ok(())
}

#[test]
fn readout_loss_agrees_with_tensor_ops() -> Result<()> {
    for (t, b, h, v) in [(1, 1, 1, 1), (2, 3, 17, 5), (9, 16, 33, 65)] {
        let numbers = (0..(t * b) as u32).map(|n| (n * 7 + 3) % v as u32);
        let targets = Tensor::from_iter(numbers, &Device::Cpu)?.reshape((t, b))?;
        let vars = [
            (random(&[t, b, h], 1) * 4.0)?,
            random(&[v, h], 2),
            random(&[v], 3),
        ];
        let run = |dtype: DType, loss: &dyn Fn(&[Var]) -> Result<Tensor>| -> Result<Outcome> {
            let vars: Vec<Var> = vars
                .iter()
                .map(|x| Var::from_tensor(&x.to_dtype(dtype)?))
                .collect::<Result<_>>()?;
            let loss = (loss(&vars)? * 3.0)?;
            let grads = loss.backward()?;
            let of = |var: &Var| {
                grads
                    .get(var)
                    .unwrap()
                    .to_dtype(DType::F64)?
                    .flatten_all()?
                    .to_vec1()
            };
            Ok((
                loss.to_dtype(DType::F64)?.to_scalar()?,
                vars.iter().map(of).collect::<Result<_>>()?,
            ))
        };
        let want = run(DType::F64, &|x| {
            let logits = x[0]
                .flatten(0, 1)?
                .matmul(&x[1].t()?)?
                .broadcast_add(&x[2])?;
            candle_nn::loss::cross_entropy(&logits, &targets.flatten_all()?)
        })?;
        let got = run(DType::F32, &|x| {
            readout_loss(
                &x[0],
                &x[1],
                &x[2],
                &targets,
                Precision::F32,
                &Workspace::default(),
            )
        })?;
        assert_close(&format!("{t} {b} {h} {v}"), &got, &want, 1e-5);
        let beyond = (&targets + v as f64)?;
        assert!(
            readout_loss(
                &vars[0],
                &vars[1],
                &vars[2],
                &beyond,
                Precision::F32,
                &Workspace::default()
            )
            .is_err()
        );
    }
    Ok(())
}

#[test]
fn nan_in_the_hidden_sequence_reaches_the_loss() -> Result<()> {
    let hidden = (random(&[1, 2, 4], 1) * f64::NAN)?;
    let targets = Tensor::zeros((1, 2), DType::U32, &Device::Cpu)?;
    let workspace = Workspace::default();
    let loss = readout_loss(
        &hidden,
        &random(&[3, 4], 2),
        &random(&[3], 3),
        &targets,
        Precision::F32,
        &workspace,
    )?;
    assert!(loss.to_scalar::<f32>()?.is_nan());
    Ok(())
}

#[test]
fn adamw_follows_its_equations_and_norms_add_up() -> Result<()> {
    for count in [1, 7, 40_000] {
        let param = Var::from_tensor(&random(&[count], 1))?;
        let mut want: Vec<f64> = param.to_dtype(DType::F64)?.to_vec1()?;
        let (mut first, mut second) = (vec![0.0; count], vec![0.0; count]);
        let (mut m, mut v) = (vec![0.0; count], vec![0.0; count]);
        for t in 1..4 {
            let grad = random(&[count], 10 + t);
            let g: Vec<f64> = grad.to_dtype(DType::F64)?.to_vec1()?;
            let norm: f64 = g.iter().map(|x| x * x).sum();
            assert!((squared_norm(&grad)? - norm).abs() <= 1e-12 * norm);
            let (bias_correction1, bias_correction2) =
                (1.0 - 0.9f64.powi(t as i32), 1.0 - 0.999f64.powi(t as i32));
            let step = AdamWStep {
                lr: 1e-2,
                beta1: 0.9,
                beta2: 0.999,
                eps: 1e-8,
                weight_decay: 0.1,
                bias_correction1,
                bias_correction2,
                grad_scale: 0.5,
            };
            adamw(param.as_tensor(), &grad, &mut first, &mut second, &step)?;
            for i in 0..count {
                let g = g[i] * 0.5;
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                want[i] -= 1e-2 * 0.1 * want[i];
                want[i] -=
                    1e-2 * (m[i] / bias_correction1) / ((v[i] / bias_correction2).sqrt() + 1e-8);
            }
        }
        let got: Vec<f64> = param.to_dtype(DType::F64)?.to_vec1()?;
        assert!(got.iter().zip(&want).all(|(g, w)| (g - w).abs() < 1e-6));
    }
    Ok(())
}

#[test]
fn stepping_equals_the_sequence() -> Result<()> {
    for (cell, vocab) in CELLS.into_iter().flat_map(|cell| [(cell, 6), (cell, 2000)]) {
        let (t, b, h, e) = (5, 9, 17, 4);
        let layers = [
            Case::new(cell, [t, b, h, e], true, false),
            Case::new(cell, [t, b, h, h], false, false),
        ];
        let weights: Vec<Weights> = layers
            .iter()
            .map(|case| Case::weights(cell, &case.vars))
            .collect();
        let (table, readout, bias) = (
            random(&[vocab, e], 20),
            random(&[vocab, h], 21),
            random(&[vocab], 22),
        );
        let ids: Vec<u32> = (0..(t * b) as u32).map(|n| n * 7 % vocab as u32).collect();
        let id_tensor = Tensor::from_slice(&ids, (t, b), &Device::Cpu)?;
        let start = random(&[cell.states(), b, h], 23);
        let run = |input, weights| {
            sequence(
                cell,
                input,
                weights,
                &start,
                None,
                Precision::F32,
                &Workspace::default(),
            )
        };
        let (first, _) = run(
            Input::Embedded {
                ids: &id_tensor,
                table: &table,
            },
            &weights[0],
        )?;
        let (second, last) = run(Input::Sequence(&first), &weights[1])?;
        let want: Vec<f32> = second
            .flatten(0, 1)?
            .matmul(&readout.t()?)?
            .broadcast_add(&bias)?
            .flatten_all()?
            .to_vec1()?;

        let mut stepper = Stepper::new(cell, &table, &weights, &readout, &bias, b)?;
        stepper.set_state(&[start.clone(), start.clone()])?;
        for (ids, want) in ids.chunks(b).zip(want.chunks(b * vocab)) {
            let got = stepper.step(ids)?;
            assert!(
                got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-5),
                "{cell:?} {vocab}"
            );
        }
        let difference = (&stepper.state()?[1] - &last)?
            .abs()?
            .max_all()?
            .to_scalar::<f32>()?;
        assert!(
            difference < 1e-6,
            "{cell:?}: the state is off by {difference}"
        );
        stepper.reset();
        assert_eq!(
            stepper.state()?[0].abs()?.max_all()?.to_scalar::<f32>()?,
            0.0
        );
        assert!(stepper.step(&ids[1..b]).is_err() && stepper.step(&vec![vocab as u32; b]).is_err());
    }
    Ok(())
}
