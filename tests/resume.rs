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
            [
                "step",
                "epoch",
                "train_loss",
                "val_loss",
                "lr",
                "gradient_norm",
                "gradient_norm_max",
                "skipped_steps",
            ]
            .map(exact)
            .join(" ")
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
pub fn in_parts_and_whole(more: &[&str]) {
    let dir = TestDir::new();
    // All that depends on the end that is given at first.
    let fixed =
        "--schedule constant --dropout 0.2 --weight-drop 0.1 --weight-decay 0.1 --eval-every 7";
    let whole: Vec<&str> = more.iter().copied().chain(fixed.split(' ')).collect();
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
    in_parts_and_whole(&["--layers", "2", "--residual"]);
}

#[test]
fn documents_go_on_to_the_bit() {
    in_parts_and_whole(&["--documents", "lines", "--cell", "lstm"]);
}

#[test]
fn a_finished_run_keeps_its_losses_when_it_is_resumed() {
    let dir = TestDir::new();
    assert_eq!(dir.train_tiny("run", &["--eval-every", "7"]).code, Some(0));
    let config = || String::from_utf8(read(&dir.path("run/last/config.json"))).expect("UTF-8");
    let before = config();
    assert!(before.contains("\"train_loss\"") && before.contains("\"val_loss\""), "{before}");
    dir.ok(&["train", "--resume", "run"]);
    assert_eq!(config(), before);
}

#[test]
fn a_run_that_is_over_says_so_when_it_is_resumed() {
    let dir = TestDir::new();
    dir.train_tiny("run", &[]);
    for (more, end) in [(&[][..], 30), (&["--steps", "20"], 20), (&["--steps", "30"], 30)] {
        let run = dir.run(&[&["train", "--resume", "run"], more].concat());
        assert_eq!(run.code, Some(0), "{run:?}");
        let says = format!("it was to end after {end} steps and has taken 30; --steps above 30");
        assert!(run.stderr.contains(&says), "{run:?}");
    }
    dir.train_tiny("timed", &["--time-limit", "1ms"]);
    let run = dir.run(&["train", "--resume", "timed", "--time-limit", "1ms"]);
    assert!(run.stderr.contains("has taken its time of 1ms; a longer --time-limit"), "{run:?}");
}

/// With so low a learning rate no weight changes: no evaluation is better than the first.
#[test]
fn a_run_ended_by_patience_goes_on_with_another_end() {
    let dir = TestDir::new();
    let stuck = ["--lr", "1e-30", "--weight-decay", "0", "--eval-every", "5", "--patience", "2"];
    let run = dir.train_tiny("run", &[&stuck[..], &["--steps", "300"]].concat());
    assert!(run.code == Some(0) && run.stderr.contains("no better for a while"), "{run:?}");
    let step = || {
        let record = String::from_utf8(read(&dir.path("run/last/training.json"))).expect("UTF-8");
        crate::support::json(&record)["step"].as_u64().expect("a step")
    };
    assert_eq!(step(), 15);
    let resumed = |more: &[&str]| {
        let run = dir.run(&[&["train", "--resume", "run"], more].concat());
        assert_eq!(run.code, Some(0), "{run:?}");
        run
    };
    let run = resumed(&[]);
    assert!(run.stderr.contains("has not fallen for 2 evaluations (--patience)"), "{run:?}");
    assert_eq!(step(), 15);
    // It waits for two more evaluations, or as many as the new patience says.
    let run = resumed(&["--steps", "400"]);
    assert!(run.stderr.contains("no better for a while"), "{run:?}");
    assert_eq!(step(), 25);
    resumed(&["--patience", "3"]);
    assert_eq!(step(), 40);
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
        // A save after every step makes it slow enough to be met before its end.
        args.extend(["--save-every", "0s"]);
        // As soon as it trains: the first evaluation has been written.
        let mut child = dir.start_until(&args, &format!("{out}/metrics.jsonl"));
        let sent = std::process::Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(sent.success());
        let status = child.wait().expect("the program ends");
        assert_eq!(status.code(), Some(code));
        dir.ok(&["train", "--resume", &out]);
        assert_same_run(&dir, "whole", &out);
        let samples = |run: &str| read(&dir.path(run).join("samples.jsonl"));
        assert!(samples(&out) == samples("whole"), "the samples differ");
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

#[test]
fn fine_tuning_on_the_same_documents_keeps_what_validates() {
    let dir = TestDir::new();
    let names: String = (0..200).map(|n| format!("{n} {}\n", n * 7919 % 1000)).collect();
    dir.file("names.txt", &names);
    let run = dir.train_tiny("run", &["--corpus", "names.txt", "--documents", "lines"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let tune = |out: &str, documents: &str, more: &[&str]| {
        let args = ["train", "--init-from", "run", "--out", out, "--steps", "2", "--seed", "9"];
        let text = ["--corpus", "names.txt", "--documents", documents, "--seq-len", "16"];
        let run = dir.run(&[&args, &text[..], more].concat());
        assert_eq!(run.code, Some(0), "{run:?}");
        let info = crate::support::json(&dir.ok(&["info", "--checkpoint", out, "--json"]));
        let split = &info["corpus"];
        (run.stderr, split["split_seed"].as_u64(), split["val_fraction"].as_f64())
    };
    let (says, seed, fraction) = tune("kept", "lines", &[]);
    assert_eq!((seed, fraction), (Some(1), Some(0.1)));
    assert!(says.contains("what validates now, 0.1 of it, did then"), "{says}");
    let (says, seed, fraction) = tune("more", "lines", &["--val-fraction", "0.5"]);
    assert_eq!((seed, fraction), (Some(1), Some(0.5)));
    assert!(says.contains("--val-fraction 0.1: with 0.5 some of what validates now was"), "{says}");
    let (says, seed, _) = tune("stream", "off", &["--extend-vocab"]);
    assert!(seed == Some(9) && says.contains("divided into other documents"), "{says}");
    dir.file("names.txt", names.replace('7', "1"));
    let (says, seed, _) = tune("other", "lines", &[]);
    assert!(seed == Some(9) && !says.contains("was trained on this text"), "{says}");
}

#[test]
fn files_that_are_cut_differently_are_not_taken_for_the_same_documents() {
    let dir = TestDir::new();
    let write = |files: &[&str]| {
        let _ = std::fs::remove_dir_all(dir.path("tales"));
        for (index, text) in files.iter().enumerate() {
            dir.file(&format!("tales/{index}.txt"), text);
        }
    };
    let files = ["one tide\n", "two tides\nthree\n", "four\n", "the tide goes out\n"];
    write(&files);
    let run = dir.train_tiny("run", &["--corpus", "tales", "--documents", "files"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let eval = || dir.run(&["eval", "--checkpoint", "run"]);
    assert_eq!(eval().code, Some(0));
    dir.ok(&["train", "--resume", "run", "--steps", "31"]);
    write(&["one tide\ntwo tides\n", "three\n", "four\n", "the tide goes out\n"]);
    let resume = ["train", "--resume", "run", "--steps", "32"];
    dir.fails(1, &resume, &["divided into other files", "--corpus", "--init-from"]);
    let run = eval();
    assert!(run.code == Some(1) && run.stderr.contains("has changed since"), "{run:?}");

    // A checkpoint of before the cut was recorded is taken as it was.
    write(&files);
    let path = dir.path("run/last/config.json");
    let config = std::fs::read_to_string(&path).expect("config.json");
    let old: Vec<&str> = config.lines().filter(|line| !line.contains("\"files\": \"")).collect();
    assert_eq!(old.len() + 1, config.lines().count());
    std::fs::write(&path, old.join("\n")).expect("written");
    dir.ok(&["train", "--resume", "run", "--steps", "33"]);
}
