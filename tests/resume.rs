//! Interrupted and resumed equals uninterrupted, to the bit.

use std::path::Path;

use crate::support::{TIDE, TestDir};

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// metrics.jsonl without what depends on the clock.
fn losses(run: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).expect("metrics.jsonl");
    text.lines()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
            let exact = |name: &str| value[name].to_string();
            ["step", "epoch", "train_loss", "val_loss", "lr"].map(exact).join(" ")
        })
        .collect()
}

/// All weights, moments and losses of the two runs are equal to the bit.
pub fn assert_same_run(dir: &TestDir, a: &str, b: &str) {
    for name in ["best", "last"] {
        let file = |run: &str| read(&dir.path(run).join(name).join("model.safetensors"));
        assert!(file(a) == file(b), "{name} differs");
    }
    let moments = |run: &str| read(&dir.path(run).join("last/training.safetensors"));
    assert!(moments(a) == moments(b), "the optimizer differs");
    assert_eq!(losses(&dir.path(a)), losses(&dir.path(b)));
}

/// Stops `parts` after each of `stops` steps by ending the run there, then lets it go on.
fn in_parts_and_whole(more: &[&str]) {
    let dir = TestDir::new();
    let whole =
        [more, &["--eval-every", "7", "--schedule", "constant", "--dropout", "0.2"]].concat();
    assert_eq!(dir.train_tiny("whole", &whole).code, Some(0));
    let first = [&whole[..], &["--steps", "7"]].concat();
    let run = dir.train_tiny("parts", &first);
    assert_eq!(run.code, Some(0), "{run:?}");
    for steps in ["21", "30"] {
        dir.ok(&["train", "--resume", "parts", "--steps", steps]);
    }
    assert_same_run(&dir, "whole", "parts");
}

#[test]
fn streams_go_on_to_the_bit() {
    in_parts_and_whole(&["--layers", "2"]);
}

#[test]
fn documents_go_on_to_the_bit() {
    in_parts_and_whole(&["--documents", "lines", "--cell", "lstm"]);
}

/// Ctrl-C at an arbitrary step, the schedule falling: the run saves, exits with 130, and goes on.
#[cfg(unix)]
#[test]
fn an_interrupted_run_goes_on_to_the_bit() {
    let dir = TestDir::new();
    let settings = ["--steps", "400", "--eval-every", "90", "--sample-every", "100"];
    assert_eq!(dir.train_tiny("whole", &settings).code, Some(0));

    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let out = format!("parts{signal}");
        let mut args = vec!["train", "--out", &out, "--corpus", "tide.txt"];
        args.extend(["--hidden", "16", "--embedding", "8", "--layers", "1", "--batch", "4"]);
        args.extend(["--seq-len", "16", "--warmup", "5"]);
        args.extend(settings);
        // As soon as it trains: the first evaluation has been written.
        let mut child = dir.start_until(&args, &format!("{out}/metrics.jsonl"));
        let sent = std::process::Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(sent.success());
        let status = child.wait().expect("the program ends");
        // A machine this fast may have finished before the signal came.
        assert!([Some(code), Some(0)].contains(&status.code()), "{status:?}");
        dir.ok(&["train", "--resume", &out]);
        assert_same_run(&dir, "whole", &out);
    }
}

#[test]
fn threads_do_not_change_the_result() {
    let dir = TestDir::new();
    for threads in ["1", "2", "3"] {
        let run = dir.train_tiny(threads, &["--threads", threads, "--batch", "7"]);
        assert_eq!(run.code, Some(0), "{run:?}");
    }
    assert_same_run(&dir, "1", "2");
    assert_same_run(&dir, "1", "3");
}

#[test]
fn a_resumed_run_refuses_another_text_and_other_settings() {
    let dir = TestDir::new();
    dir.train_tiny("run", &[]);
    dir.fails(2, &["train", "--resume", "run", "--hidden", "32"], &["--hidden", "cannot change"]);
    dir.file("tide.txt", TIDE.repeat(31));
    let says = ["not the one that the run was trained on"];
    dir.fails(1, &["train", "--resume", "run", "--steps", "40"], &says);
    dir.fails(1, &["train", "--resume", "nowhere"], &["nowhere holds no run to resume"]);
}

/// A count of 2^64 - 1 overflowed at the next step: that of the optimizer became 0, and the weights NaN.
#[test]
fn counts_of_a_training_state_that_no_run_reaches_are_refused() {
    let dir = TestDir::new();
    for (out, more, names) in [
        ("streams", &["--val-fraction", "0"][..], &["epoch"][..]),
        ("documents", &["--documents", "lines"], &["windows", "queue_epoch"]),
    ] {
        assert_eq!(dir.train_tiny(out, more).code, Some(0));
        let file = dir.path(&format!("{out}/last/training.json"));
        let whole = std::fs::read_to_string(&file).expect("training.json");
        let all = ["step", "optimizer_steps", "evaluations_since_best", "loss_count"];
        for name in all.iter().chain(names) {
            let at = whole.find(&format!("\"{name}\": ")).expect("the count") + name.len() + 4;
            let end = at + whole[at..].find([',', '\n']).expect("its end");
            let huge = format!("{}{}{}", &whole[..at], u64::MAX, &whole[end..]);
            std::fs::write(&file, huge).expect("written");
            let says = ["cannot be resumed", &format!("{name} is {}", u64::MAX)];
            dir.fails(1, &["train", "--resume", out, "--steps", "40"], &says);
        }
    }
}

#[test]
fn fine_tuning_keeps_or_grows_the_vocabulary() {
    let dir = TestDir::new();
    dir.train_tiny("run", &[]);
    dir.file("same.txt", "the tide, the coast, the hymn\n".repeat(30));
    dir.file("other.txt", "the tide? THE TIDE!\n".repeat(30));
    let tune = |corpus: &'static str, out: &'static str| {
        vec![
            "train",
            "--init-from",
            "run",
            "--corpus",
            corpus,
            "--out",
            out,
            "--steps",
            "20",
            "--seq-len",
            "16",
        ]
    };
    dir.ok(&tune("same.txt", "same"));
    dir.fails(1, &tune("other.txt", "grown"), &["'!'", "'?'", "--extend-vocab"]);
    let mut grow = tune("other.txt", "grown");
    grow.push("--extend-vocab");
    dir.ok(&grow);
    let text = dir.ok(&["sample", "--checkpoint", "grown", "--prompt", "THE?!", "--length", "5"]);
    assert!(text.starts_with("THE?!"), "{text}");
    let shape =
        ["train", "--init-from", "run", "--hidden", "32", "--out", "x", "--corpus", "same.txt"];
    dir.fails(2, &shape, &["--hidden", "--init-from"]);
}
