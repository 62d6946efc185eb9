//! Whole commands by tensor operations (`--device cpu-reference`): what a user of CUDA or Metal gets,
//! run on a CPU. No test here has a GPU.

use crate::resume::assert_same_run;
use crate::support::{TestDir, json};
use chargru::model::Cell;

const BY_TENSORS: [&str; 2] = ["--device", "cpu-reference"];

/// The two implementations differ by rounding only, which a few steps of training hardly carry on: at
/// most 5e-7 was seen, in nats of one character. Losses are means.
const TOLERANCE: f64 = 1e-5;

/// One line of metrics.jsonl after another: (training loss, validation loss).
fn losses(dir: &TestDir, run: &str) -> Vec<[f64; 2]> {
    let text = std::fs::read_to_string(dir.path(run).join("metrics.jsonl")).expect("metrics");
    let of = |line| {
        let metrics = json(line);
        ["train_loss", "val_loss"].map(|name| metrics[name].as_f64().expect("a loss"))
    };
    text.lines().map(of).collect()
}

fn assert_close(what: &str, a: f64, b: f64) {
    assert!((a - b).abs() <= TOLERANCE, "{what}: {a} against {b}");
}

/// Settings with everything that the two implementations do in their own way: two layers, dropout,
/// clipping, tied weights for one cell, documents (resets within a window) for another, and a residual network.
fn settings(cell: Cell) -> Vec<String> {
    let mut settings = format!(
        "--cell {cell} --layers 2 --dropout 0.2 --eval-every 7 --schedule constant --steps 21 \
         --hidden 16 --embedding 16"
    );
    match cell {
        Cell::Lstm => settings += " --documents lines",
        Cell::Rnn => settings += " --tie-weights",
        Cell::GruResetAfter => settings += " --residual",
        _ => {}
    }
    settings.split_whitespace().map(ToString::to_string).collect()
}

#[test]
fn training_resuming_and_reading_agree_with_the_kernels() {
    for cell in Cell::ALL {
        let dir = TestDir::new();
        let settings = settings(cell);
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let train = |out: &str, more: &[&str]| {
            let run = dir.train_tiny(out, &[&settings[..], more].concat());
            assert_eq!(run.code, Some(0), "{run:?}");
            run.stdout
        };
        train("kernels", &[]);
        let written = train("whole", &BY_TENSORS);
        assert!(!written.trim().is_empty(), "{cell}: the sample at the end");

        // Interrupted and resumed equals uninterrupted, to the bit.
        let first: Vec<&str> = settings.iter().map(|s| if *s == "21" { "7" } else { s }).collect();
        let run = dir.train_tiny("parts", &[&first[..], &BY_TENSORS].concat());
        assert_eq!(run.code, Some(0), "{run:?}");
        for steps in ["14", "21"] {
            let resume = ["train", "--resume", "parts", "--steps", steps];
            dir.ok(&[&resume[..], &BY_TENSORS].concat());
        }
        assert_same_run(&dir, "whole", "parts");

        // It is another implementation, so its last bits differ; its losses hardly do.
        let weights = |run: &str| std::fs::read(dir.path(run).join("last/model.safetensors"));
        let [a, b] = ["whole", "kernels"].map(|run| weights(run).expect("weights"));
        assert!(a != b, "{cell}: the kernels ran in both cases");
        let [a, b] = ["whole", "kernels"].map(|run| losses(&dir, run));
        assert_eq!((a.len(), b.len()), (3, 3));
        for (a, b) in a.iter().flatten().zip(b.iter().flatten()) {
            assert_close(&format!("{cell}, loss"), *a, *b);
        }

        reading_agrees(&dir, cell);
    }
}

/// eval, score and sample of the checkpoint `whole`, by both.
fn reading_agrees(dir: &TestDir, cell: Cell) {
    let both = |args: &[&str]| {
        let args = [args, &["--checkpoint", "whole"]].concat();
        [dir.ok(&args), dir.ok(&[&args[..], &BY_TENSORS].concat())]
    };
    let [a, b] = both(&["eval", "--json"]).map(|text| json(&text));
    for name in ["loss", "bits_per_byte", "perplexity"] {
        let [a, b] = [&a, &b].map(|result| result[name].as_f64().expect("a number"));
        assert_close(&format!("{cell}, eval {name}"), a, b);
    }
    assert_eq!((&a["ids"], &a["bytes"]), (&b["ids"], &b["bytes"]));
    let recorded = losses(dir, "whole");
    let best = recorded.iter().map(|[_, val]| *val).fold(f64::INFINITY, f64::min);
    assert_close("eval of best", b["loss"].as_f64().expect("a loss"), best);

    dir.file("text.txt", "Nobody asks it why.\nThe tide comes in\n");
    let score = ["score", "text.txt", "--per", "char", "--json"];
    // In a model of lines a line's end is no character, but the document's.
    let [a, b] = both(&score);
    assert_eq!((a.lines().count(), b.lines().count()), (38, 38));
    for (a, b) in a.lines().zip(b.lines()) {
        let [a, b] = [a, b].map(json);
        assert_eq!(a["text"], b["text"]);
        let [a, b] = [a, b].map(|line| line["nats"].as_f64().expect("nats"));
        assert_close(&format!("{cell}, score"), a, b);
    }

    // A fixed seed: where rounding decided a pick, it would do so in every run.
    let sample = ["sample", "--num", "3", "--seed", "5", "--length", "60", "--prompt", "The "];
    let [a, b] = both(&sample);
    assert_eq!(a, b, "{cell}");
    assert!(a.starts_with("The ") && a.len() > 20, "{a}");
}

#[test]
fn fine_tuning_runs_by_tensor_operations() {
    let dir = TestDir::new();
    dir.train_tiny("run", &[]);
    dir.file("other.txt", "the tide? THE TIDE!\n".repeat(30));
    let tune = |out| {
        let args = "--init-from run --corpus other.txt --extend-vocab --steps 10 --seq-len 16";
        [&["train", "--out", out][..], &args.split_whitespace().collect::<Vec<_>>()].concat()
    };
    dir.ok(&tune("kernels"));
    dir.ok(&[&tune("tensors")[..], &BY_TENSORS].concat());
    let [a, b] = ["kernels", "tensors"].map(|run| losses(&dir, run));
    assert_eq!((a.len(), b.len()), (1, 1));
    for (a, b) in a.iter().flatten().zip(b.iter().flatten()) {
        assert_close("loss", *a, *b);
    }
}

#[test]
fn bf16_and_other_devices_are_refused() {
    let dir = TestDir::new();
    dir.file("tide.txt", crate::support::TIDE.repeat(30));
    let bf16 = ["train", "--corpus", "tide.txt", "--precision", "bf16", "--out", "run"];
    dir.fails(2, &[&bf16[..], &BY_TENSORS].concat(), &["--precision", "cpu-reference"]);
    assert!(!dir.path("run").exists(), "refused before anything is written");
    // A run in bf16, where the processor has it, cannot go on there either.
    if dir.train_tiny("bf16", &["--precision", "bf16"]).code == Some(0) {
        let resume = ["train", "--resume", "bf16", "--steps", "40"];
        dir.fails(2, &[&resume[..], &BY_TENSORS].concat(), &["--precision", "cpu-reference"]);
    }
    let says = ["--device is 'cpu-kernels'", "cpu, cuda, cuda:N or metal"];
    dir.fails(2, &["train", "--device", "cpu-kernels"], &says);
    for command in ["train", "sample", "eval", "score"] {
        assert!(!dir.ok(&[command, "--help"]).contains("reference"), "{command}");
    }
}
