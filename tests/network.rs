//! Both implementations of every cell against PyTorch's numbers and against finite differences.
//! The fixtures come from tests/reference/cells.py (torch 2.15, seed 7, non-zero state and biases, L = 2).

use std::collections::HashMap;

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};
use chargru::model::{Cell, Dropout, ModelConfig, Network, State, init, named_vars};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::support::reference;

/// Which implementation runs a network.
#[derive(Clone, Copy, Debug)]
enum By {
    Reference,
    Fastest,
}

impl By {
    fn run(self, network: Network) -> Network {
        match self {
            Self::Reference => network.reference(),
            Self::Fastest => network,
        }
    }
}

struct Fixture {
    tensors: HashMap<String, Tensor>,
    config: ModelConfig,
    weights: VarMap,
    state: Vec<Var>,
}

impl Fixture {
    fn load(cell: Cell, residual: bool) -> Result<Self> {
        let path = reference(&format!("{}.safetensors", cell.name().replace('-', "_")));
        let tensors = candle_core::safetensors::load(path, &Device::Cpu)?;
        let config = ModelConfig {
            cell,
            vocab: 7,
            embedding: 5,
            hidden: 6,
            layers: 2,
            dropout: 0.0,
            tie_weights: false,
            bidirectional: false,
            residual,
        };
        let weights = VarMap::new();
        for (name, shape) in config.parameters() {
            let tensor = &tensors[&name];
            assert_eq!(tensor.dims(), shape, "{name}");
            let var = Var::from_tensor(tensor)?;
            weights.data().lock().unwrap().insert(name, var);
        }
        let state = (0..2)
            .map(|layer| Var::from_tensor(&tensors["state0"].get(layer)?))
            .collect::<Result<_>>()?;
        Ok(Self { tensors, config, weights, state })
    }

    fn check(&self, by: By, prefix: &str) -> Result<()> {
        let vb = VarBuilder::from_varmap(&self.weights, DType::F32, &Device::Cpu);
        let network = by.run(Network::new(&self.config, vb)?);
        let state = State { layers: self.state.iter().map(|v| v.as_tensor().clone()).collect() };
        let resets = (!prefix.is_empty()).then(|| &self.tensors["resets"]);
        let (hidden, last) = network.forward(&self.tensors["ids"], &state, resets, None)?;
        let loss = network.loss(&hidden, &self.tensors["targets"])?;
        let mut objective = loss.clone();
        for (layer, state) in last.layers.iter().enumerate() {
            let seed = self.tensors["seed_state"].get(layer)?;
            objective = (objective + (state * seed)?.sum_all()?)?;
        }
        let grads = objective.backward()?;
        let what = |name: &str| format!("{:?} {by:?} {prefix}{name}", self.config.cell);
        let expected = |name: &str| &self.tensors[&format!("{prefix}{name}")];
        close(&what("hidden"), &hidden, expected("hidden"))?;
        close(&what("logits"), &network.logits(&hidden)?, expected("logits"))?;
        close(&what("loss"), &loss, expected("loss"))?;
        close(&what("state"), &Tensor::stack(&last.layers, 0)?, expected("state"))?;
        for (name, var) in named_vars(&self.weights).expect("the weights are not locked") {
            let grad = grads.get(&var).expect("every parameter has a gradient");
            close(&what(&name), grad, expected(&format!("grad.{name}")))?;
        }
        let state_grads: Vec<Tensor> = self
            .state
            .iter()
            .map(|s| grads.get(s).expect("the state has a gradient").clone())
            .collect();
        close(&what("state0"), &Tensor::stack(&state_grads, 0)?, expected("grad.state0"))
    }
}

/// Largest difference within 1e-5 of the expected tensor's largest value.
fn close(what: &str, got: &Tensor, expected: &Tensor) -> Result<()> {
    assert_eq!(got.dims(), expected.dims(), "{what}");
    let flat = |t: &Tensor| t.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>();
    let (got, expected) = (flat(got)?, flat(expected)?);
    let scale = expected.iter().fold(1e-3, |m: f64, v| m.max(v.abs()));
    for (index, (a, b)) in got.iter().zip(&expected).enumerate() {
        assert!(
            (a - b).abs() <= 1e-5 * scale,
            "{what}[{index}] is {a}, PyTorch has {b} (scale {scale})"
        );
    }
    Ok(())
}

#[test]
fn agrees_with_pytorch() -> Result<()> {
    for cell in Cell::ALL {
        let (plain, residual) = (Fixture::load(cell, false)?, Fixture::load(cell, true)?);
        for by in [By::Reference, By::Fastest] {
            plain.check(by, "")?;
            plain.check(by, "resets.")?;
            residual.check(by, "residual.")?;
        }
    }
    Ok(())
}

/// A small network with initial weights.
fn fresh(cell: Cell, by: By, tie_weights: bool) -> (VarMap, Network) {
    fresh_with(cell, by, |config| config.tie_weights = tie_weights)
}

/// The same with other settings.
fn fresh_with(cell: Cell, by: By, change: impl FnOnce(&mut ModelConfig)) -> (VarMap, Network) {
    let mut config = ModelConfig {
        cell,
        vocab: 5,
        embedding: 4,
        hidden: 4,
        layers: 2,
        dropout: 0.0,
        tie_weights: false,
        bidirectional: false,
        residual: false,
    };
    change(&mut config);
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let weights = init(&config, &mut rng, &Device::Cpu).unwrap();
    let vb = VarBuilder::from_varmap(&weights, DType::F32, &Device::Cpu);
    let network = by.run(Network::new(&config, vb).unwrap());
    (weights, network)
}

/// (f(w + d) - f(w - d)) / 2d for a few entries of every parameter.
#[test]
fn agrees_with_finite_differences() -> Result<()> {
    let ids = Tensor::new(&[[0u32, 3], [1, 4], [2, 0], [4, 4]], &Device::Cpu)?;
    let targets = Tensor::new(&[[1u32, 4], [2, 0], [4, 4], [0, 3]], &Device::Cpu)?;
    for cell in Cell::ALL {
        for (by, tied) in [(By::Reference, false), (By::Fastest, false), (By::Fastest, true)] {
            let (weights, network) = fresh(cell, by, tied);
            let state = State::zeros(network.config(), 2, &Device::Cpu)?;
            let loss = || -> Result<Tensor> {
                let (hidden, _) = network.forward(&ids, &state, None, None)?;
                network.loss(&hidden, &targets)
            };
            let grads = loss()?.backward()?;
            for (name, var) in named_vars(&weights).expect("the weights are not locked") {
                let grad = grads.get(&var).expect("a gradient").flatten_all()?.to_vec1::<f32>()?;
                let start = var.flatten_all()?.to_vec1::<f32>()?;
                for index in [0, start.len() / 2, start.len() - 1] {
                    let at = |shift: f32| -> Result<f64> {
                        let mut moved = start.clone();
                        moved[index] += shift;
                        var.set(&Tensor::from_vec(moved, var.shape(), &Device::Cpu)?)?;
                        Ok(f64::from(loss()?.to_scalar::<f32>()?))
                    };
                    let slope = (at(2e-3)? - at(-2e-3)?) / 4e-3;
                    var.set(&Tensor::from_slice(&start, var.shape(), &Device::Cpu)?)?;
                    assert!(
                        (slope - f64::from(grad[index])).abs() < 2e-4,
                        "{cell:?} {by:?} {name}[{index}]: {slope} against {}",
                        grad[index]
                    );
                }
            }
        }
    }
    Ok(())
}

/// What training uses gives what the ops and candle's backward pass give, to the bit: with carried
/// state, resets, dropout and tied weights, twice (buffers are reused), for a vocabulary that is larger
/// than the window, and for residual networks of one layer and of more.
#[test]
fn a_window_s_gradients_are_those_of_the_ops() -> Result<()> {
    let ids = Tensor::new(&[[0u32, 3], [1, 4], [2, 0], [4, 4]], &Device::Cpu)?;
    let targets = Tensor::new(&[[1u32, 4], [2, 0], [4, 4], [0, 3]], &Device::Cpu)?;
    let resets = Tensor::new(&[[0u8, 1], [0, 0], [1, 0], [0, 0]], &Device::Cpu)?;
    let dropout = |step| Dropout { hidden: 0.25, recurrent: 0.1, seed: 5, step };
    let numbers = |t: &Tensor| t.flatten_all()?.to_vec1::<f32>();
    for cell in Cell::ALL {
        for (tied, resets, drops, steps, residual, layers) in [
            (false, None, false, 4, false, 2),
            (true, Some(&resets), true, 4, false, 2),
            (false, Some(&resets), true, 4, false, 2),
            (true, None, true, 2, false, 2),
            (false, None, true, 4, true, 1),
            (true, Some(&resets), true, 4, true, 2),
            (false, Some(&resets), false, 4, true, 2),
            (false, Some(&resets), true, 2, true, 3),
        ] {
            let (weights, network) = fresh_with(cell, By::Fastest, |config| {
                (config.tie_weights, config.residual, config.layers) = (tied, residual, layers);
            });
            let narrow = |t: &Tensor| t.narrow(0, 0, steps)?.contiguous();
            let (ids, targets) = (narrow(&ids)?, narrow(&targets)?);
            let resets = resets.map(narrow).transpose()?;
            let mut state = State::zeros(network.config(), 2, &Device::Cpu)?;
            for step in 0..2 {
                let dropout = drops.then(|| dropout(step));
                let (hidden, last) = network.forward(&ids, &state, resets.as_ref(), dropout)?;
                let loss = network.loss(&hidden, &targets)?;
                let grads = loss.backward()?;
                let got = network.gradients(&ids, &targets, &state, resets.as_ref(), dropout)?;
                assert_eq!(got.loss, loss.to_scalar::<f32>()?, "{cell:?} {tied}");
                for (name, var) in named_vars(&weights).expect("the weights are not locked") {
                    let [got, expected] =
                        [&got.grads, &grads].map(|grads| grads.get(&var).expect("a gradient"));
                    assert_eq!(numbers(got)?, numbers(expected)?, "{cell:?} {tied} {name}");
                }
                for (got, expected) in got.state.layers.iter().zip(&last.layers) {
                    assert_eq!(got.dims(), expected.dims());
                    assert_eq!(numbers(got)?, numbers(expected)?, "{cell:?} {tied} state");
                }
                state = got.state;
            }
        }
    }
    Ok(())
}

/// Two windows with the state carried give the hidden sequence of one.
#[test]
fn carries_the_state_across_windows() -> Result<()> {
    let ids = Tensor::new(&[[0u32, 3], [1, 4], [2, 0], [4, 4]], &Device::Cpu)?;
    for cell in Cell::ALL {
        for by in [By::Reference, By::Fastest] {
            let (_weights, network) = fresh(cell, by, false);
            let zero = State::zeros(network.config(), 2, &Device::Cpu)?;
            let (whole, whole_state) = network.forward(&ids, &zero, None, None)?;
            let (first, state) = network.forward(&ids.narrow(0, 0, 2)?, &zero, None, None)?;
            let second_ids = ids.narrow(0, 2, 2)?.contiguous()?;
            let (second, state) = network.forward(&second_ids, &state.detach(), None, None)?;
            close("windows", &Tensor::cat(&[first, second], 0)?, &whole)?;
            for (a, b) in state.layers.iter().zip(&whole_state.layers) {
                close("state", a, b)?;
            }
            // And the state matters.
            let (alone, _) = network.forward(&second_ids, &zero, None, None)?;
            let difference = (alone - whole.narrow(0, 2, 2)?)?.abs()?.max_all()?;
            assert!(difference.to_scalar::<f32>()? > 1e-3);
        }
    }
    Ok(())
}

/// 131 rows of 5,000 logits are three blocks.
#[test]
fn costs_taken_in_blocks_of_rows_are_those_of_all_rows_at_once() -> Result<()> {
    let config = ModelConfig { vocab: 5000, embedding: 4, hidden: 6, ..ModelConfig::default() };
    let weights = init(&config, &mut ChaCha8Rng::seed_from_u64(3), &Device::Cpu).unwrap();
    let vb = VarBuilder::from_varmap(&weights, DType::F32, &Device::Cpu);
    let network = Network::new(&config, vb)?;
    let hidden = Tensor::rand(-1f32, 1f32, (131, 1, 6), &Device::Cpu)?;
    let targets =
        Tensor::from_iter((0..131u32).map(|n| n * 37), &Device::Cpu)?.reshape((131, 1))?;
    let logits = network.logits(&hidden)?;
    let whole =
        candle_nn::ops::log_softmax(&logits, 2)?.gather(&targets.unsqueeze(2)?, 2)?.neg()?;
    let got = network.token_nll(&hidden, &targets)?;
    assert_eq!(got.dims(), [131, 1]);
    let numbers = |x: &Tensor| x.flatten_all()?.to_vec1::<f32>();
    assert_eq!(numbers(&got)?, numbers(&whole)?);
    Ok(())
}

/// Initial weights of a network of E = 48, H = 32, by name.
fn drawn(seed: u64) -> Vec<(String, Vec<f32>)> {
    let config = ModelConfig { vocab: 60, embedding: 48, hidden: 32, ..ModelConfig::default() };
    let weights = init(&config, &mut ChaCha8Rng::seed_from_u64(seed), &Device::Cpu).unwrap();
    let numbers = |var: Var| var.flatten_all().unwrap().to_vec1().unwrap();
    named_vars(&weights).unwrap().into_iter().map(|(name, var)| (name, numbers(var))).collect()
}

#[test]
fn one_seed_gives_one_set_of_weights_and_another_seed_others() {
    assert_eq!(drawn(11), drawn(11));
    for ((name, one), (_, other)) in drawn(11).iter().zip(&drawn(12)) {
        let equal = one.iter().zip(other).filter(|(a, b)| a == b).count();
        assert!(equal * 100 < one.len(), "{name}: {equal} of {} are equal", one.len());
    }
    // No two tensors begin alike, as they would if each began the generator anew.
    let mut begins: Vec<[u32; 8]> = drawn(11)
        .iter()
        .map(|(_, values)| std::array::from_fn(|index| values[index].to_bits()))
        .collect();
    begins.sort_unstable();
    assert!(begins.windows(2).all(|pair| pair[0] != pair[1]), "two tensors begin alike");
}

/// Uniform in ±√(3/E) and ±1/√H: the variance of ±a is a²/3.
#[test]
fn initial_weights_are_spread_as_documented() {
    for (name, values) in drawn(11) {
        let bound = if name == "embedding.weight" { 3.0 / 48.0 } else { 1.0 / 32.0 };
        let bound = f64::sqrt(bound);
        let values: Vec<f64> = values.into_iter().map(f64::from).collect();
        assert!(values.iter().all(|value| value.abs() <= bound), "{name} leaves ±{bound}");
        // The smallest tensor has 60 values: allow four standard errors.
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| value * value).sum::<f64>() / count;
        let (expected, slack) = (bound * bound / 3.0, 4.0 / count.sqrt());
        assert!(mean.abs() < slack * expected.sqrt(), "{name}: the mean is {mean}");
        // The variance of the square of a uniform value is 4/5 of its mean's square.
        let slack = slack * f64::sqrt(0.8);
        assert!((variance / expected - 1.0).abs() < slack, "{name}: the variance is {variance}");
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let repeated = sorted.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!(repeated * 100 < sorted.len(), "{name}: {repeated} values are repeated");
    }
}
