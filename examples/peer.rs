//! One line of speed for `benches/peers/compare.py`, counted as the PyTorch scripts beside it count:
//! 65 ids drawn outside the timed part, the first three steps dropped, the median of the rest.
//!
//!     cargo run --release --example peer -- train --hidden 512 --layers 2 --batch 64 --seq-len 128
//!     cargo run --release --example peer -- candle-nn (the same, by candle_nn::GRU and candle's AdamW)
//!     cargo run --release --example peer -- sample --hidden 512 --layers 2 --threads 1

use std::time::Instant;

use anyhow::{Result, bail};
use candle_core::{DType, Device, Tensor};
use candle_nn::{Embedding, GRU, Linear, Module, Optimizer, RNN, VarBuilder, VarMap};
use chargru::fused::Precision;
use chargru::generate::{GenerateConfig, Generator};
use chargru::model::{Cell, ModelConfig, Network, State, init, named_vars};
use chargru::text::{Tokenizer, VocabularyOptions};
use chargru::train::{AdamW, AdamWConfig};
use clap::{Parser, ValueEnum};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const VOCAB: usize = 65;

#[derive(Parser)]
struct Args {
    work: Work,
    #[arg(long, value_enum, default_value_t = Cell::Gru)]
    cell: Cell,
    #[arg(long, default_value_t = 512)]
    hidden: usize,
    #[arg(long, default_value_t = 2)]
    layers: usize,
    #[arg(long, default_value_t = 64)]
    batch: usize,
    #[arg(long, default_value_t = 128)]
    seq_len: usize,
    #[arg(long, default_value_t = 12)]
    steps: usize,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    #[arg(long, value_enum, default_value_t)]
    precision: Precision,
}

#[derive(Clone, Copy, ValueEnum)]
enum Work {
    Train,
    CandleNn,
    Sample,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if args.steps < 4 {
        bail!(
            "--steps is {}: the first three are not counted, give at least 4",
            args.steps
        );
    }
    rayon::ThreadPoolBuilder::new()
        .num_threads(args.threads)
        .build_global()?;
    match args.work {
        Work::Train => train(&args),
        Work::CandleNn => candle_nn(&args),
        Work::Sample => sample(&args),
    }
}

fn model(args: &Args) -> ModelConfig {
    ModelConfig {
        cell: args.cell,
        vocab: VOCAB,
        embedding: args.hidden,
        hidden: args.hidden,
        layers: args.layers,
        dropout: 0.0,
        tie_weights: false,
    }
}

fn random_ids(args: &Args, rng: &mut ChaCha8Rng) -> Result<Tensor> {
    let count = args.seq_len * args.batch;
    let ids: Vec<u32> = (0..count)
        .map(|_| rng.random_range(0..VOCAB as u32))
        .collect();
    Ok(Tensor::from_vec(
        ids,
        (args.seq_len, args.batch),
        &Device::Cpu,
    )?)
}

/// Times `step` and prints the line.
fn report(
    args: &Args,
    what: &str,
    mut step: impl FnMut(&Tensor, &Tensor) -> Result<()>,
) -> Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut seconds = Vec::new();
    for _ in 0..args.steps {
        let (ids, targets) = (random_ids(args, &mut rng)?, random_ids(args, &mut rng)?);
        let start = Instant::now();
        step(&ids, &targets)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    let mut counted = seconds.split_off(3);
    counted.sort_by(f64::total_cmp);
    let median = counted[counted.len() / 2];
    println!(
        "{what} {} H={} L={} B={} T={} {:?} threads={} {:.1} ms/step {:.0} char/s",
        args.cell,
        args.hidden,
        args.layers,
        args.batch,
        args.seq_len,
        args.precision,
        args.threads,
        median * 1e3,
        (args.batch * args.seq_len) as f64 / median
    );
    Ok(())
}

fn train(args: &Args) -> Result<()> {
    args.precision.ensure_supported()?;
    let config = model(args);
    let weights = init(&config, &mut ChaCha8Rng::seed_from_u64(0), &Device::Cpu)?;
    let vb = VarBuilder::from_varmap(&weights, DType::F32, &Device::Cpu);
    let network = Network::new(&config, vb)?.with_precision(args.precision);
    let mut optimizer = AdamW::named(
        named_vars(&weights)?,
        AdamWConfig {
            lr: 2e-3,
            ..AdamWConfig::default()
        },
    )?;
    let state = State::zeros(&config, args.batch, &Device::Cpu)?;
    report(args, "chargru train", |ids, targets| {
        let (hidden, _) = network.forward(ids, &state, None, None)?;
        let loss = network.loss(&hidden, targets)?;
        let grads = loss.backward()?;
        let norm = optimizer.gradient_norm(&grads)?;
        Ok(optimizer.step_scaled(&grads, (1.0 / norm).min(1.0))?)
    })
}

/// The same work by candle's own parts.
fn candle_nn(args: &Args) -> Result<()> {
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
    let size = args.hidden;
    let embedding: Embedding = candle_nn::embedding(VOCAB, size, vb.pp("embedding"))?;
    let layers: Vec<GRU> = (0..args.layers)
        .map(|k| candle_nn::gru(size, size, Default::default(), vb.pp(format!("l{k}"))))
        .collect::<candle_core::Result<_>>()?;
    let readout: Linear = candle_nn::linear(size, VOCAB, vb.pp("readout"))?;
    let vars = map.all_vars();
    let mut optimizer = candle_nn::AdamW::new(
        vars.clone(),
        candle_nn::ParamsAdamW {
            lr: 2e-3,
            ..Default::default()
        },
    )?;
    report(args, "candle-nn", |ids, targets| {
        // candle's GRU reads batch first.
        let mut x = embedding.forward(&ids.t()?.contiguous()?)?;
        for layer in &layers {
            let states = layer.seq(&x)?;
            x = layer.states_to_tensor(&states)?;
        }
        let logits = readout.forward(&x.flatten_to(1)?)?;
        let targets = targets.t()?.flatten_all()?;
        let loss = candle_nn::loss::cross_entropy(&logits, &targets)?;
        let mut grads = loss.backward()?;
        let mut sum = 0.0;
        for var in &vars {
            if let Some(grad) = grads.get(var) {
                sum += f64::from(grad.sqr()?.sum_all()?.to_scalar::<f32>()?);
            }
        }
        let scale = (1.0 / sum.sqrt()).min(1.0);
        for var in &vars {
            if let Some(grad) = grads.remove(var) {
                grads.insert(var, (grad * scale)?);
            }
        }
        Ok(optimizer.step(&grads)?)
    })
}

/// 400 characters at temperature 0.8; the best of five passes.
fn sample(args: &Args) -> Result<()> {
    let text: String = ('0'..).take(VOCAB).collect();
    let (tokenizer, _) = Tokenizer::build(&text, &VocabularyOptions::default())?;
    let config = model(args);
    let weights = init(&config, &mut ChaCha8Rng::seed_from_u64(0), &Device::Cpu)?;
    let vb = VarBuilder::from_varmap(&weights, DType::F32, &Device::Cpu);
    let network = Network::new(&config, vb)?;
    let length = 400;
    let options = GenerateConfig {
        length,
        ..GenerateConfig::default()
    };
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let mut generator = Generator::new(&network, &tokenizer, &[0], &options)?;
        let start = Instant::now();
        while generator.advance(|_| Ok(()))? {}
        best = best.min(start.elapsed().as_secs_f64() / length as f64);
    }
    println!(
        "chargru sample {} H={} L={} threads={} {:.0} char/s",
        args.cell,
        args.hidden,
        args.layers,
        args.threads,
        1.0 / best
    );
    Ok(())
}
