//! Training from Rust: the callback that stops a run, the run that goes on, and the errors by kind.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use chargru::checkpoint::{Checkpoint, IfExists, RunFolder, read_metrics};
use chargru::text::Corpus;
use chargru::train::{Event, Job, SavedRun, StopReason, Trainer};
use chargru::{Device, Error, Result, RunProblem};

use crate::support::{TIDE, TestDir};

fn corpus() -> Corpus {
    Corpus::from_text("tide", TIDE.repeat(30))
}

/// 20 steps of a small network with an evaluation every five.
fn job() -> Job {
    let mut job = Job::small();
    (job.model.hidden, job.model.embedding, job.model.dropout) = (16, 8, 0.2);
    (job.train.batch, job.train.seq_len) = (4, 16);
    (job.train.steps, job.train.eval_every) = (Some(20), Some(5));
    job
}

fn trainer(root: &Path) -> Result<Trainer> {
    let folder = RunFolder::create(root, IfExists::Refuse)?;
    Ok(job().start(corpus(), &Device::Cpu)?.save_in(folder))
}

fn saved(root: &Path) -> Result<SavedRun> {
    SavedRun::open(RunFolder::resume(root)?, &Device::Cpu)
}

fn last_weights(root: &Path) -> Vec<u8> {
    std::fs::read(root.join("last/model.safetensors")).expect("weights")
}

#[test]
fn a_break_stops_after_its_step_and_the_run_goes_on_to_the_same_weights() -> Result<()> {
    let dir = TestDir::new();
    let whole = dir.path("whole");
    let summary = trainer(&whole)?.run(|_| ControlFlow::Continue(()))?;
    assert_eq!((summary.reason, summary.step), (StopReason::Finished, 20));
    // Step 10 has an evaluation due, step 7 has not.
    for stop in [7, 10] {
        let root = dir.path(&stop.to_string());
        let mut evaluated = Vec::new();
        let summary = trainer(&root)?.run(|event| match event {
            Event::Step(report) if report.step == stop => ControlFlow::Break(()),
            Event::Evaluated { metrics, .. } => {
                evaluated.push(metrics.step);
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Continue(()),
        })?;
        assert_eq!((summary.reason, summary.step), (StopReason::Stopped, stop));
        assert_eq!(evaluated, if stop == 10 { vec![5, 10] } else { vec![5] });

        let mut rest = saved(&root)?.resume(corpus())?;
        assert_eq!(rest.step(), stop);
        let summary = rest.run(|_| ControlFlow::Continue(()))?;
        assert_eq!((summary.reason, summary.step), (StopReason::Finished, 20));
        assert!(last_weights(&root) == last_weights(&whole), "stopped at {stop}");
        let losses = |root: &Path| -> Result<Vec<(u64, f64, Option<f64>)>> {
            Ok(read_metrics(root)?.iter().map(|m| (m.step, m.train_loss, m.val_loss)).collect())
        };
        assert_eq!(losses(&root)?, losses(&whole)?);
        assert_eq!(losses(&root)?.len(), 4);
    }
    Ok(())
}

#[test]
fn a_break_at_an_evaluation_stops_too() -> Result<()> {
    let mut trainer = job().start(corpus(), &Device::Cpu)?;
    let summary = trainer.run(|event| match event {
        Event::Evaluated { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })?;
    assert_eq!((summary.reason, summary.step), (StopReason::Stopped, 5));
    Ok(())
}

#[test]
fn a_run_in_many_pieces_is_the_whole_run_and_saves_nothing_in_between() -> Result<()> {
    let dir = TestDir::new();
    let (whole, pieces) = (dir.path("whole"), dir.path("pieces"));
    trainer(&whole)?.run(|_| ControlFlow::Continue(()))?;
    let mut trainer = trainer(&pieces)?;
    let (mut calls, mut evaluated) = (0, Vec::new());
    let summary = loop {
        let piece = trainer.advance(|event| {
            if let Event::Evaluated { metrics, .. } = event {
                evaluated.push(metrics.step);
            }
            ControlFlow::Break(())
        })?;
        calls += 1;
        if let Some(summary) = piece {
            break summary;
        }
        assert_eq!(trainer.step(), calls);
        let last = Checkpoint::open(&pieces.join("last"), &Device::Cpu)?;
        assert_eq!(last.config.progress.step, 0);
    };
    assert_eq!((summary.reason, summary.step, calls), (StopReason::Finished, 20, 20));
    assert_eq!(evaluated, [5, 10, 15, 20]);
    assert!(last_weights(&pieces) == last_weights(&whole));
    Ok(())
}

/// Each call of `run` began the time at what the run had taken before the process: a run with a time limit
/// that was stopped and run again took longer than its limit.
#[test]
fn a_run_that_is_stopped_and_run_again_in_one_process_keeps_its_time() -> Result<()> {
    let mut trainer = job().start(corpus(), &Device::Cpu)?;
    let first = trainer.run(|_| {
        std::thread::sleep(Duration::from_millis(20));
        ControlFlow::Break(())
    })?;
    assert!(first.elapsed >= Duration::from_millis(20));
    assert_eq!(trainer.elapsed(), first.elapsed);
    let second = trainer.run(|_| ControlFlow::Continue(()))?;
    assert!(second.elapsed > first.elapsed, "{second:?} after {first:?}");
    Ok(())
}

#[test]
fn a_clock_of_steps_stands_still_while_a_run_is_evaluated() -> Result<()> {
    let last_and_end = |mut trainer: Trainer| -> Result<(f64, f64)> {
        let mut last = 0.0;
        let summary = trainer.run(|event| {
            if let Event::Evaluated { metrics, .. } = event {
                last = metrics.elapsed_seconds;
                std::thread::sleep(Duration::from_millis(1));
            }
            ControlFlow::Continue(())
        })?;
        Ok((last, summary.elapsed.as_secs_f64()))
    };
    let start = || job().start(corpus(), &Device::Cpu);
    // No step follows the last evaluation.
    let (last, end) = last_and_end(start()?.count_steps_only())?;
    assert!(last > 0.0 && last == end, "{last} {end}");
    let (last, end) = last_and_end(start()?)?;
    assert!(end > last, "{last} {end}");
    Ok(())
}

#[test]
fn a_setting_of_a_saved_run_can_be_changed_before_it_goes_on() -> Result<()> {
    let dir = TestDir::new();
    let root = dir.path("run");
    trainer(&root)?.run(|_| ControlFlow::Continue(()))?;
    let mut run = saved(&root)?;
    run.train.steps = Some(23);
    assert_eq!(run.resume(corpus())?.run(|_| ControlFlow::Continue(()))?.step, 23);
    Ok(())
}

#[test]
fn errors_tell_their_kind() -> Result<()> {
    let dir = TestDir::new();
    let root = dir.path("run");
    let problem = |error: Error| match error {
        Error::Run { path, problem } if path == root => problem,
        error => panic!("{error:?}"),
    };
    assert_eq!(problem(RunFolder::resume(&root).err().expect("no run")), RunProblem::Missing);
    let error = Checkpoint::open(&root, &Device::Cpu).err().expect("no checkpoint");
    assert!(matches!(&error, Error::NoCheckpoint(path) if *path == root), "{error:?}");

    let mut running = trainer(&root)?;
    running.run(|_| ControlFlow::Break(()))?;
    assert_eq!(problem(trainer(&root).err().expect("a run")), RunProblem::Exists);
    assert_eq!(problem(RunFolder::resume(&root).err().expect("the lock")), RunProblem::Locked);
    drop(running);
    let other = saved(&root)?.resume(Corpus::from_text("tide", TIDE.repeat(31)));
    let other = problem(other.err().expect("another text"));
    let characters = corpus().text().chars().count();
    let sha256 = corpus().fingerprint();
    assert_eq!(other, RunProblem::OtherText { characters, sha256 });

    let start = |job: Job, text: &str| {
        job.start(Corpus::from_text("x", text), &Device::Cpu).err().expect("an error")
    };
    let mut wrong = job();
    wrong.train.lr = -1.0;
    let error = start(wrong, TIDE);
    assert!(matches!(error, Error::Setting { name: "lr", .. }), "{error:?}");
    assert!(error.to_string().starts_with("`lr` is -1: give"), "{error}");
    let error = start(job(), "aaaa");
    assert!(matches!(error, Error::Text(_)), "{error:?}");

    let checkpoint = Checkpoint::open(&root, &Device::Cpu)?;
    let new = Corpus::from_text("x", "the tide? ".repeat(50));
    let error = job().fine_tune(new, &checkpoint, false, &Device::Cpu).err().expect("an error");
    let Error::UnknownCharacters(unknown) = error else { panic!("{error:?}") };
    assert_eq!(unknown.characters, ['?']);

    std::fs::write(root.join("last/config.json"), "{").expect("written");
    let error = Checkpoint::open(&root.join("last"), &Device::Cpu).err().expect("an error");
    assert!(matches!(&error, Error::Checkpoint { path, .. } if path.ends_with("config.json")));
    let source = std::error::Error::source(&error).expect("a cause");
    assert!(source.downcast_ref::<serde_json::Error>().is_some(), "{source:?}");
    Ok(())
}

/// The learning rate falls with the time: a long text is not evaluated where that would take most of what is left.
#[test]
fn an_evaluation_leaves_a_run_with_a_time_limit_its_time() -> Result<()> {
    let evaluated = |limit| -> Result<(Vec<u64>, u64)> {
        let mut job = job();
        (job.train.batch, job.train.seq_len) = (1, 1);
        job.train.time_limit = Some(limit);
        let long = Corpus::from_text("tide", TIDE.repeat(10_000));
        let mut steps = Vec::new();
        let summary = job.start(long, &Device::Cpu)?.run(|event| {
            if let Event::Evaluated { metrics, .. } = event {
                steps.push(metrics.step);
            }
            ControlFlow::Continue(())
        })?;
        Ok((steps, summary.step))
    };
    assert_eq!(evaluated(Duration::from_secs(3_600))?, (vec![5, 10, 15, 20], 20));
    let (steps, last) = evaluated(Duration::from_millis(50))?;
    assert_eq!(steps, [last]);
    Ok(())
}
