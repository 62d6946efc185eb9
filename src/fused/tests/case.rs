//! A layer and its input, run by the fused ops and by candle's tensor ops in float64.

use super::random;
use crate::fused::{sequence::sequence_at, simd::Level, *};
use candle_core::{DType, Device, Result, Tensor, Var};

/// A layer, its input and what else `sequence` takes.
pub struct Case {
    pub cell: Cell,
    /// weight_ih, weight_hh, bias_ih, bias_hh of the cells that have it; table or x; state.
    pub vars: Vec<Tensor>,
    pub ids: Option<Tensor>,
    pub resets: Option<Tensor>,
    pub t: usize,
    pub b: usize,
    pub h: usize,
}

/// Loss, then one gradient for each of `vars`.
pub type Outcome = (f64, Vec<Vec<f64>>);

/// Runs candle's backward pass from `loss`.
pub fn outcome(loss: &Tensor, vars: &[Var]) -> Result<Outcome> {
    let grads = loss.backward()?;
    let of = |var: &Var| grads.get(var).unwrap().to_dtype(DType::F64)?.flatten_all()?.to_vec1();
    Ok((loss.to_dtype(DType::F64)?.to_scalar()?, vars.iter().map(of).collect::<Result<_>>()?))
}

impl Case {
    pub fn new(cell: Cell, [t, b, h, i]: [usize; 4], embedded: bool, resets: bool) -> Self {
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
        vars.push(if embedded { random(&[vocab, i], 5) } else { random(&[t, b, i], 5) });
        vars.push(random(&[cell.states(), b, h], 6));
        let numbers = |modulus: u32| (0..(t * b) as u32).map(move |n| (n * 7 + 3) % modulus);
        let ids = embedded.then(|| {
            Tensor::from_iter(numbers((vocab as u32).min(3)), &Device::Cpu)
                .unwrap()
                .reshape((t, b))
                .unwrap()
        });
        let flags = numbers(5).map(|n| u8::from(n < 2));
        let resets = resets
            .then(|| Tensor::from_iter(flags, &Device::Cpu).unwrap().reshape((t, b)).unwrap());
        Self { cell, vars, ids, resets, t, b, h }
    }

    pub fn weights(cell: Cell, vars: &[Tensor]) -> Weights<'_> {
        let bias_hh = cell.has_bias_hh().then(|| &vars[3]);
        Weights { weight_ih: &vars[0], weight_hh: &vars[1], bias_ih: &vars[2], bias_hh }
    }

    /// A loss in which every output counts differently, of float64 outputs.
    pub fn loss(&self, hidden: &Tensor, state: &Tensor) -> Result<Tensor> {
        let hidden = hidden.to_dtype(DType::F64)?;
        let state = state.to_dtype(DType::F64)?;
        let mask = |shape: &[usize], seed| random(shape, seed).to_dtype(DType::F64);
        let a = (hidden.sqr()? * mask(hidden.dims(), 7)?)?.sum_all()?;
        a + (state.sqr()? * mask(state.dims(), 8)?)?.sum_all()?
    }

    pub fn fused(&self, level: Level, workspace: &Workspace) -> Result<Outcome> {
        let vars: Vec<Var> = self.vars.iter().map(Var::from_tensor).collect::<Result<_>>()?;
        let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
        let n = tensors.len();
        let input = match &self.ids {
            Some(ids) => Input::Embedded { ids, table: &tensors[n - 2] },
            None => Input::Sequence(&tensors[n - 2]),
        };
        let weights = Self::weights(self.cell, &tensors);
        let state = &tensors[n - 1];
        let (hidden, last) =
            sequence_at(level, self.cell, input, &weights, state, self.resets.as_ref(), workspace)?;
        let loss = self.loss(&hidden, &last)?;
        outcome(&loss, &vars)
    }

    /// The equations of design.md in tensor ops, float64.
    pub fn reference_loss(&self, vars: &[Tensor]) -> Result<Tensor> {
        let n = vars.len();
        let x = match &self.ids {
            Some(ids) => {
                vars[n - 2].index_select(&ids.flatten_all()?, 0)?.reshape((self.t, self.b, ()))?
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
            let input = x.get(t)?.matmul(&w.weight_ih.t()?)?.broadcast_add(w.bias_ih)?;
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
        let last = Tensor::stack(&[Some(state), c].into_iter().flatten().collect::<Vec<_>>(), 0)?;
        self.loss(&Tensor::stack(&outputs, 0)?, &last)
    }

    pub fn reference(&self) -> Result<Outcome> {
        let to_var = |v: &Tensor| Var::from_tensor(&v.to_dtype(DType::F64)?);
        let vars: Vec<Var> = self.vars.iter().map(to_var).collect::<Result<_>>()?;
        let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
        let loss = self.reference_loss(&tensors)?;
        let grads = loss.backward()?;
        let of = |var: &Var| match grads.get(var) {
            Some(grad) => grad.flatten_all()?.to_vec1(),
            None => Ok(vec![0.0; var.elem_count()]),
        };
        Ok((loss.to_scalar()?, vars.iter().map(of).collect::<Result<_>>()?))
    }
}

/// Both the same, up to `tolerance` of the largest number of each tensor.
pub fn assert_close(name: &str, got: &Outcome, want: &Outcome, tolerance: f64) {
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
            assert!((g - w).abs() <= bound, "{name}: gradient {i} at {j}: {g} for {w} (±{bound})");
        }
    }
}

pub fn levels() -> Vec<Level> {
    let mut levels = Level::all();
    match Level::choose(Precision::Bf16) {
        Ok(level) => levels.push(level),
        Err(why) => println!("skipping bf16: {why}"),
    }
    levels
}
