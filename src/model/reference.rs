//! The cells' equations in plain tensor operations: the reference. It runs on every device,
//! candle differentiates it, and `fused` is tested against it.

use candle_core::{D, IndexOp, Result, Tensor, bail};
use candle_nn::ops::sigmoid;

use crate::fused::{Cell, Direction, Input, LayerTrace, LayerWeights};

/// What a layer reads as a sequence [T, B, I], looked up where it is given as ids.
pub(super) fn input_sequence(input: Input) -> Result<Tensor> {
    match input {
        Input::Sequence(input) => Ok(input.clone()),
        Input::Embedded { ids, table } => {
            let (steps, batch) = ids.dims2()?;
            table.index_select(&ids.flatten_all()?, 0)?.reshape((steps, batch, ()))
        }
    }
}

/// [`sequence`] in a direction: backward from step T - 1 to step 0, which is then that of the final state.
pub(super) fn directed_sequence(
    (cell, direction): (Cell, Direction),
    input: &Tensor,
    weights: &LayerWeights,
    state: &Tensor,
    resets: Option<&Tensor>,
) -> Result<(Tensor, Tensor)> {
    if direction == Direction::Forward {
        return sequence(cell, input, weights, state, resets);
    }
    let resets = resets.map(flipped).transpose()?;
    let (hidden, last) = sequence(cell, &flipped(input)?, weights, state, resets.as_ref())?;
    Ok((flipped(&hidden)?, last))
}

/// What [`directed_sequence`] computes, with the gates.
pub(super) fn directed_trace(
    (cell, direction): (Cell, Direction),
    input: &Tensor,
    weights: &LayerWeights,
    state: &Tensor,
    resets: Option<&Tensor>,
) -> Result<LayerTrace> {
    if direction == Direction::Forward {
        return trace(cell, input, weights, state, resets);
    }
    let resets = resets.map(flipped).transpose()?;
    let LayerTrace { gates, states, state } =
        trace(cell, &flipped(input)?, weights, state, resets.as_ref())?;
    let states = states.iter().map(flipped).collect::<Result<_>>()?;
    Ok(LayerTrace { gates: flipped(&gates)?, states, state })
}

/// Added to the variance of a normalisation.
const EPSILON: f64 = 1e-5;

/// What a layer of a residual network gives of `hidden` [.., H]: normalised over H, times `gain` [H], plus
/// `below`, which the layer read, if it is given.
pub(super) fn layer_norm(hidden: &Tensor, gain: &Tensor, below: Option<&Tensor>) -> Result<Tensor> {
    let centred = hidden.broadcast_sub(&hidden.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let normal = centred.broadcast_div(&(variance + EPSILON)?.sqrt()?)?.broadcast_mul(gain)?;
    match below {
        Some(below) => normal + below,
        None => Ok(normal),
    }
}

/// The steps of `x` [T, ..] from the last to the first.
fn flipped(x: &Tensor) -> Result<Tensor> {
    let steps = x.dim(0)? as u32;
    x.index_select(&Tensor::from_iter((0..steps).rev(), x.device())?, 0)
}

/// One layer over a window.
///
/// `input` [T, B, I], `state` [S, B, H] with S = 2 for an LSTM (h, then c) and 1 elsewhere,
/// `resets` [T, B] of 0 and 1: where it is 1, the state that enters that step is zero.
/// Returns the hidden sequence [T, B, H] and the final state [S, B, H].
pub fn sequence(
    cell: Cell,
    input: &Tensor,
    weights: &LayerWeights,
    state: &Tensor,
    resets: Option<&Tensor>,
) -> Result<(Tensor, Tensor)> {
    let mut hidden = Vec::new();
    let states = run(cell, input, weights, state, resets, |step| {
        hidden.extend(step.states.first().cloned());
    })?;
    Ok((Tensor::stack(&hidden, 0)?, Tensor::stack(&states, 0)?))
}

/// [`sequence`] with what each step computed.
fn trace(
    cell: Cell,
    input: &Tensor,
    weights: &LayerWeights,
    state: &Tensor,
    resets: Option<&Tensor>,
) -> Result<LayerTrace> {
    let mut steps = Vec::new();
    let last = run(cell, input, weights, state, resets, |step| steps.push(step.clone()))?;
    let gates: Vec<Tensor> =
        steps.iter().map(|step| Tensor::cat(&step.gates, D::Minus1)).collect::<Result<_>>()?;
    let states = (0..cell.states()).map(|s| {
        let of: Vec<&Tensor> = steps.iter().map(|step| &step.states[s]).collect();
        Tensor::stack(&of, 0)
    });
    Ok(LayerTrace {
        gates: Tensor::stack(&gates, 0)?,
        states: states.collect::<Result<_>>()?,
        state: Tensor::stack(&last, 0)?,
    })
}

/// Runs every step of a window and shows it to `look`; gives the final states.
fn run(
    cell: Cell,
    input: &Tensor,
    weights: &LayerWeights,
    state: &Tensor,
    resets: Option<&Tensor>,
    mut look: impl FnMut(&Step),
) -> Result<Vec<Tensor>> {
    let (steps, batch, width) = input.dims3()?;
    let projected = input
        .reshape((steps * batch, width))?
        .matmul(&weights.weight_ih.t()?)?
        .broadcast_add(&weights.bias_ih)?
        .reshape((steps, batch, ()))?;
    // 1 where the state is kept, [T, B, 1].
    let kept = match resets {
        Some(resets) => Some(resets.to_dtype(input.dtype())?.affine(-1.0, 1.0)?.unsqueeze(2)?),
        None => None,
    };
    let mut states: Vec<Tensor> = (0..cell.states()).map(|s| state.i(s)).collect::<Result<_>>()?;
    for t in 0..steps {
        if let Some(kept) = &kept {
            for s in &mut states {
                *s = s.broadcast_mul(&kept.i(t)?)?;
            }
        }
        let step = step(cell, &projected.i(t)?, weights, &states)?;
        look(&step);
        states = step.states;
    }
    Ok(states)
}

/// What one time step computed.
#[derive(Clone)]
struct Step {
    /// G gates after their activations, each [B, H].
    gates: Vec<Tensor>,
    /// h [B, H], and for an LSTM then c.
    states: Vec<Tensor>,
}

/// One time step: `projected` is W_ih x + b_ih [B, G·H]; takes h [B, H] (LSTM: h and c).
fn step(cell: Cell, projected: &Tensor, weights: &LayerWeights, states: &[Tensor]) -> Result<Step> {
    let h = &states[0];
    let size = h.dim(D::Minus1)?;
    let block = |x: &Tensor, first: usize, count: usize| x.narrow(1, first * size, count * size);
    let weight_hh = || match &weights.weight_hh {
        Some(weight) => Ok(weight),
        None => bail!("a {cell} needs a weight_hh, but the layer has none"),
    };
    let recurrent = |h: &Tensor| -> Result<Tensor> {
        let product = h.matmul(&weight_hh()?.t()?)?;
        match &weights.bias_hh {
            Some(bias) => product.broadcast_add(bias),
            None => Ok(product),
        }
    };
    match cell {
        Cell::Gru => {
            let gate_rows = weight_hh()?.narrow(0, 0, 2 * size)?;
            let candidate_rows = weight_hh()?.narrow(0, 2 * size, size)?;
            let gates = sigmoid(&(block(projected, 0, 2)? + h.matmul(&gate_rows.t()?)?)?)?;
            let (r, z) = (block(&gates, 0, 1)?, block(&gates, 1, 1)?);
            let n = (block(projected, 2, 1)? + (&r * h)?.matmul(&candidate_rows.t()?)?)?.tanh()?;
            // h' = (1 - z) h + z n
            let next = ((h + (&z * &n)?)? - (&z * h)?)?;
            Ok(Step { gates: vec![r, z, n], states: vec![next] })
        }
        Cell::GruResetAfter => {
            let from_h = recurrent(h)?;
            let gates = sigmoid(&(block(projected, 0, 2)? + block(&from_h, 0, 2)?)?)?;
            let (r, z) = (block(&gates, 0, 1)?, block(&gates, 1, 1)?);
            let n = (block(projected, 2, 1)? + (&r * block(&from_h, 2, 1)?)?)?.tanh()?;
            // h' = (1 - z) n + z h
            let next = ((&n + (&z * h)?)? - (&z * &n)?)?;
            Ok(Step { gates: vec![r, z, n], states: vec![next] })
        }
        Cell::Lstm => {
            let sums = (projected + recurrent(h)?)?;
            let i = sigmoid(&block(&sums, 0, 1)?)?;
            let f = sigmoid(&block(&sums, 1, 1)?)?;
            let g = block(&sums, 2, 1)?.tanh()?;
            let o = sigmoid(&block(&sums, 3, 1)?)?;
            let c = ((&f * &states[1])? + (&i * &g)?)?;
            let next = (&o * c.tanh()?)?;
            Ok(Step { gates: vec![i, f, g, o], states: vec![next, c] })
        }
        Cell::Rnn => {
            let next = (projected + recurrent(h)?)?.tanh()?;
            Ok(Step { gates: vec![next.clone()], states: vec![next] })
        }
        Cell::MinGru => {
            let (z, a) = (sigmoid(&block(projected, 0, 1)?)?, block(projected, 1, 1)?);
            // n = g(a): a + 0.5 where a >= 0, σ(a) elsewhere
            let n = a.ge(0.0)?.where_cond(&(&a + 0.5)?, &sigmoid(&a)?)?;
            // h' = (1 - z) h + z n
            let next = ((h + (&z * &n)?)? - (&z * h)?)?;
            Ok(Step { gates: vec![z, n], states: vec![next] })
        }
    }
}
