//! After a kill the last complete checkpoint can be read, and the run goes on to the weights it would have had.
//! Several processes at one folder disturb neither each other nor the checkpoints.

use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chargru::Device;
use chargru::checkpoint::Checkpoint;
use rand::{Rng, SeedableRng};

use crate::resume::assert_same_run;
use crate::support::{TestDir, json};

/// A run of so many steps that saves after every step and evaluates after every other one.
fn saving_all_the_time<'a>(out: &'a str, steps: &'a str) -> Vec<&'a str> {
    let tiny = "--hidden 8 --embedding 4 --layers 1 --batch 4 --seq-len 16 --warmup 5";
    ["train", "--corpus", "tide.txt", "--out", out, "--steps", steps]
        .into_iter()
        .chain(tiny.split(' '))
        .chain(["--eval-every", "2", "--save-every", "0s"])
        .collect()
}

/// The step of the last save, while the run may go on.
fn step(run: &Path) -> u64 {
    let last = Checkpoint::open(&run.join("last"), &Device::Cpu);
    last.unwrap_or_else(|error| panic!("{error:?}")).config.progress.step
}

/// Kills a run so often, at random moments, and resumes it each time. Every checkpoint it leaves must be
/// readable, and the end that of a run that nobody killed.
fn kill_and_resume(kills: u64) {
    let dir = TestDir::new();
    dir.file("tide.txt", crate::support::TIDE.repeat(30));
    let steps = (kills * 4).to_string();
    let begun = Instant::now();
    dir.ok(&saving_all_the_time("whole", &steps));
    let a_save = begun.elapsed() / u32::try_from(kills * 4).expect("few steps");
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let mut child = dir.start_until(&saving_all_the_time("parts", &steps), "parts/last");
    let (mut moved, mut ended, mut before) = (0, 0, 0);
    let resume = ["train", "--resume", "parts", "--save-every", "0s"];
    for count in 1..=kills {
        // Most of the kills come during a save, or between two; the others also before the first one.
        if rng.random_range(0..4) > 0 {
            while child.try_wait().expect("its state").is_none()
                && step(&dir.path("parts")) == before
            {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        std::thread::sleep(a_save.mul_f64(rng.random_range(0.0..2.0)));
        ended += u64::from(child.try_wait().expect("its state").is_some());
        kill(&mut child);
        let now = step(&dir.path("parts"));
        assert!(now >= before, "it went back from step {before} to {now}");
        moved += u64::from(now > before);
        before = now;
        let read = Checkpoint::open(&dir.path("parts"), &Device::Cpu);
        assert!(read.is_ok(), "what `sample` reads after kill {count}: {:?}", read.err());
        let last = Checkpoint::open(&dir.path("parts/last"), &Device::Cpu).expect("last");
        assert!(last.training(&Device::Cpu).is_ok(), "what a resume reads after kill {count}");
        child = dir.start(&resume);
    }
    kill(&mut child);
    dir.ok(&resume);
    println!(
        "{kills} kills, {moved} of them after a new save, {ended} after the end at step {steps}"
    );
    assert!(moved > kills / 2, "only {moved} kills came after a save");
    assert_same_run(&dir, "whole", "parts");
}

fn kill(child: &mut Child) {
    child.kill().expect("SIGKILL is sent");
    child.wait().expect("the program ends");
}

#[test]
fn fifty_kills_of_a_run_that_saves_all_the_time_change_nothing() {
    kill_and_resume(50);
}

/// `cargo test --release --test main a_thousand_kills -- --ignored --nocapture`, a few minutes.
#[test]
#[ignore = "takes minutes"]
fn a_thousand_kills_of_a_run_that_saves_all_the_time_change_nothing() {
    kill_and_resume(1000);
}

/// Weights so large that the first loss overflows: what a diverged run would come to.
#[test]
fn a_loss_that_is_no_number_stops_the_run_and_leaves_the_last_good_checkpoint() {
    let dir = TestDir::new();
    assert_eq!(dir.train_tiny("run", &[]).code, Some(0));
    let weights = dir.path("run/best/model.safetensors");
    let mut bytes = std::fs::read(&weights).expect("the weights");
    let header = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    for (index, value) in bytes[8 + header..].chunks_exact_mut(4).enumerate() {
        let huge = if index % 2 == 0 { 3e38f32 } else { -3e38 };
        value.copy_from_slice(&huge.to_le_bytes());
    }
    std::fs::write(&weights, bytes).expect("written");
    let tune = ["train", "--init-from", "run", "--corpus", "tide.txt", "--out", "tuned"];
    let args = [&tune[..], &["--steps", "20", "--seq-len", "16"]].concat();
    dir.fails(1, &args, &["at step 1", "--lr", "untouched"]);
    // What was written before the step that failed is still there.
    let info = dir.ok(&["info", "--checkpoint", "tuned/last", "--json"]);
    assert!(info.contains("\"step\": 0"), "{info}");
}

#[test]
fn two_trainers_do_not_share_a_folder() {
    let dir = TestDir::new();
    dir.train_tiny("seed", &["--steps", "1"]);
    let mut child = dir.start_until(&saving_all_the_time("run", "1000000"), "run/last");
    dir.fails(1, &["train", "--resume", "run"], &["another process is training"]);
    dir.fails(
        1,
        &["train", "--out", "run", "--corpus", "tide.txt", "--overwrite"],
        &["another process"],
    );
    kill(&mut child);
}

/// Of trainers that start at once in one new folder, one trains and the others are told.
#[test]
fn of_trainers_that_start_at_once_one_trains() {
    let dir = TestDir::new();
    dir.train_tiny("whole", &[]);
    let args = ["--hidden", "16", "--embedding", "8", "--layers", "1", "--batch", "4"];
    let args = [&args[..], &["--seq-len", "16", "--steps", "30", "--warmup", "5"]].concat();
    let args = [&["train", "--out", "run", "--corpus", "tide.txt"], &args[..]].concat();
    let started: Vec<_> = (0..6).map(|_| dir.start(&args)).collect();
    let codes: Vec<_> =
        started.into_iter().map(|mut child| child.wait().expect("it ends").code()).collect();
    assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == Some(1)).count(), 5, "{codes:?}");
    assert_same_run(&dir, "whole", "run");
}

/// A hundred readers, eight at a time, of a run that replaces its checkpoints all the time: each finds
/// weights, vocabulary and settings of one save.
#[test]
fn readers_during_training_never_see_a_mixture() {
    let dir = TestDir::new();
    dir.train_tiny("seed", &["--steps", "1"]);
    let mut child = dir.start_until(&saving_all_the_time("run", "1000000"), "run/best");
    let run = dir.path("run");
    std::thread::scope(|scope| {
        for reader in 0..8 {
            let run = &run;
            scope.spawn(move || {
                for _ in reader..13 + reader / 4 {
                    for name in ["", "best", "last"] {
                        let read = Checkpoint::open(&run.join(name), &Device::Cpu);
                        let checkpoint = read.unwrap_or_else(|error| panic!("{name}: {error:?}"));
                        assert!(checkpoint.network(&Device::Cpu).is_ok());
                    }
                }
            });
        }
    });
    dir.ok(&["sample", "--checkpoint", "run", "--length", "20"]);
    assert!(child.try_wait().expect("its state").is_none(), "it trains on");
    kill(&mut child);
}

/// Runs of two vocabularies replace each other in one folder. A reader finds one or the other.
#[test]
fn readers_during_overwrite_find_the_old_run_or_the_new_one() {
    let dir = TestDir::new();
    let tide = dir.train_tiny("run", &["--steps", "2"]);
    assert_eq!(tide.code, Some(0), "{tide:?}");
    dir.file("caps.txt", crate::support::TIDE.to_uppercase().repeat(30));
    let done = AtomicBool::new(false);
    let run = dir.path("run");
    let (mut small, mut capital) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0..12 {
                let corpus = if turn % 2 == 0 { "caps.txt" } else { "tide.txt" };
                let more = ["--corpus", corpus, "--steps", "2", "--overwrite"];
                let trained = dir.train_tiny("run", &more);
                assert_eq!(trained.code, Some(0), "{trained:?}");
            }
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            match Checkpoint::open(&run, &Device::Cpu) {
                Ok(checkpoint) if checkpoint.tokenizer.encode("tide").is_ok() => small += 1,
                Ok(checkpoint) => {
                    assert!(checkpoint.tokenizer.encode("TIDE").is_ok());
                    assert_eq!(checkpoint.config.corpus.name, "caps");
                    capital += 1;
                }
                Err(error) => panic!("{error:?}"),
            }
        }
    });
    assert!(small > 0 && capital > 0, "{small} of one run, {capital} of the other");
}

/// Files of two checkpoints, copied into one folder by hand.
#[test]
fn a_mixture_of_two_checkpoints_is_noticed() {
    let dir = TestDir::new();
    dir.train_tiny("a", &["--steps", "5"]);
    dir.train_tiny("b", &["--steps", "9"]);
    // The same number of characters, each shifted by one in the alphabet.
    let shifted = |c: char| if c.is_ascii_lowercase() { char::from(c as u8 + 1) } else { c };
    let text: String = crate::support::TIDE.repeat(30).chars().map(shifted).collect();
    dir.file("shifted.txt", text);
    dir.train_tiny("c", &["--corpus", "shifted.txt", "--steps", "5"]);
    let copy = |file: &str, from: &str| {
        std::fs::copy(dir.path(from).join(file), dir.path("a").join(file)).expect("a copy");
    };
    let sample = ["sample", "--checkpoint", "a/best", "--length", "5"];
    for file in ["best/model.safetensors", "best/tokenizer.json", "best/config.json"] {
        for from in ["b", "c"] {
            // The tokenizers of a and b are the same.
            if (file, from) == ("best/tokenizer.json", "b") {
                continue;
            }
            dir.train_tiny("a", &["--steps", "5", "--overwrite"]);
            dir.ok(&sample);
            copy(file, from);
            dir.fails(1, &sample, &["belongs to another save", "copy all files"]);
        }
    }
    for file in ["last/training.json", "last/training.safetensors"] {
        dir.train_tiny("a", &["--steps", "5", "--overwrite"]);
        copy(file, "b");
        dir.fails(1, &["train", "--resume", "a"], &["belongs to another save"]);
    }
}

/// Checkpoints of versions before the fingerprint stay readable and resumable.
#[test]
fn a_checkpoint_without_a_fingerprint_can_be_read_and_resumed() {
    let dir = TestDir::new();
    let settings = ["--schedule", "constant", "--eval-every", "10"];
    dir.train_tiny("whole", &[&settings[..], &["--steps", "40"]].concat());
    dir.train_tiny("run", &settings);
    for file in ["best/model", "last/model", "last/training"] {
        let path = dir.path("run").join(format!("{file}.safetensors"));
        let tensors = candle_core::safetensors::load(&path, &Device::Cpu).expect("tensors");
        let tensors: Vec<_> = tensors.into_iter().collect();
        let bytes = chargru::checkpoint::tensors_to_bytes(&tensors).expect("bytes");
        assert!((bytes.len() as u64) < std::fs::metadata(&path).expect("a file").len());
        std::fs::write(&path, bytes).expect("written");
    }
    let path = dir.path("run/last/training.json");
    let mut record = json(&std::fs::read_to_string(&path).expect("the record"));
    record.as_object_mut().expect("an object").remove("fingerprint").expect("a fingerprint");
    std::fs::write(&path, record.to_string()).expect("written");
    dir.ok(&["sample", "--checkpoint", "run", "--length", "5"]);
    dir.ok(&["train", "--resume", "run", "--steps", "40"]);
    assert_same_run(&dir, "whole", "run");
}
