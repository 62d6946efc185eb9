//! Every operation of a run on the file system fails once, in each of several ways. Whatever is then on the
//! disk can be read, and the run that goes on from there ends with the bits of one that nothing disturbed.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::Device;
use crate::checkpoint::disk::{Disk, Faults, Operation};
use crate::checkpoint::{Checkpoint, IfExists, RunFolder, read_metrics};
use crate::error::{Error, Result};
use crate::text::Corpus;
use crate::train::{Job, SavedRun, Schedule, Summary, Trainer};

/// What happens at one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It fails once.
    InputOutput,
    /// It and all that need space fail from then on.
    NoSpace,
    /// A signal interrupts it once.
    Interrupted,
    /// Only half of the bytes are written at first.
    ShortWrite,
    /// The process ends before it.
    Crash,
    /// The process ends after half of the bytes are written.
    CrashInWrite,
    /// The machine ends before it: what was not flushed is lost.
    PowerLoss,
}

const ALL: [Fault; 7] = [
    Fault::InputOutput,
    Fault::NoSpace,
    Fault::Interrupted,
    Fault::ShortWrite,
    Fault::Crash,
    Fault::CrashInWrite,
    Fault::PowerLoss,
];

/// A disk with one fault.
struct Faulty {
    fault: Fault,
    at: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    operations: usize,
    crashed: bool,
    /// Length that was flushed, of each file that has more.
    flushed: BTreeMap<PathBuf, u64>,
    /// The fault happened.
    met: bool,
}

impl State {
    fn note(&mut self, operation: Operation, path: &Path) {
        match operation {
            Operation::Write(_) => {
                let length = fs::metadata(path).map_or(0, |found| found.len());
                self.flushed.entry(path.to_path_buf()).or_insert(length);
            }
            Operation::SyncFile | Operation::RemoveFile => drop(self.flushed.remove(path)),
            Operation::Rename(to) => {
                let moved = std::mem::take(&mut self.flushed).into_iter();
                self.flushed = moved
                    .map(|(file, length)| match file.strip_prefix(path) {
                        Ok(rest) if rest.as_os_str().is_empty() => (to.to_path_buf(), length),
                        Ok(rest) => (to.join(rest), length),
                        Err(_) => (file, length),
                    })
                    .collect();
            }
            _ => {}
        }
    }

    fn lose_what_was_not_flushed(&mut self) {
        for (path, length) in std::mem::take(&mut self.flushed) {
            let file = OpenOptions::new().write(true).open(path).expect("a file that was written");
            file.set_len(length).expect("it is cut");
        }
    }
}

/// A disk without faults, whose flushes are left out.
fn sound() -> Disk {
    let (fault, at, state) = (Fault::Crash, usize::MAX, Mutex::default());
    Disk { faults: Some(Arc::new(Faulty { fault, at, state })) }
}

fn dead() -> io::Error {
    io::Error::other("the process has ended")
}

impl Faults for Faulty {
    fn before(&self, operation: Operation, path: &Path) -> io::Result<usize> {
        let mut state = self.state.lock().expect("no panic");
        let index = state.operations;
        state.operations += 1;
        if state.crashed {
            return Err(dead());
        }
        if index == self.at {
            state.met = true;
            match (self.fault, operation) {
                (Fault::InputOutput, _) => return Err(io::Error::from_raw_os_error(5)),
                (Fault::Interrupted, _) => return Err(io::ErrorKind::Interrupted.into()),
                (Fault::Crash | Fault::PowerLoss, _) => {
                    state.crashed = true;
                    if self.fault == Fault::PowerLoss {
                        state.lose_what_was_not_flushed();
                    }
                    return Err(dead());
                }
                (Fault::ShortWrite, Operation::Write(bytes)) => return Ok(bytes.div_ceil(2)),
                (Fault::CrashInWrite, Operation::Write(bytes)) => {
                    state.crashed = true;
                    return Ok(bytes.div_ceil(2));
                }
                // Nothing to write: there is no such fault here.
                (Fault::ShortWrite | Fault::CrashInWrite, _) => state.met = false,
                (Fault::NoSpace, _) => {}
            }
        }
        let needs_space = matches!(
            operation,
            Operation::CreateFolder
                | Operation::CreateFile
                | Operation::OpenToAppend
                | Operation::Write(_)
        );
        if self.fault == Fault::NoSpace && index >= self.at && needs_space {
            return Err(io::Error::from_raw_os_error(28));
        }
        state.note(operation, path);
        // Real flushes would take minutes.
        let is_flush = matches!(operation, Operation::SyncFile | Operation::SyncFolder);
        Ok(if is_flush { 0 } else { usize::MAX })
    }
}

pub(super) fn corpus() -> Corpus {
    Corpus::from_text("tide", "The tide comes in, the tide goes out.\n".repeat(20))
}

pub(super) fn job(seed: u64) -> Job {
    let mut job = Job::small();
    (job.model.hidden, job.model.embedding) = (8, 4);
    (job.train.batch, job.train.seq_len) = (2, 8);
    (job.train.steps, job.train.eval_every) = (Some(6), Some(2));
    (job.train.seed, job.train.schedule) = (seed, Schedule::Constant);
    job
}

pub(super) const SEED: u64 = 1;
const OLD_SEED: u64 = 2;

/// Trains to the end, saving at every step.
pub(super) fn finish(trainer: Trainer) -> Result<Summary> {
    trainer.save_every(Duration::ZERO).run(|_| ControlFlow::Continue(()))
}

pub(super) fn begin(disk: Disk, root: &Path, policy: IfExists, seed: u64) -> Result<Summary> {
    let folder = RunFolder::create_on(disk, root, policy)?;
    finish(job(seed).start(corpus(), &Device::Cpu)?.save_in(folder))
}

fn resume(disk: Disk, root: &Path) -> Result<Summary> {
    finish(SavedRun::open(RunFolder::resume_on(disk, root)?, &Device::Cpu)?.resume(corpus())?)
}

pub(super) fn file(path: PathBuf) -> Vec<u8> {
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All that a finished run must have in common with another: weights, moments, losses.
pub(super) fn result(root: &Path) -> (Vec<Vec<u8>>, Vec<String>) {
    let names = ["best/model", "last/model", "last/training"];
    let files = names.map(|name| file(root.join(format!("{name}.safetensors")))).to_vec();
    let losses = read_metrics(root).expect("metrics").into_iter().map(|metrics| {
        format!("{} {} {:?} {}", metrics.step, metrics.train_loss, metrics.val_loss, metrics.lr)
    });
    (files, losses.collect())
}

/// The seed of the run that `last` belongs to, if there is one; every checkpoint there is can be read.
fn readable(root: &Path) -> Option<u64> {
    match Checkpoint::open(root, &Device::Cpu) {
        Ok(_) => {}
        Err(Error::NoCheckpoint(_)) => return None,
        // A folder without a checkpoint.
        Err(error) => {
            assert!(error.to_string().contains("it holds no config.json"), "{error}");
            return None;
        }
    }
    let last = Checkpoint::open(&root.join("last"), &Device::Cpu).expect("last");
    last.training(&Device::Cpu).expect("its training state");
    last.config.training["seed"].as_u64()
}

/// Runs `act` with each fault at each operation, after `set_up`. Returns how many faults happened, and how
/// many of them left a run behind.
fn at_every_operation(
    set_up: impl Fn(&Path),
    act: impl Fn(Disk, &Path) -> Result<Summary>,
) -> (usize, usize) {
    let whole = tempfile::tempdir().expect("a folder");
    begin(Disk::default(), &whole.path().join("run"), IfExists::Refuse, SEED).expect("a run");
    let whole = result(&whole.path().join("run"));
    let (mut faults, mut runs) = (0, 0);
    for fault in ALL {
        for at in 0.. {
            let temp = tempfile::tempdir().expect("a folder");
            let root = temp.path().join("run");
            set_up(&root);
            let faulty = Arc::new(Faulty { fault, at, state: Mutex::default() });
            let outcome = act(Disk { faults: Some(faulty.clone()) }, &root);
            let (operations, met) = {
                let state = faulty.state.lock().expect("no panic");
                (state.operations, state.met)
            };
            if at >= operations {
                assert!(outcome.is_ok(), "nothing failed");
                assert!(at > 100, "a run has more operations than {at}");
                break;
            }
            faults += usize::from(met || fault == Fault::NoSpace);
            let what = format!("{fault:?} at operation {at}: {:?}", outcome.as_ref().err());
            let harmless = matches!(fault, Fault::Interrupted | Fault::ShortWrite) || !met;
            assert!(outcome.is_ok() || !harmless || fault == Fault::NoSpace, "{what}");
            let seed = readable(&root);
            runs += usize::from(seed.is_some());
            match seed {
                Some(SEED) => resume(sound(), &root),
                Some(_) => begin(sound(), &root, IfExists::Overwrite, SEED),
                None => begin(sound(), &root, IfExists::Refuse, SEED),
            }
            .unwrap_or_else(|error| panic!("{what}, then {error:?}"));
            assert!(result(&root) == whole, "{what}: another result");
            let mut names: Vec<_> = fs::read_dir(&root)
                .expect("the run")
                .map(|entry| entry.expect("an entry").file_name())
                .collect();
            names.sort();
            assert_eq!(names, [".lock", "best", "last", "metrics.jsonl"], "{what}");
        }
    }
    (faults, runs)
}

#[test]
fn a_fault_at_any_operation_of_a_new_run_loses_nothing() {
    let (faults, runs) =
        at_every_operation(|_| {}, |disk, root| begin(disk, root, IfExists::Refuse, SEED));
    println!("a new run: {faults} faults, {runs} runs left, all read and resumed");
    assert!(runs > 500, "{runs}");
}

#[test]
fn a_fault_at_any_operation_of_a_run_that_overwrites_another_loses_neither() {
    let temp = tempfile::tempdir().expect("a folder");
    let old = temp.path().join("old");
    begin(Disk::default(), &old, IfExists::Refuse, OLD_SEED).expect("an old run");
    let (faults, runs) = at_every_operation(
        |root| copy(&old, root),
        |disk, root| begin(disk, root, IfExists::Overwrite, SEED),
    );
    println!("an overwriting run: {faults} faults, {runs} runs left, all read and resumed");
    assert!(runs > 500, "{runs}");
}

#[test]
fn a_fault_at_any_operation_of_a_resumed_run_loses_nothing() {
    let temp = tempfile::tempdir().expect("a folder");
    let half = temp.path().join("half");
    let folder = RunFolder::create(&half, IfExists::Refuse).expect("a folder");
    let mut trainer = job(SEED).start(corpus(), &Device::Cpu).expect("a run").save_in(folder);
    let mut steps = 0;
    let mut stop_after_three = |event: crate::train::Event| {
        steps += usize::from(matches!(event, crate::train::Event::Step(_)));
        if steps == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    trainer.run(&mut stop_after_three).expect("three steps");
    drop(trainer);
    let (faults, runs) = at_every_operation(|root| copy(&half, root), resume);
    println!("a resumed run: {faults} faults, {runs} runs left, all read and resumed");
    assert!(runs > 500, "{runs}");
}

/// Copies a run.
fn copy(from: &Path, to: &Path) {
    for folder in ["best", "last"] {
        fs::create_dir_all(to.join(folder)).expect("a folder");
        for entry in fs::read_dir(from.join(folder)).expect("a checkpoint") {
            let name = entry.expect("an entry").file_name();
            fs::copy(from.join(folder).join(&name), to.join(folder).join(&name)).expect("a copy");
        }
    }
    fs::copy(from.join("metrics.jsonl"), to.join("metrics.jsonl")).expect("a copy");
}
