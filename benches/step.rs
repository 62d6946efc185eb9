//! `cargo bench`: a training step and a sampled character at four sizes. Figures and the machine they
//! were taken on are in benches/README.md; the comparison with others is benches/peers/compare.py.

mod work;

use std::time::Duration;

use chargru::fused::Precision;
use chargru::model::Cell;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use work::{TrainStep, Writer, model, random_ids};

/// (H, L, B, T)
const SHAPES: [(usize, usize, usize, usize); 4] =
    [(128, 1, 32, 64), (256, 2, 32, 64), (512, 2, 64, 128), (1024, 2, 64, 64)];

fn train(c: &mut Criterion) {
    let mut group = c.benchmark_group("train_step");
    group.sample_size(10).warm_up_time(Duration::from_secs(1));
    for (hidden, layers, batch, seq_len) in SHAPES {
        let config = model(Cell::Gru, hidden, layers);
        let mut step = TrainStep::new(&config, batch, Precision::F32).expect("a network");
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let ids = random_ids(seq_len, batch, &mut rng).expect("ids");
        let targets = random_ids(seq_len, batch, &mut rng).expect("ids");
        group.throughput(Throughput::Elements((batch * seq_len) as u64));
        let id = BenchmarkId::from_parameter(format!("{hidden}x{layers} B={batch} T={seq_len}"));
        group.bench_function(id, |b| {
            b.iter(|| step.run(&ids, &targets).expect("a step"));
        });
    }
    group.finish();
}

fn sample(c: &mut Criterion) {
    let mut group = c.benchmark_group("sample");
    group.sample_size(10).warm_up_time(Duration::from_secs(1));
    for (hidden, layers, ..) in SHAPES {
        let writer = Writer::new(&model(Cell::Gru, hidden, layers)).expect("a network");
        group.throughput(Throughput::Elements(Writer::LENGTH as u64));
        group.bench_function(BenchmarkId::from_parameter(format!("{hidden}x{layers}")), |b| {
            b.iter_batched(
                || writer.begin().expect("a text"),
                |text| Writer::finish(text).expect("text"),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, train, sample);

fn main() {
    chargru::runtime::prepare_process();
    benches();
    Criterion::default().configure_from_args().final_summary();
}
