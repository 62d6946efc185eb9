//! Residual networks: where dropout acts, texts read step by step, names of the tensors, and whole commands.
//! Their numbers are compared with PyTorch's in `network`, with finite differences in `bidirectional`.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;
use chargru::model::{Cell, Dropout, ModelConfig, Network, State, init, named_vars};
use chargru::runtime::with_threads;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::support::{TestDir, json};

/// A network of random weights, gains among them.
fn network(cell: Cell, layers: usize, vocab: usize) -> Network {
    let config = ModelConfig {
        cell,
        vocab,
        embedding: 5,
        hidden: 17,
        layers,
        residual: true,
        ..ModelConfig::default()
    };
    let weights = init(&config, &mut ChaCha8Rng::seed_from_u64(3), &Device::Cpu).expect("weights");
    for (name, var) in named_vars(&weights).expect("the weights are not locked") {
        if name.starts_with("norm.") {
            let ones = var.flatten_all().and_then(|x| x.to_vec1::<f32>()).expect("numbers");
            assert!(ones.iter().all(|&gain| gain == 1.0), "{name} begins with ones");
            let gains = (0..17).map(|n| 0.3 + (n * 7 % 17) as f32 / 10.0);
            var.set(&Tensor::from_iter(gains, &Device::Cpu).expect("gains")).expect("gains");
        }
    }
    let vb = VarBuilder::from_varmap(&weights, DType::F32, &Device::Cpu);
    Network::new(&config, vb).expect("a network")
}

fn numbers(x: &Tensor) -> Vec<f32> {
    x.flatten_all().expect("numbers").to_vec1().expect("float32")
}

/// Ids [T, B].
fn ids(steps: usize, rows: usize, vocab: u32) -> Tensor {
    let ids = (0..(steps * rows) as u32).map(|n| (n * n + 3 * n) % vocab);
    Tensor::from_iter(ids, &Device::Cpu).and_then(|x| x.reshape((steps, rows))).expect("ids")
}

/// For a vocabulary whose first product is taken once and for one that is too large for that.
#[test]
fn a_session_gives_the_logits_of_a_window() -> Result<()> {
    for (cell, vocab) in Cell::ALL.into_iter().flat_map(|cell| [(cell, 7), (cell, 2000)]) {
        for layers in 1..=3 {
            let fastest = network(cell, layers, vocab);
            let text = ids(6, 3, vocab as u32);
            for network in [fastest.clone(), fastest.reference()] {
                let state = State::zeros(network.config(), 3, &Device::Cpu)?;
                let (hidden, last) = network.forward(&text, &state, None, None)?;
                let want = numbers(&network.logits(&hidden)?);
                let packed = network.pack()?;
                let mut session = packed.session(3)?;
                for (ids, want) in numbers_of_rows(&text).iter().zip(want.chunks(3 * vocab)) {
                    let got = session.step(ids)?;
                    for (got, want) in got.iter().zip(want) {
                        assert!((got - want).abs() < 2e-5, "{cell} {layers} {vocab}: {got} {want}");
                    }
                }
                // What the readout reads is a function of the state.
                let want = numbers(&hidden.get(5)?);
                let state = session.state()?;
                for got in [packed.output(&state)?, network.output(&last)?] {
                    assert_eq!(got.dims(), [3, 17]);
                    for (got, want) in numbers(&got).iter().zip(&want) {
                        assert!((got - want).abs() < 1e-5, "{cell} {layers} {vocab}: {got} {want}");
                    }
                }
            }
        }
    }
    Ok(())
}

fn numbers_of_rows(ids: &Tensor) -> Vec<Vec<u32>> {
    ids.to_vec2().expect("ids")
}

/// A value is zeroed after the normalisation and the sum, or all others would feel it.
#[test]
fn dropout_zeroes_what_a_layer_gives_and_not_what_is_normalised() -> Result<()> {
    let fastest = network(Cell::Gru, 1, 7);
    let text = ids(4, 2, 7);
    for network in [fastest.clone(), fastest.reference()] {
        let state = State::zeros(network.config(), 2, &Device::Cpu)?;
        let dropout = Dropout { hidden: 0.5, recurrent: 0.0, seed: 1, step: 1 };
        let (whole, _) = network.forward(&text, &state, None, None)?;
        let (dropped, _) = network.forward(&text, &state, None, Some(dropout))?;
        let (whole, dropped) = (numbers(&whole), numbers(&dropped));
        let kept = dropped.iter().filter(|&&x| x != 0.0).count();
        assert!((20..116).contains(&kept), "{kept} of {} are kept", whole.len());
        for (dropped, whole) in dropped.iter().zip(&whole) {
            assert!(*dropped == 0.0 || *dropped == 2.0 * whole, "{dropped} of {whole}");
        }
    }
    Ok(())
}

/// More rows than one block of the gains' gradient has.
#[test]
fn threads_do_not_change_the_gradients_of_a_residual_network() -> Result<()> {
    let config = ModelConfig { vocab: 9, hidden: 48, residual: true, ..ModelConfig::default() };
    let weights = init(&config, &mut ChaCha8Rng::seed_from_u64(3), &Device::Cpu).expect("weights");
    let vb = VarBuilder::from_varmap(&weights, DType::F32, &Device::Cpu);
    let network = Network::new(&config, vb)?;
    let (text, targets) = (ids(90, 13, 9), ids(90, 13, 7));
    let state = State::zeros(&config, 13, &Device::Cpu)?;
    let dropout = Dropout { hidden: 0.25, recurrent: 0.1, seed: 1, step: 1 };
    let run = |threads| {
        with_threads(threads, || {
            let found = network.gradients(&text, &targets, &state, None, Some(dropout))?;
            let vars = named_vars(&weights).expect("the weights are not locked");
            let of = |(name, var): &(String, candle_core::Var)| {
                (name.clone(), numbers(found.grads.get(var).expect("a gradient")))
            };
            Ok::<_, candle_core::Error>(vars.iter().map(of).collect::<BTreeMap<_, _>>())
        })
    };
    let one = run(1)?;
    assert!(one["norm.0.weight"].iter().all(|&x| x != 0.0));
    for threads in [2, 3, 5] {
        assert!(run(threads)? == one, "{threads} threads");
    }
    Ok(())
}

#[test]
fn gains_are_named_as_a_list_of_norms_and_take_no_draw() {
    let names = |config: &ModelConfig| -> Vec<String> {
        config.parameters().into_iter().map(|(name, _)| name).collect()
    };
    let plain = ModelConfig { vocab: 7, layers: 2, ..ModelConfig::default() };
    let residual = ModelConfig { residual: true, ..plain.clone() };
    let both = ModelConfig { bidirectional: true, ..residual.clone() };
    let all = names(&residual);
    let gains = |all: &[String]| -> Vec<String> {
        all.iter().filter(|name| name.starts_with("norm")).cloned().collect()
    };
    assert_eq!(gains(&all), ["norm.0.weight", "norm.1.weight"]);
    let reverse = ["norm_reverse.0.weight", "norm_reverse.1.weight"];
    assert_eq!(gains(&names(&both)), [&["norm.0.weight", "norm.1.weight"], &reverse[..]].concat());
    assert!(gains(&names(&plain)).is_empty());
    // The other weights are those of a plain network of the same seed.
    let drawn = |config| {
        let weights = init(config, &mut ChaCha8Rng::seed_from_u64(5), &Device::Cpu).unwrap();
        let vars = named_vars(&weights).unwrap().into_iter();
        vars.map(|(name, var)| (name, numbers(&var))).collect::<BTreeMap<_, _>>()
    };
    let (plain, residual) = (drawn(&plain), drawn(&residual));
    assert!(plain.iter().all(|(name, values)| residual[name] == *values));
}

/// A configuration without the setting is that of a plain network, and one of a plain network has not the
/// setting, so that older programs read it.
#[test]
fn a_plain_configuration_does_not_name_the_setting() {
    let plain = serde_json::to_string(&ModelConfig::default()).expect("JSON");
    assert!(!plain.contains("residual"), "{plain}");
    assert!(!serde_json::from_str::<ModelConfig>(&plain).expect("a configuration").residual);
    let residual = ModelConfig { residual: true, ..ModelConfig::default() };
    let json = serde_json::to_string(&residual).expect("JSON");
    assert_eq!(serde_json::from_str::<ModelConfig>(&json).expect("a configuration"), residual);
}

#[test]
fn every_command_reads_a_residual_model() {
    let dir = TestDir::new();
    let sizes = ["--layers", "2", "--residual", "--steps", "20", "--eval-every", "10"];
    let run = dir.train_tiny("forward", &sizes);
    assert!(run.code == Some(0) && run.stderr.contains("model   residual gru"), "{run:?}");
    let run = dir.train_tiny("both", &[&sizes[..], &["--bidirectional"]].concat());
    assert!(run.code == Some(0) && run.stderr.contains("bidirectional residual gru"), "{run:?}");
    dir.file("text.txt", crate::support::TIDE);
    for model in ["forward", "both"] {
        let at = ["--checkpoint", model];
        let info = dir.ok(&[&["info"], &at[..]].concat());
        assert!(info.contains(", residual") && info.contains("norm.1.weight"), "{info}");
        let eval = json(&dir.ok(&[&["eval", "--json"], &at[..]].concat()));
        let metrics = std::fs::read_to_string(dir.path(model).join("metrics.jsonl")).unwrap();
        let losses = metrics.lines().map(|line| json(line)["val_loss"].as_f64().expect("a loss"));
        let best = losses.fold(f64::INFINITY, f64::min);
        let loss = eval["loss"].as_f64().expect("a loss");
        assert!((loss - best).abs() < 1e-6 * best, "{model}: {loss} {best}");
        dir.ok(&[&["score", "text.txt"], &at[..]].concat());
        dir.ok(&[&["sample", "The ", "--length", "20", "--num", "2"], &at[..]].concat());
    }
    dir.ok(&["fill", "The t_de comes ___ the", "--checkpoint", "both"]);
    dir.ok(&["proofread", "text.txt", "--checkpoint", "both"]);
}

#[test]
fn fine_tuning_keeps_a_residual_model_residual() {
    let dir = TestDir::new();
    let run = dir.train_tiny("run", &["--layers", "2", "--residual"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(dir.train_tiny("plain", &["--layers", "2"]).code, Some(0));
    dir.file("other.txt", "the tide? THE TIDE!\n".repeat(30));
    let tune = "train --corpus other.txt --steps 10 --seq-len 16 --batch 4 --init-from";
    let tune: Vec<&str> = tune.split_whitespace().collect();
    dir.ok(&[&tune[..], &["run", "--extend-vocab", "--out", "tuned"]].concat());
    let info = json(&dir.ok(&["info", "--json", "--checkpoint", "tuned"]));
    assert_eq!(info["model"]["residual"], true);
    let says = ["--residual is another than that of", "leave it out"];
    dir.fails(2, &[&tune[..], &["plain", "--residual", "--out", "other"]].concat(), &says);
    // A checkpoint whose configuration says otherwise does not fit its weights.
    let config = dir.path("run/best/config.json");
    let text = std::fs::read_to_string(&config).expect("config.json");
    let without = text.replace(",\n    \"residual\": true", "");
    assert_ne!(text, without, "{text}");
    std::fs::write(&config, without).expect("written");
    dir.fails(1, &["sample", "--checkpoint", "run"], &["run"]);
}
