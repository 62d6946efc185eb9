//! What is saved, when the numbers are none, when nothing was trained yet, and when a kill left one
//! checkpoint newer than the other.

use std::fs;
use std::path::Path;

use crate::Device;
use crate::checkpoint::disk::Disk;
use crate::checkpoint::{IfExists, RunFolder};
use crate::error::{Error, RunProblem};
use crate::train::SavedRun;
use crate::train::fault_tests::{SEED, begin, corpus, file, finish, job, result};

#[test]
fn a_save_of_weights_that_are_no_numbers_is_refused_and_the_old_one_stays() {
    let temp = tempfile::tempdir().expect("a folder");
    let root = temp.path().join("run");
    begin(Disk::default(), &root, IfExists::Refuse, SEED).expect("a run");
    let before = result(&root);
    let folder = RunFolder::resume(&root).expect("a run");
    let trainer =
        SavedRun::open(folder, &Device::Cpu).and_then(|run| run.resume(corpus())).expect("a run");
    let (_, weight) = &trainer.vars[0];
    weight.set(&(weight.as_tensor() * f64::NAN).expect("NaN")).expect("set");
    let error = finish(trainer).expect_err("it saves no NaN");
    assert!(error.to_string().contains("last was not replaced"), "{error}");
    let cause = std::error::Error::source(&error).expect("a cause").to_string();
    assert!(cause.contains("holds a NaN or an infinity: train with a lower `lr`"), "{cause}");
    assert!(result(&root) == before);
}

#[test]
fn a_failed_preparation_leaves_no_trace() {
    let temp = tempfile::tempdir().expect("a folder");
    let root = temp.path().join("runs/new");
    drop(RunFolder::create(&root, IfExists::Refuse).expect("a folder"));
    assert_eq!(fs::read_dir(temp.path()).expect("the folder").count(), 0);
    // What was there before stays.
    fs::create_dir_all(&root).expect("a folder");
    fs::write(root.join("notes.txt"), "mine").expect("a file");
    drop(RunFolder::create(&root, IfExists::Refuse).expect("a folder"));
    let left: Vec<_> = fs::read_dir(&root).expect("the folder").collect();
    assert_eq!(left.len(), 1);
    let missing = RunFolder::resume(&root).err().expect("no run");
    assert!(matches!(missing, Error::Run { problem: RunProblem::Missing, .. }));
}

/// A kill between the save of `best` and the next one of `last`, then a resume with another end.
#[test]
fn a_best_that_is_newer_than_last_stays_until_the_run_does_as_well() {
    let run = |root: &Path, steps: u64| {
        let folder = RunFolder::create(root, IfExists::Refuse)?;
        let mut job = job(SEED);
        job.train.steps = Some(steps);
        finish(job.start(corpus(), &Device::Cpu)?.save_in(folder))
    };
    let temp = tempfile::tempdir().expect("a folder");
    let (early, late) = (temp.path().join("early"), temp.path().join("late"));
    run(&early, 2).expect("a run");
    let best = run(&late, 6).expect("a run").best_val_loss;
    fs::remove_dir_all(early.join("best")).expect("removed");
    fs::create_dir(early.join("best")).expect("a folder");
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::copy(late.join("best").join(name), early.join("best").join(name)).expect("a copy");
    }
    let resumed = |steps| {
        let mut run =
            SavedRun::open(RunFolder::resume(&early).expect("a run"), &Device::Cpu).expect("it");
        run.train.steps = Some(steps);
        let trainer = run.resume(corpus()).expect("a trainer");
        let newer = trainer.newer_best();
        (newer, finish(trainer).expect("it ends"))
    };
    let kept = file(late.join("best/model.safetensors"));
    // It ends before that step: the folder and the summary agree.
    let (newer, summary) = resumed(4);
    assert_eq!(newer, Some((6, best.expect("a loss"))));
    assert_eq!(summary.best_val_loss, best);
    assert!(file(early.join("best/model.safetensors")) == kept);
    // It gets there: all is as in the run that nobody stopped.
    assert_eq!(resumed(6).1.best_val_loss, best);
    assert!(result(&early) == result(&late));
}

/// The same where `last` is still that of the begin, as it is in the first seconds of a run.
#[test]
fn a_best_stays_when_the_run_is_resumed_from_its_begin() {
    let temp = tempfile::tempdir().expect("a folder");
    let (early, late) = (temp.path().join("early"), temp.path().join("late"));
    let best = begin(Disk::default(), &late, IfExists::Refuse, SEED).expect("a run").best_val_loss;
    let folder = RunFolder::create(&early, IfExists::Refuse).expect("a folder");
    let trainer = job(SEED).start(corpus(), &Device::Cpu).expect("a run");
    trainer.save_in(folder).begin().expect("saved");
    fs::create_dir(early.join("best")).expect("a folder");
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::copy(late.join("best").join(name), early.join("best").join(name)).expect("a copy");
    }
    let folder = RunFolder::resume(&early).expect("a run");
    let mut run = SavedRun::open(folder, &Device::Cpu).expect("it");
    run.train.steps = Some(2);
    let summary = finish(run.resume(corpus()).expect("a trainer")).expect("it ends");
    assert_eq!(summary.best_val_loss, best);
    let weights = |root: &Path| file(root.join("best/model.safetensors"));
    assert!(weights(&early) == weights(&late));
}
