//! What a bidirectional checkpoint is measured and used by: eval, score, info, sample, and which run is meant.

use chargru::Device;
use chargru::checkpoint::Checkpoint;
use chargru::evaluate::score_both_sides;
use chargru::model::SidesReader;

use crate::support::{TIDE, TestDir, json};

fn train(dir: &TestDir, out: &str, more: &[&str]) {
    let run = dir.train_tiny(out, more);
    assert_eq!(run.code, Some(0), "{run:?}");
}

/// A model of the lines of names.txt.
fn of_lines() -> TestDir {
    let dir = TestDir::new();
    dir.file("names.txt", "Anna\nBert\nCarla\nDora\nEmil\n".repeat(40));
    let more = ["--corpus", "names.txt", "--documents", "lines", "--bidirectional"];
    train(&dir, "names", &more);
    dir
}

fn sum(lines: &[serde_json::Value]) -> f64 {
    lines.iter().map(|line| line["nats"].as_f64().expect("nats")).sum()
}

#[test]
fn score_costs_what_eval_says_from_both_sides() {
    let dir = of_lines();
    dir.file("three.txt", "Bert\nAnna\nBert\n");
    let args = ["score", "--checkpoint", "names", "three.txt", "--json", "--per"];
    let score = |per| -> Vec<serde_json::Value> {
        dir.ok(&[&args[..], &[per]].concat()).lines().map(json).collect()
    };
    let lines = score("line");
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line["ids"] == 4), "the end is not scored: {lines:?}");
    let nats = |line: &serde_json::Value| line["nats"].as_f64().expect("nats");
    assert!((nats(&lines[0]) - nats(&lines[2])).abs() < 1e-5, "a line knows nothing of others");
    assert_eq!(score("char").len(), 12);
    let eval = ["eval", "three.txt", "--checkpoint", "names", "--part", "all", "--json"];
    let eval = json(&dir.ok(&eval));
    assert_eq!((&eval["ids"], &eval["measure"]), (&12.into(), &"pseudo-likelihood".into()));
    let loss = eval["loss"].as_f64().expect("a loss");
    assert!((loss - sum(&lines) / 12.0).abs() < 1e-5 * loss, "{loss}, {lines:?}");
}

#[test]
fn one_text_is_scored_but_for_its_first_and_last_character() {
    let dir = TestDir::new();
    train(&dir, "tide", &["--bidirectional"]);
    dir.file("text.txt", &TIDE.repeat(9)[..200]);
    let score = ["score", "--checkpoint", "tide", "text.txt", "--json", "--per", "char"];
    let characters: Vec<_> = dir.ok(&score).lines().map(json).collect();
    let predicted: Vec<_> = characters.iter().map(|line| line["ids"] == 1).collect();
    assert_eq!(predicted.len(), 200);
    assert!(!predicted[0] && !predicted[199] && predicted[1..199].iter().all(|&one| one));
    let eval = ["eval", "text.txt", "--checkpoint", "tide", "--part", "all", "--json"];
    let eval = json(&dir.ok(&eval));
    assert_eq!(eval["ids"], 198);
    let loss = eval["loss"].as_f64().expect("a loss");
    assert!((loss - sum(&characters) / 198.0).abs() < 1e-5 * loss, "{loss}");
}

/// What is kept between the ids of a text gives the logits that a window gives, for every length.
#[test]
fn states_between_ids_give_the_logits_of_a_window() {
    for (cell, more) in [("gru", &[][..]), ("lstm", &[]), ("gru", &["--residual"])] {
        let dir = TestDir::new();
        let flags = ["--bidirectional", "--layers", "2", "--steps", "5", "--cell", cell];
        train(&dir, "tide", &[&flags[..], more].concat());
        let checkpoint = Checkpoint::open(&dir.path("tide"), &Device::Cpu).expect("a checkpoint");
        let network = checkpoint.bidirectional(&Device::Cpu).expect("it is bidirectional");
        let text = TIDE.repeat(9);
        let texts: Vec<Vec<u32>> = [9, 3, 1, 40, 2]
            .map(|length| checkpoint.tokenizer.encode(&text[length..2 * length]).expect("ids"))
            .to_vec();
        let scores = score_both_sides(&network, &checkpoint.tokenizer, &texts, true);
        let want = scores.expect("scores").logits.expect("logits").to_vec2::<f32>().expect("rows");

        let slices: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        let sides = SidesReader::new(&network).expect("a reader").read(&slices).expect("states");
        let positions: Vec<(usize, usize)> = (0..texts.len())
            .flat_map(|text| (1..texts[text].len().max(1) - 1).map(move |at| (text, at)))
            .collect();
        let got = sides.logits(&positions).expect("logits").to_vec2::<f32>().expect("rows");
        assert_eq!((got.len(), want.len()), (46, 46));
        for (got, want) in got.iter().flatten().zip(want.iter().flatten()) {
            assert!((got - want).abs() < 1e-4, "{cell}: {got} {want}");
        }
    }
}

#[test]
fn a_loss_from_both_sides_is_called_what_it_is() {
    let dir = TestDir::new();
    let run = dir.train_tiny("both", &["--bidirectional"]);
    let says = "pseudo-likelihood";
    assert!(run.stderr.contains("model   bidirectional gru"), "{run:?}");
    assert!(run.stderr.contains(&format!("best validation {says}")), "{run:?}");
    assert!(!run.stderr.contains("validation loss"), "{run:?}");
    for args in [&["eval", "--checkpoint", "both"][..], &["info", "--checkpoint", "both"]] {
        assert!(dir.ok(args).contains(says), "{args:?}");
    }
    train(&dir, "forward", &[]);
    for args in [&["eval", "--checkpoint", "forward"][..], &["info", "--checkpoint", "forward"]] {
        assert!(!dir.ok(args).contains(says), "{args:?}");
    }
}

#[test]
fn sample_writes_with_the_forward_half() {
    let dir = TestDir::new();
    train(&dir, "both", &["--bidirectional"]);
    let args = ["sample", "The ", "--checkpoint", "both", "--length", "20", "--seed", "1"];
    let run = dir.run(&args);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.starts_with("The ") && run.stdout.chars().count() >= 24, "{run:?}");
    assert!(run.stderr.contains("the half of this bidirectional model"), "{run:?}");
}

#[test]
fn fill_takes_the_newest_model_that_can() {
    let dir = TestDir::new();
    let run = dir.run(&["fill", "The t_de"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains("no bidirectional model in ./checkpoints yet"), "{run:?}");
    train(&dir, "checkpoints/both", &["--bidirectional"]);
    train(&dir, "checkpoints/forward", &[]);
    let run = dir.run(&["fill", "The t_de"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stderr.contains("both"), "{run:?}");
    let run = dir.run(&["sample", "The ", "--length", "3"]);
    assert!(run.stderr.contains("forward") && !run.stderr.contains("both"), "{run:?}");
}
