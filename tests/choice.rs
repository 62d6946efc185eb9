//! Settings that choose themselves, and the average of the weights, from the command line.

use chargru::model::Precision;

use crate::resume::assert_same_run;
use crate::support::{TIDE, TestDir, json};

fn chosen(log: &str) -> Vec<&str> {
    log.lines().filter_map(|line| line.strip_prefix("chosen  ")).collect()
}

#[test]
fn what_is_chosen_is_said_in_three_lines_and_flags_win() {
    let dir = TestDir::new();
    dir.file("tide.txt", TIDE.repeat(30));
    let run = dir.run(&["train", "tide.txt", "--out", "a", "--patience", "3"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let said = chosen(&run.stderr);
    assert_eq!(said.len(), 3, "{run:?}");
    assert_eq!(said[0], "1 layer of 64 for 1,740 characters");
    assert!(said[1].starts_with("dropout 0.5, weight drop 0.4, weight decay 0.3 for "), "{run:?}");
    assert!(said[2].contains("until 3 evaluations in a row"), "{run:?}");
    let all = "train tide.txt --out b --hidden 8 --layers 2 --dropout 0.1 --weight-drop 0 --steps 20 \
               --weight-decay 0.05 --documents off";
    let run = dir.run(&all.split_whitespace().collect::<Vec<_>>());
    assert_eq!((run.code, chosen(&run.stderr)), (Some(0), vec![]), "{run:?}");
    let info = json(&dir.ok(&["info", "--checkpoint", "b", "--json"]));
    assert_eq!(info["model"]["hidden"], 8);
    assert_eq!(info["training"]["weight_decay"], 0.05);
    // An end that is given is the only one.
    assert_eq!(info["training"]["steps"], 20);
    assert_eq!(info["training"]["patience"], serde_json::Value::Null);
}

#[test]
fn a_list_of_names_is_learnt_line_by_line_unless_a_flag_says_otherwise() {
    let dir = TestDir::new();
    let names: String = (0..200).map(|i| format!("Ada{i} Bo{}\n", 7 * i)).collect();
    dir.file("names.txt", names);
    let documents = |out: &str, more: &[&str]| {
        let args = ["train", "names.txt", "--steps", "3", "--out", out];
        let log = dir.run(&[&args, more].concat()).stderr;
        let info = json(&dir.ok(&["info", "--checkpoint", out, "--json"]));
        (info["corpus"]["documents"].as_str().expect("documents").to_string(), log)
    };
    let (lines, log) = documents("a", &[]);
    assert_eq!(lines, "lines");
    assert!(log.contains("a list whose lines are learnt each on its own"), "{log}");
    assert_eq!(documents("b", &["--documents", "off"]).0, "off");
    // One that goes on from a checkpoint has its documents and its layers.
    assert_eq!(documents("c", &["--init-from", "b"]).0, "off");
    assert_eq!(documents("d", &["--init-from", "a"]).0, "lines");
}

#[test]
fn a_time_limit_chooses_the_sizes_by_the_speed_of_the_machine() {
    let dir = TestDir::new();
    let text: String = (0..20_000).map(|i| format!("the tide {i} comes in, \n\n")).collect();
    dir.file("long.txt", text);
    let run = dir.run(&["train", "long.txt", "--out", "a", "--time-limit", "1ms"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let said = chosen(&run.stderr);
    assert!(said[0].starts_with("1 layer of 64 for "), "{run:?}");
    assert!(said[0].ends_with("and 1ms, at the speed measured here"), "{run:?}");
    // There is nothing to measure where the sizes are given.
    let fixed = ["--hidden", "24", "--layers", "2", "--precision", "f32"];
    let timed = ["train", "long.txt", "--time-limit", "1ms", "--out", "b"];
    let run = dir.run(&[&timed[..], &fixed[..]].concat());
    assert_eq!((run.code, chosen(&run.stderr).len()), (Some(0), 1), "{run:?}");
}

/// In the same time there are more steps in bfloat16, where the processor has it.
#[test]
fn a_time_limit_chooses_the_faster_precision_and_a_flag_wins() {
    let dir = TestDir::new();
    let precision = |out: &str, flags: &[&str]| {
        let run = dir.train_tiny(out, flags);
        assert_eq!(run.code, Some(0), "{run:?}");
        let config = std::fs::read_to_string(dir.path(&format!("{out}/last/config.json")));
        let said = run.stderr.contains("chosen  --precision bf16");
        (json(&config.expect("config.json"))["training"]["precision"].clone(), said)
    };
    let has_bf16 = Precision::bf16_supported();
    let fastest = if has_bf16 { "bf16" } else { "f32" };
    assert_eq!(precision("timed", &["--time-limit", "1h"]), (fastest.into(), has_bf16));
    assert_eq!(precision("plain", &[]), ("f32".into(), false));
    let f32 = ["--time-limit", "1h", "--precision", "f32"];
    assert_eq!(precision("given", &f32), ("f32".into(), false));
    let reference = ["--time-limit", "1h", "--device", "cpu-reference"];
    assert_eq!(precision("reference", &reference), ("f32".into(), false));
    // A machine without it goes on with the run.
    dir.ok(&["train", "--resume", "timed", "--steps", "40", "--precision", "f32"]);
    let config = std::fs::read_to_string(dir.path("timed/last/config.json")).expect("config.json");
    assert_eq!(json(&config)["training"]["precision"], "f32");
}

/// `last` and `best` have the average; without one they have the weights themselves.
#[test]
fn the_average_of_the_weights_is_what_is_saved_and_evaluated() {
    let dir = TestDir::new();
    let tiny = |out: &str, more: &[&str]| {
        let run = dir.train_tiny(out, &[&["--eval-every", "30"], more].concat());
        assert_eq!(run.code, Some(0), "{run:?}");
        std::fs::read(dir.path(&format!("{out}/last/model.safetensors"))).expect("weights")
    };
    let (averaged, plain) = (tiny("averaged", &[]), tiny("plain", &["--average", "0"]));
    assert_ne!(averaged, plain);
    let has_weights = |out: &str| {
        let state = dir.path(&format!("{out}/last/training.safetensors"));
        let state = std::fs::read(state).expect("a training state");
        state.windows(15).any(|part| part == b"weights.readout")
    };
    assert!(has_weights("averaged") && !has_weights("plain"));
    let eval = json(&dir.ok(&["eval", "--checkpoint", "averaged/last", "--json"]));
    let info = json(&dir.ok(&["info", "--checkpoint", "averaged/last", "--json"]));
    assert_eq!(eval["loss"], info["progress"]["val_loss"]);
}

/// Older versions wrote neither setting.
#[test]
fn a_run_from_before_there_were_averages_goes_on_without() {
    let dir = TestDir::new();
    let old =
        ["--average", "0", "--weight-drop", "0", "--eval-every", "7", "--schedule", "constant"];
    assert_eq!(dir.train_tiny("whole", &[&old[..], &["--steps", "21"]].concat()).code, Some(0));
    assert_eq!(dir.train_tiny("parts", &[&old[..], &["--steps", "14"]].concat()).code, Some(0));
    let path = dir.path("parts/last/config.json");
    let config = std::fs::read_to_string(&path).expect("config.json");
    let without =
        config.replace("    \"average\": 0.0,\n", "").replace(",\n    \"weight_drop\": 0.0", "");
    assert_eq!(without.lines().count() + 2, config.lines().count(), "{config}");
    std::fs::write(path, without).expect("written");
    dir.ok(&["train", "--resume", "parts", "--steps", "21"]);
    assert_same_run(&dir, "whole", "parts");
}
