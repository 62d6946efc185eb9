//! A layer and its input, run by the fused ops and by candle's tensor ops in float64.

use crate::fused::simd::level::Level;
use crate::fused::tests::random;
use crate::fused::*;
use crate::model::reference_sequence;
use candle_core::{DType, Device, Result, Tensor, Var};

/// A layer, its input and what else `sequence` takes.
pub struct Case {
    pub cell: Cell,
    /// The weights that the cell has, in the order of `LayerWeights::tensors`; table or x; state.
    pub vars: Vec<Tensor>,
    pub ids: Option<Tensor>,
    pub resets: Option<Tensor>,
    pub direction: Direction,
    pub t: usize,
    pub b: usize,
}

/// `x` with its first axis reversed.
pub fn flip(x: &Tensor) -> Result<Tensor> {
    let steps = x.dim(0)? as u32;
    x.index_select(&Tensor::from_iter((0..steps).rev(), x.device())?, 0)
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
        let mut vars = vec![random(&[width, i], 1)];
        if cell.has_weight_hh() {
            vars.push((random(&[width, h], 2) * scale).unwrap());
        }
        vars.push(random(&[width], 3));
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
        Self { cell, vars, ids, resets, direction: Direction::Forward, t, b }
    }

    /// The weights among `vars`, which begin with them.
    pub fn weights(cell: Cell, vars: &[Tensor]) -> LayerWeights {
        let mut vars = vars.iter().cloned();
        let mut next = || vars.next().unwrap();
        LayerWeights {
            weight_ih: next(),
            weight_hh: cell.has_weight_hh().then(&mut next),
            bias_ih: next(),
            bias_hh: cell.has_bias_hh().then(&mut next),
        }
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
        let layer = RecurrentLayer {
            direction: self.direction,
            workspace: workspace.clone(),
            ..RecurrentLayer::new(self.cell, Self::weights(self.cell, &tensors))
        };
        let state = &tensors[n - 1];
        let (hidden, last) = layer.forward_at(level, input, state, self.resets.as_ref())?;
        let loss = self.loss(&hidden, &last)?;
        outcome(&loss, &vars)
    }

    /// The equations in tensor operations, float64.
    pub fn reference_loss(&self, vars: &[Tensor]) -> Result<Tensor> {
        let n = vars.len();
        let x = match &self.ids {
            Some(ids) => {
                vars[n - 2].index_select(&ids.flatten_all()?, 0)?.reshape((self.t, self.b, ()))?
            }
            None => vars[n - 2].clone(),
        };
        let weights = Self::weights(self.cell, vars);
        // A reversed layer is a forward one between two flips.
        let turn = |x: &Tensor| match self.direction {
            Direction::Forward => Ok(x.clone()),
            Direction::Reverse => flip(x),
        };
        let resets = self.resets.as_ref().map(turn).transpose()?;
        let (hidden, state) =
            reference_sequence(self.cell, &turn(&x)?, &weights, &vars[n - 1], resets.as_ref())?;
        self.loss(&turn(&hidden)?, &state)
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

/// For products of operands rounded to bfloat16: the 2-norm of the difference is at most a share of the
/// tensor's own, and for a weight of each gate's block of it. Rounding errors are independent and nearly
/// cancel in a sum, so the norm stays near the relative error of a few roundings, 2^-9 each, while a wrong
/// row of n changes it by 1/√n.
pub fn norms_agree(cell: Cell, got: &Outcome, want: &Outcome) -> std::result::Result<(), String> {
    // Where a minGRU's candidate changes its branch, its slope jumps: a rounding can take the other one.
    let tolerance = if cell == Cell::MinGru { 5e-2 } else { 2e-2 };
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    if (got.0 - want.0).abs() > tolerance * want.0.abs().max(1.0) {
        return Err(format!("loss {} for {}", got.0, want.0));
    }
    // All but the last two, what is read and the state, are of G gates.
    let weights = want.1.len() - 2;
    for (i, (got, want)) in got.1.iter().zip(&want.1).enumerate() {
        let block = if i < weights { want.len() / cell.gates() } else { want.len() };
        for (gate, (got, want)) in got.chunks(block).zip(want.chunks(block)).enumerate() {
            let off = norm(&mut got.iter().zip(want).map(|(g, w)| g - w));
            let size = norm(&mut want.iter().copied());
            if off > tolerance * size.max(1e-3) {
                return Err(format!("gradient {i}, gate {gate}, of norm {size} is off by {off}"));
            }
        }
    }
    Ok(())
}

/// What `level` gave, held to what its products can give.
pub fn assert_agrees(
    name: &str,
    (cell, level): (Cell, Level),
    got: &Outcome,
    want: &Outcome,
    tolerance: f64,
) {
    if level.word() == 2 {
        if let Err(wrong) = norms_agree(cell, got, want) {
            panic!("{name}: {wrong}");
        }
    } else {
        assert_close(name, got, want, tolerance);
    }
}
