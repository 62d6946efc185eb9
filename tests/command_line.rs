//! What the commands print, and where.

use std::io::{Read, Write};
use std::process::Stdio;

use crate::support::{Start, TIDE, TestDir, json};

#[test]
fn help_goes_to_stdout_and_names_every_flag() {
    let dir = TestDir::new();
    for command in
        ["train", "compare", "sample", "eval", "score", "fill", "proofread", "report", "info"]
    {
        let help = dir.ok(&[command, "--help"]);
        assert!(help.contains("Usage: chargru"), "{help}");
    }
    let help = dir.ok(&["train", "--help"]);
    for flag in "corpus out resume init-from config preset cell hidden embedding layers dropout batch \
                 seq-len steps epochs time-limit lr weight-decay clip warmup schedule val-fraction \
                 eval-every patience sample-every seed threads device units documents encoding newlines"
        .split_whitespace()
    {
        assert!(help.contains(&format!("--{flag} ")), "--{flag} is missing");
    }
    dir.fails(2, &[], &["Usage"]);
}

/// They were once broken in the source, and then again at the width of the terminal.
#[test]
fn the_rules_in_a_help_are_broken_at_one_width() {
    let dir = TestDir::new();
    for command in ["score", "fill", "proofread"] {
        let help = dir.ok(&[command, "--help"]);
        let rules = help.split("Print help").nth(1).and_then(|rules| rules.split_once("\n\n"));
        let rules = rules.expect("rules").1;
        let lines: Vec<&str> =
            rules.lines().take_while(|line| !line.starts_with("Examples")).collect();
        assert!(lines.len() > 5, "{rules}");
        for two in lines.windows(2).filter(|two| two.iter().all(|line| !line.is_empty())) {
            let word = two[1].split(' ').next().expect("a word");
            assert!(two[0].len() <= 100 && two[0].len() + 1 + word.len() > 100, "{rules}");
        }
    }
}

#[test]
fn training_learns_and_says_where_the_checkpoint_is() {
    let dir = TestDir::new();
    let run = dir.train_tiny("run", &["--steps", "150", "--lr", "0.02", "--dropout", "0"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stderr.contains("the checkpoint is run"), "{run:?}");
    // The sample, and nothing else, is the product.
    assert!(!run.stdout.is_empty() && !run.stdout.contains("step"), "{run:?}");
    let info = json(&dir.ok(&["info", "--checkpoint", "run", "--json"]));
    let loss = info["progress"]["val_loss"].as_f64().expect("a loss");
    assert!(loss < 0.5, "two sentences over and over were not learnt: {loss}");
    // 23 x 8, 48 x 8 + 48 x 16 + 48, 23 x 16 + 23
    assert_eq!(info["parameter_count"], 184 + 1_200 + 391);
    let metrics = std::fs::read_to_string(dir.path("run/metrics.jsonl")).expect("metrics");
    let first = json(metrics.lines().next().expect("a line"));
    let names = "step epoch train_loss val_loss lr chars_per_second elapsed_seconds gradient_norm \
                 gradient_norm_max skipped_steps";
    for name in names.split_whitespace() {
        assert!(first[name].is_number(), "{name} in {first}");
    }
    let text = dir.ok(&[
        "sample",
        "--checkpoint",
        "run",
        "--prompt",
        "Nobody",
        "--temperature",
        "0",
        "--length",
        "13",
    ]);
    assert_eq!(text, "Nobody asks it why.\n");
}

#[test]
fn eval_reproduces_the_validation_loss() {
    let dir = TestDir::new();
    for (out, more) in [
        ("streams", &[][..]),
        ("documents", &["--documents", "lines"][..]),
        ("bytes", &["--units", "bytes", "--cell", "gru-reset-after"][..]),
    ] {
        let run = dir.train_tiny(out, more);
        assert_eq!(run.code, Some(0), "{run:?}");
        let info = json(&dir.ok(&["info", "--checkpoint", out, "--json"]));
        let recorded = info["progress"]["val_loss"].as_f64().expect("a loss");
        let eval = |more: &[&str]| {
            let args = [&["eval", "--checkpoint", out, "--json"], more].concat();
            json(&dir.ok(&args))
        };
        let result = eval(&["--corpus", "tide.txt"]);
        let loss = result["loss"].as_f64().expect("a loss");
        assert!((loss - recorded).abs() < 1e-4, "{out}: {loss} against {recorded}");
        assert_eq!(result["part"], "validation");
        let bits = result["bits_per_character"].as_f64().expect("bits");
        assert!((bits - loss / std::f64::consts::LN_2).abs() < 1e-9);
        // Another text is measured whole.
        dir.file("other.txt", TIDE.repeat(2));
        let other = eval(&["--corpus", "other.txt"]);
        assert_eq!(other["part"], "all");
        let expected = if out == "documents" { 2 * TIDE.len() } else { 2 * TIDE.len() - 1 };
        assert_eq!(other["ids"], expected, "{out}");
    }
}

#[test]
fn sampling_follows_its_seed_length_and_number() {
    let dir = TestDir::new();
    dir.train_tiny("run", &[]);
    let written = |length: &str, more: &[&str]| {
        dir.ok(&[&["sample", "--checkpoint", "run", "--length", length], more].concat())
    };
    let sample = |more: &[&str]| written("40", more);
    assert_eq!(sample(&["--seed", "5"]), sample(&["--seed", "5"]));
    assert_ne!(sample(&["--seed", "5"]), sample(&["--seed", "6"]));
    assert_ne!(sample(&[]), sample(&[]), "without a seed every text is another");
    let text = sample(&["--prompt", "The ", "--seed", "5", "--no-prompt", "--json"]);
    let object = json(&text);
    assert_eq!(object["text"].as_str().expect("text").chars().count(), 40);
    assert_eq!(object["prompt"], "The ");
    let three = sample(&["--num", "3", "--seed", "5", "--json"]);
    let texts: Vec<_> = three.lines().map(|line| json(line)["text"].clone()).collect();
    assert_eq!(texts.len(), 3);
    assert!(texts[0] != texts[1] && texts[1] != texts[2]);
    assert_eq!(written("0", &["--prompt", "The"]), "The\n");
    let empty = written("0", &["--num", "3", "--json"]);
    let texts: Vec<_> = empty.lines().map(|line| json(line)["text"].clone()).collect();
    assert_eq!(texts, ["", "", ""]);
}

#[test]
fn documents_end_themselves() {
    let dir = TestDir::new();
    dir.file("names.txt", "Anna\nBert\nCarla\nDora\nEmil\n".repeat(40));
    dir.ok(&[
        "train",
        "--corpus",
        "names.txt",
        "--documents",
        "lines",
        "--out",
        "names",
        "--hidden",
        "32",
        "--layers",
        "1",
        "--steps",
        "150",
        "--batch",
        "8",
        "--seq-len",
        "32",
        "--lr",
        "0.02",
    ]);
    let out = dir.ok(&[
        "sample",
        "--checkpoint",
        "names",
        "--num",
        "20",
        "--seed",
        "1",
        "--temperature",
        "0.3",
    ]);
    let names: Vec<&str> = out.lines().collect();
    assert_eq!(names.len(), 20, "{out}");
    for name in names {
        assert!(["Anna", "Bert", "Carla", "Dora", "Emil"].contains(&name), "{out}");
    }
    let began = dir.ok(&[
        "sample",
        "--checkpoint",
        "names",
        "--prompt",
        "Ca",
        "--temperature",
        "0",
        "--json",
    ]);
    assert_eq!(json(&began)["text"], "rla");
    assert_eq!(json(&began)["ended"], true);
}

#[test]
fn a_prompt_comes_from_a_file_or_from_stdin() {
    let dir = TestDir::new();
    dir.train_tiny("run", &[]);
    dir.file("prompt.txt", "Nobody ");
    let args = ["sample", "--checkpoint", "run", "--length", "3", "--seed", "1"];
    let from_file = dir.ok(&[&args[..], &["--prompt-file", "prompt.txt"]].concat());
    assert!(from_file.starts_with("Nobody "), "{from_file}");
    let mut child = dir
        .command(&args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .start();
    child.stdin.take().expect("stdin").write_all(b"Nobody ").expect("it reads");
    let mut from_stdin = String::new();
    child.stdout.take().expect("stdout").read_to_string(&mut from_stdin).expect("text");
    assert!(child.wait().expect("it ends").success());
    assert_eq!(from_stdin, from_file);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let dir = TestDir::new();
    dir.train_tiny("run", &[]);
    let mut child = dir
        .command(&["sample", "--checkpoint", "run", "--length", "1000000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .start();
    let mut some = [0; 10];
    let mut stdout = child.stdout.take().expect("stdout");
    stdout.read_exact(&mut some).expect("text");
    drop(stdout);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("error"), "{output:?}");
}

#[test]
fn settings_come_from_flags_then_a_file_then_a_preset() {
    let dir = TestDir::new();
    dir.file("tide.txt", TIDE.repeat(20));
    dir.file(
        "settings.toml",
        "corpus = 'tide.txt'\npreset = 'medium'\nlayers = 1\nhidden = 24\nsteps = 2\nseq-len = 16\ntime-limit = '5m'\n",
    );
    dir.ok(&["train", "--config", "settings.toml", "--hidden", "20", "--out", "run"]);
    let info = json(&dir.ok(&["info", "--checkpoint", "run", "--json"]));
    assert_eq!(info["model"]["hidden"], 20, "a flag wins over the file");
    assert_eq!(info["model"]["layers"], 1, "the file wins over the preset");
    // The text of 900 characters would have 8, and fills 50 streams of 16.
    assert!(info["training"]["batch"].as_u64() > Some(8), "the preset wins over the text");
    assert_eq!(info["training"]["seq_len"], 16);
    assert_eq!(info["training"]["time_limit"]["secs"], 300);
}

#[test]
fn score_tells_the_expected_from_the_unexpected() {
    let dir = TestDir::new();
    dir.train_tiny("run", &["--steps", "150", "--lr", "0.02"]);
    dir.file("text.txt", "The tide comes in\ntthh eeee iiiidd\n");
    let out = dir.ok(&[
        "score",
        "--checkpoint",
        "run",
        "--json",
        "--logits",
        "logits.safetensors",
        "text.txt",
    ]);
    let lines: Vec<_> = out.lines().map(json).collect();
    assert_eq!(lines.len(), 2);
    let bits = |line: usize| lines[line]["bits_per_character"].as_f64().expect("bits");
    assert!(bits(0) + 1.0 < bits(1), "{out}");
    assert_eq!(lines[0]["ids"], 17, "nothing precedes the first character");
    let logits =
        candle_core::safetensors::load(dir.path("logits.safetensors"), &candle_core::Device::Cpu)
            .expect("a safetensors file");
    assert_eq!(logits["logits"].dims()[0], 35);
}
