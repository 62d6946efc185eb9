//! Runs with spikes of the gradient's norm. They are made by a running mean that is far too small: real
//! gradients are then far above it.

use std::ops::ControlFlow;
use std::path::Path;

use crate::Device;
use crate::checkpoint::{GradientNorms, IfExists, RunFolder, read_metrics};
use crate::train::fault_tests::{SEED, corpus, finish, job, result};
use crate::train::{Event, Job, SavedRun, Trainer};

/// Every gradient is a spike.
const TINY: GradientNorms = GradientNorms {
    mean: 1e-9,
    count: 200,
    skipped: 0,
    skipped_in_row: 0,
    sum: 0.0,
    summed: 0,
    largest: 0.0,
};

fn long_job() -> Job {
    let mut job = job(SEED);
    (job.train.steps, job.train.eval_every) = (Some(40), Some(4));
    job.train.warmup = Some(2);
    job
}

fn start(root: &Path) -> Trainer {
    let folder = RunFolder::create(root, IfExists::Refuse).expect("a folder");
    long_job().start(corpus(), &Device::Cpu).expect("a trainer").save_in(folder)
}

/// Runs to the end of this step.
fn run_to(trainer: &mut Trainer, step: u64) {
    let stop = |event: Event| match event {
        Event::Step(report) if report.step == step => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    trainer.run(stop).expect("steps");
    assert_eq!(trainer.step(), step);
}

fn weights(trainer: &Trainer) -> Vec<Vec<f32>> {
    let values = |(_, var): &(String, candle_core::Var)| var.flatten_all()?.to_vec1();
    trainer.vars.iter().map(values).collect::<Result<_, _>>().expect("the weights")
}

#[test]
fn a_skipped_step_changes_no_weight_and_no_moment_and_begins_with_the_zero_state() {
    let temp = tempfile::tempdir().expect("a folder");
    let mut trainer = start(&temp.path().join("run"));
    run_to(&mut trainer, 5);
    let (before, optimizer_steps) = (weights(&trainer), trainer.optimizer.steps());
    trainer.norms = TINY;
    let report = trainer.train_step().expect("a step");
    assert!(report.is_skipped && report.step == 6 && report.gradient_norm > 1e-6, "{report:?}");
    assert!(weights(&trainer) == before);
    assert_eq!(trainer.optimizer.steps(), optimizer_steps);
    for layer in &trainer.state.layers {
        let sum = layer.abs().and_then(|state| state.sum_all()?.to_scalar::<f32>()).expect("a sum");
        assert_eq!(sum, 0.0);
    }
    trainer.norms = GradientNorms::default();
    assert!(!trainer.train_step().expect("a step").is_skipped);
    assert!(weights(&trainer) != before);
}

#[test]
fn a_run_that_stops_among_skipped_steps_goes_on_to_the_bit() {
    let temp = tempfile::tempdir().expect("a folder");
    let (whole, parts) = (temp.path().join("whole"), temp.path().join("parts"));
    let spiked = |root: &Path| {
        let mut trainer = start(root);
        run_to(&mut trainer, 10);
        trainer.norms = TINY;
        trainer
    };
    let summary = finish(spiked(&whole)).expect("it ends");
    assert_eq!(summary.skipped_steps, 10, "ten in a row, then the mean begins anew");
    let mut trainer = spiked(&parts);
    run_to(&mut trainer, 15);
    assert_eq!(trainer.norms.skipped_in_row, 5);
    drop(trainer);
    let folder = RunFolder::resume(&parts).expect("a run");
    let saved = SavedRun::open(folder, &Device::Cpu).expect("it");
    let summary = finish(saved.resume(corpus()).expect("a trainer")).expect("it ends");
    assert_eq!(summary.skipped_steps, 10);
    assert!(result(&whole) == result(&parts));
    let norms = |root: &Path| -> Vec<_> {
        let metrics = read_metrics(root).expect("metrics").into_iter();
        metrics.map(|m| (m.gradient_norm, m.gradient_norm_max, m.skipped_steps)).collect()
    };
    assert_eq!(norms(&whole), norms(&parts));
    let skipped: Vec<u64> = norms(&whole).into_iter().map(|(_, _, skipped)| skipped).collect();
    assert_eq!(skipped, [0, 0, 2, 6, 10, 10, 10, 10, 10, 10]);
    for (mean, largest, _) in norms(&whole) {
        assert!(mean.zip(largest).is_some_and(|(mean, largest)| 0.0 < mean && mean <= largest));
    }
}

/// A training.json of a version that kept no norms.
#[test]
fn a_run_that_was_saved_without_norms_goes_on() {
    let temp = tempfile::tempdir().expect("a folder");
    let (whole, old) = (temp.path().join("whole"), temp.path().join("old"));
    finish(start(&whole)).expect("it ends");
    let mut trainer = start(&old);
    run_to(&mut trainer, 20);
    drop(trainer);
    let path = old.join("last/training.json");
    let text = std::fs::read_to_string(&path).expect("a file");
    let mut json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert!(json.as_object_mut().expect("an object").remove("gradient_norms").is_some());
    std::fs::write(&path, json.to_string()).expect("written");
    let saved = SavedRun::open(RunFolder::resume(&old).expect("a run"), &Device::Cpu).expect("it");
    finish(saved.resume(corpus()).expect("a trainer")).expect("it ends");
    assert!(result(&whole) == result(&old));
}
