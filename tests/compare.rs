//! Cells compared: the same runs as on their own, in fair turns, kept whatever happens.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use chargru::checkpoint::IfExists;
use chargru::compare::{Comparison, Plan, SavedComparison, State, What};
use chargru::model::Cell;
use chargru::text::Corpus;
use chargru::train::{Event, Job};
use chargru::{Device, Result};

use crate::resume::assert_same_run;
use crate::support::{TIDE, TestDir, json};

/// Settings of a small network.
const TINY: &str =
    "--corpus tide.txt --hidden 16 --embedding 8 --layers 1 --batch 4 --seq-len 16 --warmup 5";

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

fn dir() -> TestDir {
    let dir = TestDir::new();
    dir.file("tide.txt", TIDE.repeat(30));
    dir
}

fn plan(cells: &[Cell]) -> Plan {
    let mut job = Job::small();
    (job.model.hidden, job.model.embedding) = (16, 8);
    (job.train.batch, job.train.seq_len) = (4, 16);
    (job.train.steps, job.train.eval_every) = (Some(20), Some(5));
    Plan { job, cells: cells.to_vec(), ..Plan::default() }
}

fn corpus() -> Corpus {
    Corpus::from_text("tide", TIDE.repeat(30))
}

fn figures(dir: &TestDir, out: &str) -> serde_json::Value {
    json(&std::fs::read_to_string(dir.path(out).join("compare.json")).expect("compare.json"))
}

#[test]
fn each_cell_trains_as_it_would_alone_to_the_bit() {
    let dir = dir();
    let common =
        format!("{TINY} --steps 40 --eval-every 7 --dropout 0.2 --weight-drop 0.1 --seed 3");
    let compare = format!("compare --out all {common}");
    dir.ok(&words(&compare));
    for cell in Cell::ALL {
        let train = format!("train --out {cell} --cell {cell} {common}");
        dir.ok(&words(&train));
        assert_same_run(&dir, &format!("all/{cell}"), cell.name());
    }
    let figures = figures(&dir, "all");
    assert_eq!(figures["cells"].as_array().expect("cells").len(), 5);
    for (result, cell) in figures["cells"].as_array().expect("cells").iter().zip(Cell::ALL) {
        let text = dir.ok(&["info", "--json", "--checkpoint", &format!("all/{cell}")]);
        let info = json(&text);
        assert_eq!(result["cell"], cell.name());
        assert_eq!(result["state"], "finished");
        assert_eq!(result["step"], 40);
        assert_eq!(result["characters"], 40 * 4 * 16);
        assert_eq!(result["parameters"], info["parameter_count"]);
        assert_eq!(result["best"]["val_loss"], info["progress"]["best_val_loss"]);
        // Every seven steps, and at the end.
        assert_eq!(result["curve"].as_array().expect("a curve").len(), 6);
    }
}

#[test]
fn by_steps_no_cell_is_ever_more_than_a_turn_ahead() -> Result<()> {
    let cells = [Cell::Rnn, Cell::Gru, Cell::Lstm];
    let comparison = Comparison::start(&plan(&cells), &corpus(), &Device::Cpu)?;
    let mut comparison = comparison.with_turn(Duration::ZERO);
    let mut steps = [0u64; 3];
    let mut progress = 0.0;
    let whole = comparison.run(|update| {
        if let What::Event(Event::Step(report)) = update.what {
            let index = cells.iter().position(|&cell| cell == update.cell).expect("a cell");
            steps[index] = report.step;
            let (least, most) = (steps.iter().min(), steps.iter().max());
            assert!(most.expect("steps") - least.expect("steps") <= 1, "{steps:?}");
            let share = steps.iter().sum::<u64>() as f64 / 60.0;
            assert!((update.progress - share).abs() < 1e-9, "{} {share}", update.progress);
        }
        assert!(update.progress >= progress - 1e-9);
        progress = update.progress;
        ControlFlow::Continue(())
    })?;
    assert!(whole && (progress - 1.0).abs() < 1e-9);
    assert_eq!(steps, [20; 3]);
    assert!(comparison.results().cells.iter().all(|cell| cell.state == State::Finished));
    Ok(())
}

#[test]
fn a_time_is_the_budget_of_each_cell_s_own_steps() -> Result<()> {
    let mut plan = plan(&[Cell::Gru, Cell::Rnn]);
    let budget = Duration::from_millis(60);
    (plan.job.train.steps, plan.job.train.time_limit) = (None, Some(budget));
    let mut comparison = Comparison::start(&plan, &corpus(), &Device::Cpu)?;
    // What is done between the steps is not counted.
    let mut last = [0.0; 2];
    comparison.run(|update| {
        if let What::Event(Event::Evaluated { .. }) = update.what {
            std::thread::sleep(Duration::from_millis(1));
        }
        if let What::Event(Event::Step(report)) = update.what {
            last[usize::from(update.cell == Cell::Rnn)] = report.lr;
        }
        ControlFlow::Continue(())
    })?;
    for (result, lr) in comparison.results().cells.iter().zip(last) {
        assert!(result.elapsed() >= budget, "{result:?}");
        // The last evaluation follows the last step, and no time passes.
        assert_eq!(result.curve.last().expect("a point").seconds, result.seconds);
        // The learning rate fell by the cell's own time.
        assert!(lr < plan.job.train.lr, "{lr}");
    }
    Ok(())
}

#[test]
fn a_number_of_parameters_chooses_the_size_of_each_cell() {
    let dir = dir();
    let compare = format!("{TINY} --out all --steps 2 --parameters 20k");
    let compare = compare.replace("--hidden 16 ", "");
    dir.ok(&[&["compare"], &words(&compare)[..]].concat());
    let figures = figures(&dir, "all");
    let mut sizes = Vec::new();
    for cell in figures["cells"].as_array().expect("cells") {
        let parameters = cell["parameters"].as_f64().expect("a number");
        assert!((parameters / 20_000.0 - 1.0).abs() < 0.01, "{cell}");
        sizes.push(cell["hidden"].as_u64().expect("a size"));
    }
    // An LSTM has four gates where a GRU has three and an RNN one.
    assert!(sizes[2] < sizes[0] && sizes[0] < sizes[3], "{sizes:?}");
}

/// What Ctrl-C and a kill leave goes on and ends as if nothing had been.
#[cfg(unix)]
#[test]
fn an_interrupted_comparison_goes_on_to_the_bit() {
    use crate::support::Start;
    let dir = dir();
    let common = format!("{TINY} --cells lstm,gru --steps 6000 --eval-every 500 --hidden 32");
    let common = common.replace("--hidden 16 ", "");
    let whole = format!("compare --out whole {common}");
    dir.ok(&words(&whole));
    for (signal, code) in [("-INT", Some(130)), ("-KILL", None)] {
        let out = format!("parts{signal}");
        let parts = format!("compare --out {out} {common}");
        let child = dir
            .command(&words(&parts))
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .start();
        let begun = std::time::Instant::now();
        while !dir.path(&format!("{out}/lstm/metrics.jsonl")).exists() {
            assert!(begun.elapsed() < Duration::from_secs(60), "nothing was evaluated");
            std::thread::sleep(Duration::from_millis(1));
        }
        let id = child.id().to_string();
        let sent = std::process::Command::new("kill").args([signal, &id]).status();
        assert!(sent.expect("kill runs").success());
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), code, "{signal}");
        let left = figures(&dir, &out);
        assert!(left["cells"][1]["step"].as_u64().expect("steps") < 6000, "it was too late");
        if code.is_some() {
            // What was measured is printed, and kept.
            let table = String::from_utf8_lossy(&output.stdout);
            assert!(table.contains("lstm") && table.contains("not finished"), "{table}");
            assert!(left["cells"][0]["best"]["val_loss"].is_number(), "{left}");
        }
        dir.ok(&["compare", "--resume", &out]);
        for cell in ["lstm", "gru"] {
            assert_same_run(&dir, &format!("whole/{cell}"), &format!("{out}/{cell}"));
        }
        let (a, b) = (figures(&dir, "whole"), figures(&dir, &out));
        for index in [0, 1] {
            let losses = |of: &serde_json::Value| {
                let curve = of["cells"][index]["curve"].as_array().expect("a curve").clone();
                curve.into_iter().map(|point| point["val_loss"].clone()).collect::<Vec<_>>()
            };
            assert_eq!(losses(&a), losses(&b));
            assert_eq!(b["cells"][index]["state"], "finished");
        }
    }
}

#[test]
fn a_finished_comparison_is_told_again() {
    let dir = dir();
    let args = format!("compare --out all --cells gru,lstm --steps 20 {TINY}");
    let table = dir.ok(&words(&args));
    assert_eq!(dir.ok(&["compare", "--resume", "all"]), table);
    let machine = figures(&dir, "all")["machine"].clone();
    // Nothing is trained: what it was measured on stays.
    let again = "compare --resume all --losses 1.5,9 --json --threads 1";
    let told = dir.ok(&words(again));
    let told = json(&told);
    assert_eq!(told, figures(&dir, "all"));
    assert_eq!(told["losses"].to_string(), "[9.0,1.5]");
    assert_eq!(told["machine"], machine);
    for cell in told["cells"].as_array().expect("cells") {
        assert_eq!(cell["reached"][0]["seconds"], cell["curve"][0]["seconds"]);
        assert!(cell["reached"][1]["seconds"].is_null());
    }
}

#[test]
fn the_figures_are_printed_as_a_table_or_as_json_and_drawn_as_xml() {
    let dir = dir();
    let args = format!("compare --out all --cells gru,rnn --steps 30 --eval-every 10 {TINY}");
    let table = dir.ok(&words(&args));
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("cell") && lines[0].contains("char/s"), "{table}");
    assert!(lines[1].starts_with("gru") && lines[2].starts_with("rnn"), "{table}");
    assert!(table.contains(" learnt fastest per second: it reached "), "{table}");
    assert!(table.contains("This is one seed"), "{table}");
    let figures = figures(&dir, "all");
    assert!(figures["machine"]["threads"].as_u64() >= Some(1));
    assert!(figures["machine"]["instructions"].is_string());
    assert_eq!(figures["training"]["steps"], 30);
    assert_eq!(figures["corpus"]["name"], "tide");
    let svg = std::fs::read_to_string(dir.path("all/compare.svg")).expect("compare.svg");
    let mut reader = quick_xml::Reader::from_str(&svg);
    let (mut elements, mut texts) = (0, String::new());
    loop {
        match reader.read_event().expect("XML") {
            quick_xml::events::Event::Eof => break,
            quick_xml::events::Event::Start(_) => elements += 1,
            quick_xml::events::Event::Text(text) => {
                texts += &text;
            }
            _ => {}
        }
    }
    assert!(elements > 10);
    for name in ["gru", "rnn", "Validation loss over training time", "million characters"] {
        assert!(texts.contains(name), "{name}: {texts}");
    }
}

/// Fills the weights that a run goes on with so that the next loss overflows.
fn spoil(checkpoint: &Path) {
    let weights = checkpoint.join("training.safetensors");
    let mut bytes = std::fs::read(&weights).expect("the weights");
    let header = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    for (index, value) in bytes[8 + header..].chunks_exact_mut(4).enumerate() {
        let huge = if index % 2 == 0 { 3e38f32 } else { -3e38 };
        value.copy_from_slice(&huge.to_le_bytes());
    }
    std::fs::write(&weights, bytes).expect("written");
}

#[test]
fn a_cell_that_diverges_is_shown_as_such_and_the_others_go_on() -> Result<()> {
    let dir = dir();
    let root = dir.path("all");
    let start = || Comparison::start(&plan(&[Cell::Gru, Cell::Lstm]), &corpus(), &Device::Cpu);
    let mut comparison = start()?.save_in(&root, IfExists::Refuse)?;
    assert!(!comparison.run(|_| ControlFlow::Break(()))?);
    drop(comparison);
    spoil(&root.join("gru/last"));
    let mut comparison = SavedComparison::open(&root)?.resume(&corpus(), &Device::Cpu)?;
    let mut diverged = Vec::new();
    let whole = comparison.run(|update| {
        if let What::Diverged(error) = update.what {
            diverged.push((update.cell, error.to_string()));
        }
        ControlFlow::Continue(())
    })?;
    assert!(whole && diverged.len() == 1 && diverged[0].0 == Cell::Gru, "{diverged:?}");
    drop(comparison);
    // It stays so when the comparison is opened once more.
    for _ in 0..2 {
        let mut comparison = SavedComparison::open(&root)?.resume(&corpus(), &Device::Cpu)?;
        comparison.run(|_| ControlFlow::Continue(()))?;
        let [gru, lstm] = &comparison.results().cells[..] else { panic!("two cells") };
        assert_eq!((gru.state, lstm.state), (State::Diverged, State::Finished));
        assert!(gru.note.as_deref().is_some_and(|note| note.contains("at step 2")), "{gru:?}");
        assert_eq!((lstm.step, lstm.curve.len()), (20, 4));
    }
    // All of them: an error, after the table.
    let mut comparison = start()?.save_in(&dir.path("both"), IfExists::Refuse)?;
    comparison.run(|_| ControlFlow::Break(()))?;
    drop(comparison);
    spoil(&dir.path("both/gru/last"));
    spoil(&dir.path("both/lstm/last"));
    let run = dir.run(&["compare", "--resume", "both", "--corpus", "tide.txt"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stdout.matches("diverged").count() == 2, "{run:?}");
    assert!(run.stderr.contains("every cell diverged: compare with a lower --lr"), "{run:?}");
    Ok(())
}

#[test]
fn a_comparison_is_not_the_model_that_is_meant_where_none_is_named() {
    let dir = dir();
    // The text may follow the cells.
    let args = TINY.replace("--corpus", "--cells gru") + " --steps 3";
    let args = format!("compare {args}");
    dir.ok(&words(&args));
    dir.fails(1, &["sample"], &["there is no model in ./checkpoints yet"]);
    let gru = "checkpoints/tide-compare/gru";
    assert_eq!(dir.ok(&["sample", "--checkpoint", gru, "--length", "5", "--seed", "1"]).len(), 6);
    dir.train_tiny("checkpoints/old", &["--steps", "1"]);
    dir.ok(&[&words(&args)[..], &["--overwrite"]].concat());
    let run = dir.run(&["sample", "--length", "5"]);
    assert!(
        run.stderr.contains(&format!("model {}", Path::new("checkpoints").join("old").display())),
        "{run:?}"
    );
    // A run of it goes on as any other.
    dir.ok(&["train", "--resume", gru, "--steps", "5"]);
}

#[test]
fn a_comparison_and_what_is_not_chargru_s_are_not_overwritten_unasked() {
    let dir = dir();
    let compare =
        |out: &str, more: &str| format!("compare --out {out} --cells gru --steps 2 {TINY} {more}");
    let refused = |out: &str, more: &str, code, says: &[&str]| {
        dir.fails(code, &words(&compare(out, more)), says);
    };
    dir.ok(&words(&compare("all", "")));
    refused(
        "all",
        "",
        1,
        &["all holds a run already: continue it with --resume all", "--overwrite"],
    );
    dir.ok(&words(&compare("all", "--overwrite --seed 2")));
    assert_eq!(figures(&dir, "all")["training"]["seed"], 2);

    // The folder of a run, and one in which a cell's folder is a run.
    dir.train_tiny("run", &["--steps", "1"]);
    for more in ["", "--overwrite"] {
        refused("run", more, 2, &["run is the folder of a run: choose another one with --out"]);
    }
    dir.train_tiny("mine/gru", &["--steps", "1"]);
    refused("mine", "", 1, &["holds a run already"]);

    for (file, says) in [
        ("json/compare.json", "it is no comparison"),
        ("svg/compare.svg", "there is no comparison beside it"),
        ("best/gru/best/beach.jpg", "it holds beach.jpg"),
    ] {
        dir.file(file, "{\"mine\": true}");
        let out = file.split('/').next().expect("a folder");
        for more in ["", "--overwrite"] {
            refused(out, more, 1, &["is in the way of the run", says]);
        }
        assert_eq!(std::fs::read(dir.path(file)).expect("it stays"), b"{\"mine\": true}");
        assert!(!dir.path(out).join("gru/last").exists());
    }
}

#[test]
fn what_cannot_be_compared_is_refused_with_a_remedy_and_leaves_no_folder() {
    let dir = dir();
    dir.file("short.txt", "The tide comes in, the tide.");
    dir.file("lstm.toml", "time-limit = \"3m\"\n");
    for (code, more, says) in [
        (2, "--cells gru,elman", "invalid value 'elman' for '--cells"),
        (2, "--cells gru,lstm,gru", "--cells has gru twice: give each once"),
        (2, "--budget 0s", "--budget is 0: give a time such as 5m"),
        (2, "--budget soon", "'soon' is no time: give one such as 90s"),
        (2, "--budget 1m --steps 5", "cannot be used with"),
        (2, "--steps 0", "--steps is 0: give a number from 1"),
        (2, "--parameters many", "'many' is no count: give one such as 500k or 1M"),
        (2, "--parameters 10", "--parameters is 10: the smallest network of 1 layer of gru has "),
        (
            2,
            "--parameters 100G",
            "the largest network of 1 layer of gru, with a hidden vector of 65536",
        ),
        (
            2,
            "--parameters 5G --layers 2",
            "lower --parameters, which is 5000000000, or give fewer --cells",
        ),
        (2, "--parameters 1M --hidden 8", "cannot be used with"),
        (2, "--hidden 65536", "lower --hidden, which is 65536, or give fewer --cells"),
        (2, "--losses 2,-1", "--losses is -1: give numbers above 0"),
        (2, "--val-fraction 0", "--val-fraction is 0, but cells are compared by their loss"),
        (
            2,
            "--cell lstm",
            "--cell cannot be given to `compare`: give the cells to compare with --cells",
        ),
        (2, "--bidirectional", "only networks that read forward are compared"),
        (2, "--time-limit 3m", "give the time of each cell with --budget"),
        (2, "--config lstm.toml", "give the time of each cell with --budget"),
        (2, "--sample-every 3", "write with one of the runs afterwards"),
        (1, "--corpus short.txt", "lower --seq-len or give more text"),
        (1, "--resume nowhere", "nowhere holds no comparison to resume"),
    ] {
        let args = if more.contains("--resume") {
            format!("compare {more}")
        } else if more.contains("--corpus") {
            format!("compare --out out {more}")
        } else {
            format!("compare --out out --corpus tide.txt {more}")
        };
        dir.fails(code, &words(&args), &[says]);
        assert!(!dir.path("out").exists(), "{more}");
    }
    let whole = format!("compare --out all --cells gru --steps 2 {TINY}");
    dir.ok(&words(&whole));
    dir.fails(2, &["compare", "--resume", "all", "--steps", "9"], &["--steps cannot change"]);
    dir.fails(2, &["compare", "--resume", "all", "--cells", "rnn"], &["--cells cannot change"]);
    // A cell that was trained on is none of the comparison any more.
    let on = whole.replace("--out all", "--out on");
    dir.ok(&words(&on));
    dir.ok(&["train", "--resume", "on/gru", "--steps", "4"]);
    let says = ["holds a run with other settings than the comparison beside it", "--overwrite"];
    dir.fails(1, &["compare", "--resume", "on"], &says);
    dir.file("other.txt", TIDE.repeat(31));
    let other = ["compare", "--resume", "all", "--corpus", "other.txt"];
    dir.fails(1, &other, &["the text is not the one that the run was trained on"]);
    for (content, says) in [
        ("{", "cannot be used"),
        ("{\"format\": 2, \"chargru\": \"9\", \"cells\": []}", "format 2 was written by chargru 9"),
    ] {
        dir.file("all/compare.json", content);
        dir.fails(1, &["compare", "--resume", "all"], &[says]);
    }
}
