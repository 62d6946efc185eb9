//! One line of speed for `benches/peers/compare.py`, counted as the PyTorch scripts beside it count:
//! 65 ids drawn outside the timed part, the first three steps dropped, the median of the rest.
//!
//!     cargo run --release --example peer -- train --hidden 512 --layers 2 --batch 64 --seq-len 128
//!     cargo run --release --example peer -- candle-nn (the same, by candle_nn::GRU and candle's AdamW)
//!     cargo run --release --example peer -- floor (what the arithmetic of `train` takes at least)
//!     cargo run --release --example peer -- both-directions (a bidirectional step against two others)
//!     cargo run --release --example peer -- residual (a step of a residual network against a plain one)
//!     cargo run --release --example peer -- cores (what `train` would take on up to 16 threads)
//!     cargo run --release --example peer -- sample --hidden 512 --layers 2 --threads 1

mod cores;
mod work;

use std::time::Instant;

use anyhow::{Result, bail};
use candle_core::{DType, Device, Tensor};
use candle_nn::{Embedding, GRU, Linear, Module, Optimizer, RNN, VarBuilder, VarMap};
use chargru::fused::Precision;
use chargru::model::{Cell, ModelConfig};
use chargru::runtime::with_threads;
use clap::{Parser, ValueEnum};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use work::{TrainStep, VOCAB, Writer, model, random_ids};

#[derive(Parser)]
struct Args {
    work: Work,
    #[arg(long, value_enum, default_value_t = Cell::Gru)]
    cell: Cell,
    #[arg(long, default_value_t = 512)]
    hidden: usize,
    #[arg(long, default_value_t = 2)]
    layers: usize,
    /// Of a residual network
    #[arg(long)]
    residual: bool,
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
    BothDirections,
    Residual,
    CandleNn,
    Sample,
    Floor,
    Cores,
}

impl Args {
    fn model(&self) -> ModelConfig {
        ModelConfig { residual: self.residual, ..model(self.cell, self.hidden, self.layers) }
    }

    fn shape(&self) -> String {
        format!(
            "{}{} H={} L={} B={} T={} {:?} threads={}",
            if self.residual { "residual " } else { "" },
            self.cell,
            self.hidden,
            self.layers,
            self.batch,
            self.seq_len,
            self.precision,
            self.threads
        )
    }
}

fn main() -> Result<()> {
    chargru::runtime::prepare_process();
    let args = Args::parse();
    if args.steps < 4 {
        bail!("--steps is {}: the first three are not counted, give at least 4", args.steps);
    }
    // Exactly as many, also on fewer processors.
    with_threads(args.threads, || match args.work {
        Work::Train => train(&args),
        Work::BothDirections => both_directions(&args),
        Work::Residual => residual(&args),
        Work::CandleNn => candle_nn(&args),
        Work::Sample => sample(&args),
        Work::Floor => floor(&args),
        Work::Cores => cores::print(args.cell, args.precision, args.steps),
    })
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
        let ids = random_ids(args.seq_len, args.batch, &mut rng)?;
        let targets = random_ids(args.seq_len, args.batch, &mut rng)?;
        let start = Instant::now();
        step(&ids, &targets)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    let mut counted = seconds.split_off(3);
    counted.sort_by(f64::total_cmp);
    let median = counted[counted.len() / 2];
    println!(
        "{what} {} {:.1} ms/step {:.0} char/s",
        args.shape(),
        median * 1e3,
        (args.batch * args.seq_len) as f64 / median
    );
    Ok(())
}

fn train(args: &Args) -> Result<()> {
    args.precision.ensure_supported()?;
    let config = args.model();
    let mut step = TrainStep::new(&config, args.batch, args.precision)?;
    report(args, "chargru train", |ids, targets| step.run(ids, targets))
}

/// Steps of a bidirectional network, each after two steps of a network of one direction.
fn both_directions(args: &Args) -> Result<()> {
    let one_way = args.model();
    let both_ways = ModelConfig { bidirectional: true, ..one_way.clone() };
    let [two, both, ratio] = paired(args, (&one_way, 2), &both_ways)?;
    println!(
        "both directions {} two steps {two:.1} ms, one bidirectional {both:.1} ms, speed ratio {ratio:.3}",
        args.shape(),
    );
    Ok(())
}

/// Steps of a residual network, each after a step of a plain one.
fn residual(args: &Args) -> Result<()> {
    let plain = ModelConfig { residual: false, ..args.model() };
    let residual = ModelConfig { residual: true, ..plain.clone() };
    let [plain, residual, ratio] = paired(args, (&plain, 1), &residual)?;
    println!(
        "residual {} a plain step {plain:.1} ms, a residual one {residual:.1} ms, speed ratio {ratio:.3}",
        args.shape(),
    );
    Ok(())
}

/// Some steps of one network, then one of another, again and again: the milliseconds of both, and the first
/// time divided by the second; medians.
fn paired(
    args: &Args,
    (first, times): (&ModelConfig, usize),
    second: &ModelConfig,
) -> Result<[f64; 3]> {
    args.precision.ensure_supported()?;
    let mut first = TrainStep::new(first, args.batch, args.precision)?;
    let mut second = TrainStep::new(second, args.batch, args.precision)?;
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut measured = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..args.steps {
        let ids = random_ids(args.seq_len, args.batch, &mut rng)?;
        let targets = random_ids(args.seq_len, args.batch, &mut rng)?;
        let start = Instant::now();
        for _ in 0..times {
            first.run(&ids, &targets)?;
        }
        let one = start.elapsed().as_secs_f64();
        second.run(&ids, &targets)?;
        let other = start.elapsed().as_secs_f64() - one;
        let values = [one * 1e3, other * 1e3, one / other];
        measured.iter_mut().zip(values).for_each(|(all, value)| all.push(value));
    }
    Ok(measured.map(|mut values| {
        let mut counted = values.split_off(3);
        counted.sort_by(f64::total_cmp);
        counted[counted.len() / 2]
    }))
}

/// The time that the products of a step take at the speed of the kernel in cache.
fn floor(args: &Args) -> Result<()> {
    let config = args.model();
    let mut multiplied = 0;
    for (name, shape) in config.parameters() {
        // A product counts forward, for the gradient of its input, and for that of its weight. The
        // first layer's input is a product with the embedding table.
        let rows = match name.as_str() {
            _ if shape.len() < 2 || name == "embedding.weight" => 0,
            "rnn.weight_ih_l0" => VOCAB,
            _ => args.batch * args.seq_len,
        };
        multiplied += 3 * rows * shape.iter().product::<usize>();
    }
    let flops = 2.0 * multiplied as f64;
    let speed = chargru::fused::product_speed(args.precision)?;
    println!(
        "floor {}: {:.1} GFLOP at {:.1} GFLOP/s a thread: {:.1} ms/step",
        args.shape(),
        flops / 1e9,
        speed / 1e9,
        flops / speed / args.threads as f64 * 1e3
    );
    Ok(())
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
        candle_nn::ParamsAdamW { lr: 2e-3, ..Default::default() },
    )?;
    report(args, "candle-nn", |ids, targets| {
        // candle's GRU reads batch first.
        let mut x = embedding.forward(&ids.t()?.contiguous()?)?;
        for layer in &layers {
            let states = layer.seq(&x)?;
            // Not `states_to_tensor`: a GRU's puts T and H into one axis.
            let hidden: Vec<Tensor> = states.into_iter().map(|state| state.h).collect();
            x = Tensor::stack(&hidden, 1)?;
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
    let writer = Writer::new(&args.model())?;
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let text = writer.begin()?;
        let start = Instant::now();
        Writer::finish(text)?;
        best = best.min(start.elapsed().as_secs_f64() / Writer::LENGTH as f64);
    }
    println!(
        "chargru sample {}{} H={} L={} threads={} {:.0} char/s",
        if args.residual { "residual " } else { "" },
        args.cell,
        args.hidden,
        args.layers,
        args.threads,
        1.0 / best
    );
    Ok(())
}
