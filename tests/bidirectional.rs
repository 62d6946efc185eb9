//! The bidirectional network: PyTorch's numbers, finite differences, the kernels against tensor operations,
//! and that no position sees itself. The fixture comes from tests/reference/bidirectional.py.

use std::collections::HashMap;

use candle_core::{DType, Device, IndexOp, Result, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};
use chargru::model::{
    AnyNetwork, BidirectionalNetwork, Cell, Direction, Dropout, Gradients, LayerWeights,
    ModelConfig, Network, Precision, Right, State, init, named_vars, reference_sequence,
};
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::support::reference;

/// What the losses of the two halves are multiplied by in the sum that a network is trained on.
const HALF_WEIGHT: f64 = 1.0;

/// Which implementation runs a network.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    Reference,
    Fastest,
}

const BOTH: [By; 2] = [By::Reference, By::Fastest];

fn config(cell: Cell, layers: usize, [vocab, embedding, hidden]: [usize; 3]) -> ModelConfig {
    ModelConfig {
        cell,
        vocab,
        embedding,
        hidden,
        layers,
        dropout: 0.0,
        tie_weights: false,
        bidirectional: true,
        residual: false,
    }
}

/// Initial weights, multiplied by `scale`.
fn drawn(config: &ModelConfig, seed: u64, scale: f64) -> VarMap {
    let weights = init(config, &mut ChaCha8Rng::seed_from_u64(seed), &Device::Cpu).unwrap();
    for (_, var) in named_vars(&weights).unwrap() {
        var.set(&(var.as_tensor() * scale).unwrap()).unwrap();
    }
    weights
}

fn builder(weights: &VarMap) -> VarBuilder<'static> {
    VarBuilder::from_varmap(weights, DType::F32, &Device::Cpu)
}

fn network(config: &ModelConfig, weights: &VarMap, by: By) -> BidirectionalNetwork {
    let network = BidirectionalNetwork::new(config, builder(weights)).unwrap();
    if by == By::Reference { network.reference() } else { network }
}

fn doubles(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Of float32 numbers.
fn bits(x: &Tensor) -> Vec<u32> {
    let values = x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

/// Largest difference within `tolerance` of the expected tensor's largest value.
fn close(what: &str, got: &Tensor, want: &Tensor, tolerance: f64) {
    assert_eq!(got.dims(), want.dims(), "{what}");
    let (got, want) = (doubles(got), doubles(want));
    let scale = want.iter().fold(1e-3, |most: f64, value| most.max(value.abs()));
    for (index, (a, b)) in got.iter().zip(&want).enumerate() {
        assert!(
            (a - b).abs() <= tolerance * scale,
            "{what}[{index}] is {a} but must be {b} (scale {scale})"
        );
    }
}

/// By the name of the parameter.
fn by_name(weights: &VarMap, gradients: &Gradients) -> Vec<(String, Tensor)> {
    let of = |(name, var): (String, Var)| {
        let grad = gradients.grads.get(&var).expect("every parameter has a gradient").clone();
        (name, grad)
    };
    named_vars(weights).unwrap().into_iter().map(of).collect()
}

#[test]
fn agrees_with_two_grus_of_pytorch() -> Result<()> {
    let path = reference("bidirectional.safetensors");
    let tensors = candle_core::safetensors::load(path, &Device::Cpu)?;
    let config = config(Cell::GruResetAfter, 2, [5, 3, 4]);
    let weights = VarMap::new();
    for (name, shape) in config.parameters() {
        assert_eq!(tensors[&name].dims(), shape, "{name}");
        weights.data().lock().unwrap().insert(name.clone(), Var::from_tensor(&tensors[&name])?);
    }
    let [ids, targets] = ["ids", "targets"].map(|name| &tensors[name]);
    let state0 = &tensors["state0"];
    let state = State { layers: (0..2).map(|layer| state0.get(layer)).collect::<Result<_>>()? };
    let right = Right {
        ids: tensors["following"].clone(),
        resets: None,
        margin: Some(tensors["margin"].clone()),
        margin_resets: None,
        scored: Some(tensors["scored"].clone()),
    };
    for by in BOTH {
        let network = network(&config, &weights, by);
        let (hidden, last) = network.forward(ids, &state, None, &right)?;
        let pytorch = |name: &str, got: &Tensor| {
            close(&format!("{by:?} {name}"), got, &tensors[name], 1e-5);
        };
        pytorch("logits", &network.logits(&hidden)?);
        pytorch("state", &Tensor::stack(&last.layers, 0)?);
        let got = network.gradients(ids, targets, &state, None, &right, None)?;
        pytorch("loss", &Tensor::new(got.loss, &Device::Cpu)?);
        pytorch("state", &Tensor::stack(&got.state.layers, 0)?);

        // The losses of the halves come with a factor, which the gradient of a half's own bias shows.
        let got = by_name(&weights, &got);
        let of_bias = |found: &Tensor| doubles(found).iter().map(|x| x * x).sum::<f64>().sqrt();
        let (_, bias) =
            got.iter().find(|(name, _)| name == "forward_readout.bias").expect("the bias");
        let factor = of_bias(bias) / of_bias(&tensors["grad.halves.forward_readout.bias"]);
        assert!(
            (factor - HALF_WEIGHT).abs() < 1e-5,
            "the losses of the halves are trained with a factor of {factor}, and this file says \
             {HALF_WEIGHT}: if that is meant, change HALF_WEIGHT here (the fixture holds for any)"
        );
        for (name, grad) in got {
            let joint = tensors.get(&format!("grad.{name}"));
            let halves = tensors.get(&format!("grad.halves.{name}"));
            let want = match (joint, halves) {
                (Some(joint), Some(halves)) => (joint + (halves * HALF_WEIGHT)?)?,
                (Some(joint), None) => joint.clone(),
                (None, Some(halves)) => (halves * HALF_WEIGHT)?,
                (None, None) => panic!("the fixture has no gradient of {name}"),
            };
            close(&format!("{by:?} {name}"), &grad, &want, 1e-5);
        }
    }
    Ok(())
}

/// A window with everything that one of documents can have.
struct Window {
    ids: Tensor,
    targets: Tensor,
    state: State,
    resets: Tensor,
    right: Right,
}

impl Window {
    /// Of T time steps, a margin of M, and B rows.
    fn new(config: &ModelConfig, [t, m, b]: [usize; 3], seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut below = |bound: usize| rng.next_u32() % bound as u32;
        let mut draw = |steps: usize| {
            let ids: Vec<u32> = (0..steps * b).map(|_| below(config.vocab)).collect();
            Tensor::from_vec(ids, (steps, b), &Device::Cpu).unwrap()
        };
        let (ids, targets, following) = (draw(t), draw(t), draw(t));
        let margin = (m > 0).then(|| draw(m));
        // 1 in one of `of`.
        let mut flags = |steps: usize, of: usize| {
            let flags: Vec<u8> = (0..steps * b).map(|_| u8::from(below(of) == 0)).collect();
            Tensor::from_vec(flags, (steps, b), &Device::Cpu).unwrap()
        };
        let (resets, right_resets) = (flags(t, 4), flags(t, 4));
        let margin_resets = (m > 0).then(|| flags(m, 4));
        let scored = flags(t, 4).eq(0u8).unwrap();
        let shape = (config.cell.states(), b, config.hidden);
        let mut layer = || {
            let count = shape.0 * shape.1 * shape.2;
            let values = (0..count).map(|_| below(1000) as f32 / 500.0 - 1.0).collect();
            Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
        };
        let state = State { layers: (0..config.layers).map(|_| layer()).collect() };
        let right = Right {
            ids: following,
            resets: Some(right_resets),
            margin,
            margin_resets,
            scored: Some(scored),
        };
        Self { ids, targets, state, resets, right }
    }

    fn gradients(
        &self,
        network: &BidirectionalNetwork,
        dropout: Option<Dropout>,
    ) -> Result<Gradients> {
        let (resets, right) = (Some(&self.resets), &self.right);
        network.gradients(&self.ids, &self.targets, &self.state, resets, right, dropout)
    }
}

/// The network in float64, put together here from the equations of one layer.
struct Double<'a> {
    config: &'a ModelConfig,
    weights: HashMap<String, Tensor>,
}

impl Double<'_> {
    fn flip(x: &Tensor) -> Result<Tensor> {
        let steps = x.dim(0)? as u32;
        x.index_select(&Tensor::from_iter((0..steps).rev(), x.device())?, 0)
    }

    /// What the highest layer gives and the final states, from the first id to the last.
    fn stack(
        &self,
        suffix: &str,
        ids: &Tensor,
        state: &[Tensor],
        resets: Option<&Tensor>,
    ) -> Result<(Tensor, Vec<Tensor>)> {
        let (t, b) = ids.dims2()?;
        let table = &self.weights["embedding.weight"];
        let mut x = table.index_select(&ids.flatten_all()?, 0)?.reshape((t, b, ()))?;
        let mut finals = Vec::new();
        for (k, state) in state.iter().enumerate() {
            let named = |kind| self.weights.get(&format!("rnn.{kind}_l{k}{suffix}")).cloned();
            let weights = LayerWeights {
                weight_ih: named("weight_ih").expect("weight_ih"),
                weight_hh: named("weight_hh"),
                bias_ih: named("bias_ih").expect("bias_ih"),
                bias_hh: named("bias_hh"),
            };
            let (hidden, last) = reference_sequence(self.config.cell, &x, &weights, state, resets)?;
            x = match self.weights.get(&format!("norm{suffix}.{k}.weight")) {
                None => hidden,
                Some(gain) => {
                    let centred = hidden.broadcast_sub(&hidden.mean_keepdim(2)?)?;
                    let deviation = (centred.sqr()?.mean_keepdim(2)? + 1e-5)?.sqrt()?;
                    let normal = centred.broadcast_div(&deviation)?.broadcast_mul(gain)?;
                    if k == 0 { normal } else { (normal + &x)? }
                }
            };
            finals.push(last);
        }
        Ok((x, finals))
    }

    /// The state that enters the window from the right.
    fn entering(&self, window: &Window) -> Result<Vec<Tensor>> {
        let zero = State::zeros(self.config, window.ids.dim(1)?, &Device::Cpu)?.layers;
        let zero: Vec<_> =
            zero.iter().map(|state| state.to_dtype(DType::F64)).collect::<Result<_>>()?;
        let Some(margin) = &window.right.margin else { return Ok(zero) };
        let resets = window.right.margin_resets.as_ref().map(Self::flip).transpose()?;
        Ok(self.stack("_reverse", &Self::flip(margin)?, &zero, resets.as_ref())?.1)
    }

    fn nats(&self, readout: &str, hidden: &Tensor, targets: &Tensor) -> Result<Vec<f64>> {
        let weight = &self.weights[&format!("{readout}.weight")];
        let logits = hidden
            .flatten(0, 1)?
            .matmul(&weight.t()?)?
            .broadcast_add(&self.weights[&format!("{readout}.bias")])?;
        let targets = targets.flatten_all()?.unsqueeze(1)?;
        Ok(doubles(&candle_nn::ops::log_softmax(&logits, 1)?.gather(&targets, 1)?.neg()?))
    }

    /// Losses from both sides, of the forward half, of the backward half.
    fn losses(&self, window: &Window, entering: &[Tensor]) -> Result<[f64; 3]> {
        let state = &window.state.layers;
        let state: Vec<_> =
            state.iter().map(|state| state.to_dtype(DType::F64)).collect::<Result<_>>()?;
        let (left, _) = self.stack("", &window.ids, &state, Some(&window.resets))?;
        let resets = window.right.resets.as_ref().map(Self::flip).transpose()?;
        let ids = Self::flip(&window.right.ids)?;
        let (right, _) = self.stack("_reverse", &ids, entering, resets.as_ref())?;
        let right = Self::flip(&right)?;
        let both = Tensor::cat(&[&left, &right], 2)?;
        let scored = doubles(window.right.scored.as_ref().expect("flags"));
        let mean = |nats: Vec<f64>, counts: &[f64]| {
            nats.iter().zip(counts).map(|(nats, count)| nats * count).sum::<f64>()
                / counts.iter().sum::<f64>()
        };
        let targets = &window.targets;
        let all = vec![1.0; scored.len()];
        Ok([
            mean(self.nats("readout", &both, targets)?, &scored),
            mean(self.nats("forward_readout", &left, targets)?, &all),
            mean(self.nats("backward_readout", &right, targets)?, &scored),
        ])
    }
}

/// Central differences in float64, for every entry of every parameter. What the margin gives is held fast,
/// as nothing flows into it.
#[test]
fn gradients_are_the_slopes_of_the_three_losses() -> Result<()> {
    for (cell, residual, layers) in Cell::ALL
        .into_iter()
        .flat_map(|cell| [(cell, false, 2), (cell, true, 1), (cell, true, 2), (cell, true, 3)])
    {
        let hidden = if residual { 5 } else { 3 };
        let config = ModelConfig { residual, ..config(cell, layers, [5, 3, hidden]) };
        let weights = drawn(&config, 11, 1.5);
        // A normalisation multiplies the rounding of what it divides by a small deviation.
        let tolerance = if residual { 1e-4 } else { 2e-6 };
        let window = Window::new(&config, [4, 3, 2], 5);
        let vars = named_vars(&weights).unwrap();
        let wide: HashMap<String, Tensor> = vars
            .iter()
            .map(|(name, var)| Ok((name.clone(), var.to_dtype(DType::F64)?)))
            .collect::<Result<_>>()?;
        let mut double = Double { config: &config, weights: wide.clone() };
        let entering = double.entering(&window)?;
        let [loss, ..] = double.losses(&window, &entering)?;
        let got = BOTH.map(|by| window.gradients(&network(&config, &weights, by), None).unwrap());
        for (by, got) in BOTH.iter().zip(&got) {
            assert!((f64::from(got.loss) - loss).abs() < 1e-6, "{cell} {by:?}: {}", got.loss);
        }
        let got = got.map(|got| by_name(&weights, &got));
        for (place, (name, start)) in got[0].iter().map(|(name, _)| (name, &wide[name])).enumerate()
        {
            let numbers = doubles(start);
            for index in 0..numbers.len() {
                let mut at = |step: f64| -> Result<f64> {
                    let mut moved = numbers.clone();
                    moved[index] += step;
                    let moved = Tensor::from_vec(moved, start.shape(), &Device::Cpu)?;
                    double.weights.insert(name.clone(), moved);
                    let [joint, forward, backward] = double.losses(&window, &entering)?;
                    Ok(joint + HALF_WEIGHT * (forward + backward))
                };
                let slope = (at(1e-5)? - at(-1e-5)?) / 2e-5;
                for (by, got) in BOTH.iter().zip(&got) {
                    let got = doubles(&got[place].1)[index];
                    assert!(
                        (got - slope).abs() < tolerance * slope.abs().max(1.0),
                        "{cell} {by:?} {name}[{index}] is {got} for a slope of {slope}"
                    );
                }
            }
            double.weights.insert(name.clone(), start.clone());
        }
    }
    Ok(())
}

const SHAPES: [[usize; 3]; 4] = [[5, 0, 3], [5, 4, 3], [1, 2, 1], [9, 7, 2]];

/// With resets, unscored targets and dropout, and buffers that grow and shrink from window to window.
#[test]
fn the_kernels_agree_with_tensor_operations() -> Result<()> {
    for cell in Cell::ALL {
        for layers in 1..=3 {
            for (vocab, residual) in [(6, false), (60, false), (6, true), (60, true)] {
                let config = ModelConfig { residual, ..config(cell, layers, [vocab, 4, 17]) };
                let weights = drawn(&config, 3, 1.0);
                let [reference, kernels] = BOTH.map(|by| network(&config, &weights, by));
                for (step, shape) in SHAPES.into_iter().enumerate() {
                    let window = Window::new(&config, shape, 7 + step as u64);
                    for probability in [None, Some(0.25)] {
                        let dropout = probability.map(|probability| Dropout {
                            hidden: probability,
                            recurrent: probability / 2.0,
                            seed: 5,
                            step: step as u64,
                        });
                        let want = window.gradients(&reference, dropout)?;
                        let got = window.gradients(&kernels, dropout)?;
                        let what = format!(
                            "{cell} residual {residual} L={layers} V={vocab} {shape:?} {probability:?}"
                        );
                        assert!((got.loss - want.loss).abs() < 1e-5, "{what}: {}", got.loss);
                        for (got, want) in got.state.layers.iter().zip(&want.state.layers) {
                            close(&what, got, want, 1e-5);
                        }
                        let [got, want] = [got, want].map(|found| by_name(&weights, &found));
                        for ((name, got), (_, want)) in got.iter().zip(&want) {
                            close(&format!("{what} {name}"), got, want, 2e-5);
                        }
                    }
                    let (ids, state) = (&window.ids, &window.state);
                    let run = |network: &BidirectionalNetwork| {
                        network.forward(ids, state, Some(&window.resets), &window.right)
                    };
                    let [(got, _), (want, _)] = [run(&kernels)?, run(&reference)?];
                    close(&format!("{cell} {layers} {shape:?} hidden"), &got, &want, 1e-5);
                }
            }
        }
    }
    Ok(())
}

/// In bfloat16 the 2-norm of a gradient's error stays within what those of single layers have
/// (src/fused/tests/case.rs): for a weight of G gates, of each gate's block.
#[test]
fn products_in_bf16_stay_as_near_as_those_of_one_layer() -> Result<()> {
    if !Precision::bf16_supported() {
        return Ok(());
    }
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    for cell in Cell::ALL {
        let tolerance = if cell == Cell::MinGru { 5e-2 } else { 2e-2 };
        for layers in 1..=2 {
            let config = config(cell, layers, [12, 9, 17]);
            let weights = drawn(&config, 3, 1.0);
            let full = network(&config, &weights, By::Fastest);
            let half = full.with_precision(Precision::Bf16)?;
            for shape in [[7, 0, 5], [7, 6, 5]] {
                let window = Window::new(&config, shape, 7);
                let (want, got) = (window.gradients(&full, None)?, window.gradients(&half, None)?);
                let what = format!("{cell} L={layers} {shape:?}");
                assert_ne!(got.loss.to_bits(), want.loss.to_bits(), "{what}: bf16 changes bits");
                assert!((got.loss - want.loss).abs() <= tolerance as f32, "{what}: {}", got.loss);
                let [got, want] = [got, want].map(|found| by_name(&weights, &found));
                for ((name, got), (_, want)) in got.iter().zip(&want) {
                    let (got, want) = (doubles(got), doubles(want));
                    let gates = if name.starts_with("rnn.") { cell.gates() } else { 1 };
                    let block = want.len() / gates;
                    for (gate, (got, want)) in got.chunks(block).zip(want.chunks(block)).enumerate()
                    {
                        let off = norm(&mut got.iter().zip(want).map(|(g, w)| g - w));
                        let size = norm(&mut want.iter().copied());
                        assert!(
                            off <= tolerance * size.max(1e-3),
                            "{what} {name}, gate {gate}, of norm {size} is off by {off}"
                        );
                    }
                }
            }
        }
    }
    Ok(())
}

/// The logarithms of the probabilities [T, B, V] of what stands at 1 .. T of the texts, given all else of
/// them: each of `texts` has T + 2 + M ids.
fn distribution(network: &BidirectionalNetwork, texts: &[Vec<u32>], t: usize) -> Result<Tensor> {
    let rows = |from: usize, steps: usize| {
        let ids = (from..from + steps).flat_map(|at| texts.iter().map(move |text| text[at]));
        Tensor::from_iter(ids, &Device::Cpu)?.reshape((steps, texts.len()))
    };
    let m = texts[0].len() - t - 2;
    let right = Right {
        ids: rows(2, t)?,
        resets: None,
        margin: if m == 0 { None } else { Some(rows(t + 2, m)?) },
        margin_resets: None,
        scored: None,
    };
    let state = State::zeros(network.config(), texts.len(), &Device::Cpu)?;
    let (hidden, _) = network.forward(&rows(0, t)?, &state, None, &right)?;
    candle_nn::ops::log_softmax(&network.logits(&hidden)?, 2)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Changing x_t leaves the distribution at t as it was, to the bit, and so those of the other texts;
    /// changing any other id of the text changes it.
    ///
    /// That the second cannot be lost in rounding: weights are twice the initial ones, so that a change of
    /// an embedding is large and no gate is shut (a sum of H products of at most 2/√H by values below 1 is
    /// seldom above 2), and the way is at most 5 steps and 3 layers long. With 4 or more ids and 8 or more
    /// hidden values all of several independent sums would have to come out the same. The smallest change
    /// of the largest of the V numbers was 3.6e-4 in 10,000 cases, where a rounding error is 1e-7.
    #[test]
    fn no_position_sees_itself_and_each_sees_all_else(
        (cell, layers, hidden) in (0..Cell::ALL.len(), 1..4usize, 8..24usize),
        (t, m, b) in (1..5usize, 0..4usize, 1..4usize),
        (vocab, by, seed) in (4..10usize, 0..2usize, any::<u64>()),
    ) {
        let (cell, by) = (Cell::ALL[cell], BOTH[by]);
        let config = config(cell, layers, [vocab, 6, hidden]);
        let weights = drawn(&config, seed, 2.0);
        let network = network(&config, &weights, by);
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 1);
        let mut below = |bound: usize| rng.next_u32() as usize % bound;
        let texts: Vec<Vec<u32>> =
            (0..b).map(|_| (0..t + 2 + m).map(|_| below(vocab) as u32).collect()).collect();
        let before = distribution(&network, &texts, t).unwrap();
        let of = |all: &Tensor, at: usize, row: usize| bits(&all.i((at, row)).unwrap());
        let row = below(b);
        for changed in 0..t + 2 + m {
            let mut texts = texts.clone();
            let id = &mut texts[row][changed];
            *id = (*id + 1 + below(vocab - 1) as u32) % vocab as u32;
            let after = distribution(&network, &texts, t).unwrap();
            for at in 0..t {
                for other in 0..b {
                    let same = of(&before, at, other) == of(&after, at, other);
                    let sees = other == row && changed != at + 1;
                    prop_assert!(
                        same != sees,
                        "{cell} L={layers} H={hidden} V={vocab} {by:?}, seed {seed}: x_{changed} of row \
                         {row}, and the distribution at {} of row {other}: the same is {same}", at + 1
                    );
                }
            }
        }
    }

    /// The halves are the networks of one direction that their weights make, to the bit: the backward one
    /// of the text from its end.
    #[test]
    fn a_half_is_the_network_of_one_direction_of_its_weights(
        (cell, layers, hidden) in (0..Cell::ALL.len(), 1..4usize, 1..24usize),
        (t, b, vocab) in (1..8usize, 1..4usize, 2..40usize),
        (by, seed) in (0..2usize, any::<u64>()),
    ) {
        let (cell, by) = (Cell::ALL[cell], BOTH[by]);
        let config = config(cell, layers, [vocab, 5, hidden]);
        let weights = drawn(&config, seed, 1.0);
        let both = network(&config, &weights, by);
        let window = Window::new(&config, [t, 0, b], seed);
        let one = ModelConfig { bidirectional: false, ..config.clone() };
        let (hidden, _) =
            both.forward(&window.ids, &window.state, Some(&window.resets), &window.right).unwrap();
        for (half, readout) in
            [(both.forward_half(), "forward_readout"), (both.backward_half(), "backward_readout")]
        {
            let backward = half.direction() == Direction::Reverse;
            let own = VarMap::new();
            for (name, var) in named_vars(&weights).unwrap() {
                let name = match name.strip_suffix("_reverse") {
                    Some(name) if backward => name.to_string(),
                    None if name.starts_with("rnn.") && !backward => name,
                    None if name.starts_with("embedding.") => name,
                    _ if name.starts_with(readout) => name.replace(readout, "readout"),
                    _ => continue,
                };
                own.data().lock().unwrap().insert(name, var);
            }
            let alone = Network::new(&one, builder(&own)).unwrap();
            let alone = if by == By::Reference { alone.reference() } else { alone };
            let turn = |x: &Tensor| if backward { Double::flip(x).unwrap() } else { x.clone() };
            let (ids, resets, state, part) = if backward {
                let zero = State::zeros(&one, b, &Device::Cpu).unwrap();
                (&window.right.ids, window.right.resets.as_ref().unwrap(), zero, 1)
            } else {
                (&window.ids, &window.resets, window.state.clone(), 0)
            };
            let (own, own_last) = half.forward(ids, &state, Some(resets), None).unwrap();
            let (other, last) =
                alone.forward(&turn(ids), &state, Some(&turn(resets)), None).unwrap();
            prop_assert_eq!(bits(&own), bits(&turn(&other)));
            let side = hidden.narrow(2, part * config.hidden, config.hidden).unwrap();
            prop_assert_eq!(bits(&side), bits(&own));
            for (a, b) in own_last.layers.iter().zip(&last.layers) {
                prop_assert_eq!(bits(a), bits(b));
            }
            let logits = half.logits(&own).unwrap();
            prop_assert_eq!(bits(&logits), bits(&turn(&alone.logits(&other).unwrap())));
        }
    }
}

#[test]
fn a_window_without_a_scored_target_costs_nothing_and_trains_the_forward_half() -> Result<()> {
    for by in BOTH {
        let config = config(Cell::Gru, 2, [6, 4, 5]);
        let weights = drawn(&config, 3, 1.0);
        let mut window = Window::new(&config, [4, 2, 2], 3);
        window.right.scored = Some(Tensor::zeros((4, 2), DType::U8, &Device::Cpu)?);
        let got = window.gradients(&network(&config, &weights, by), None)?;
        assert_eq!(got.loss, 0.0, "{by:?}");
        for (name, grad) in by_name(&weights, &got) {
            let sum: f64 = doubles(&grad).iter().map(|x| x.abs()).sum();
            let of_forward = !name.ends_with("_reverse")
                && !name.starts_with("readout")
                && !name.starts_with("backward_readout");
            assert_eq!(sum > 0.0, of_forward, "{by:?} {name}: {sum}");
            assert!(sum.is_finite(), "{by:?} {name}");
        }
    }
    Ok(())
}

#[test]
fn dropout_does_not_zero_the_same_values_in_both_halves() -> Result<()> {
    let config = config(Cell::Rnn, 2, [6, 4, 32]);
    let weights = drawn(&config, 3, 1.0);
    let window = Window::new(&config, [1, 0, 32], 3);
    let dropout = Some(Dropout { hidden: 0.5, recurrent: 0.2, seed: 5, step: 1 });
    for by in BOTH {
        let network = network(&config, &weights, by);
        let zeroed = |half: &Network| {
            let (hidden, _) = half.forward(&window.ids, &window.state, None, dropout).unwrap();
            doubles(&hidden).into_iter().map(|value| value == 0.0).collect::<Vec<_>>()
        };
        let [left, right] = [network.forward_half(), network.backward_half()].map(zeroed);
        // 1024 values: half of the pairs are alike, give or take five standard errors.
        let alike = left.iter().zip(&right).filter(|(a, b)| a == b).count();
        assert!((432..592).contains(&alike), "{by:?}: {alike} of 1024 are alike");
    }
    Ok(())
}

#[test]
fn windows_that_do_not_fit_are_errors() -> Result<()> {
    let config = config(Cell::Lstm, 2, [6, 4, 5]);
    let weights = drawn(&config, 3, 1.0);
    let ids = |steps: usize, b: usize, id: u32| {
        Tensor::full(id, (steps, b), &Device::Cpu).expect("a tensor")
    };
    type Change = fn(&mut Right, &dyn Fn(usize, usize, u32) -> Tensor);
    let changes: [(&str, Change); 6] = [
        ("T of the right", |right, ids| right.ids = ids(3, 2, 0)),
        ("B of the right", |right, ids| right.ids = ids(4, 3, 0)),
        ("an id of the right", |right, ids| right.ids = ids(4, 2, 6)),
        ("B of the margin", |right, ids| right.margin = Some(ids(2, 3, 0))),
        ("an id of the margin", |right, ids| right.margin = Some(ids(2, 2, 6))),
        ("B of the flags", |right, _| {
            right.scored = Some(Tensor::zeros((4, 3), DType::U8, &Device::Cpu).expect("flags"));
        }),
    ];
    for by in BOTH {
        let network = network(&config, &weights, by);
        for (what, change) in changes {
            let mut window = Window::new(&config, [4, 2, 2], 3);
            // The flags are for the shapes that do fit.
            (window.right.resets, window.right.margin_resets) = (None, None);
            window.gradients(&network, None)?;
            change(&mut window.right, &ids);
            assert!(window.gradients(&network, None).is_err(), "{by:?} {what}");
        }
        // Errors leave the buffers fit for use.
        let window = Window::new(&config, [4, 2, 2], 3);
        window.gradients(&network, None)?;
    }
    let one = ModelConfig { bidirectional: false, ..config.clone() };
    assert!(BidirectionalNetwork::new(&one, builder(&weights)).is_err());
    assert!(Network::new(&config, builder(&weights)).is_err());
    let any = AnyNetwork::new(&config, builder(&weights))?;
    let Window { ids, targets, state, .. } = Window::new(&config, [4, 2, 2], 3);
    let without = any.gradients((&ids, &targets), &state, None, None, None);
    assert!(without.is_err_and(|error| error.to_string().contains("nothing from the right")));
    Ok(())
}
