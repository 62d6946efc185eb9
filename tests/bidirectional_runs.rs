//! Runs of a bidirectional network, from the outside: resumed, stopped early, evaluated, fine-tuned.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use chargru::checkpoint::Checkpoint;
use chargru::model::{Cell, Precision};

use crate::resume::{assert_same_run, in_parts_and_whole};
use crate::support::{Run, TestDir, json};

/// Trains a small bidirectional model into `out`.
fn train(dir: &TestDir, out: &str, more: &[&str]) -> Run {
    let run = dir.train_tiny(out, &[&["--bidirectional"], more].concat());
    assert_eq!(run.code, Some(0), "{run:?}");
    run
}

/// One number of each line of metrics.jsonl, as it is written there.
fn column(dir: &TestDir, run: &str, name: &str) -> Vec<f64> {
    let text = std::fs::read_to_string(dir.path(run).join("metrics.jsonl")).expect("metrics");
    text.lines().map(|line| json(line)[name].as_f64().expect("a number")).collect()
}

fn weights(dir: &TestDir, checkpoint: &str) -> HashMap<String, Tensor> {
    let path = dir.path(checkpoint).join("model.safetensors");
    candle_core::safetensors::load(path, &Device::Cpu).expect("weights")
}

fn rows(tensor: &Tensor) -> Vec<Vec<f32>> {
    let flat = tensor.reshape((tensor.dim(0).expect("rows"), ())).expect("rows");
    flat.to_vec2().expect("float32")
}

#[test]
fn bidirectional_streams_go_on_to_the_bit() {
    in_parts_and_whole(&["--bidirectional", "--layers", "2"]);
    in_parts_and_whole(&["--bidirectional", "--layers", "2", "--residual"]);
    in_parts_and_whole(&["--bidirectional", "--cell", "mingru", "--margin", "0"]);
    if Precision::bf16_supported() {
        in_parts_and_whole(&["--bidirectional", "--precision", "bf16"]);
    }
}

#[test]
fn bidirectional_documents_go_on_to_the_bit() {
    for more in [["--cell", "lstm"], ["--margin", "3"]] {
        in_parts_and_whole(&[&["--bidirectional", "--documents", "lines"], &more[..]].concat());
    }
}

#[test]
fn threads_do_not_change_a_bidirectional_run() {
    let dir = TestDir::new();
    for more in [&[][..], &["--documents", "lines"], &["--residual"]] {
        let run = |threads: &str| {
            let out = format!("{threads}{}", more.len());
            // More rows than one task joins.
            let sizes = ["--batch", "7", "--seq-len", "64", "--hidden", "48", "--layers", "2"];
            train(&dir, &out, &[&["--threads", threads], &sizes[..], more].concat());
            out
        };
        let (one, two) = (run("1"), run("2"));
        assert_same_run(&dir, &one, &two);
    }
}

/// By tensor operations a run comes to the losses of the kernels, and goes on to the bit.
#[test]
fn bidirectional_runs_by_tensor_operations_agree_with_the_kernels() {
    for cell in [Cell::Gru, Cell::Lstm] {
        let dir = TestDir::new();
        let by_tensors = ["--device", "cpu-reference"];
        let cell =
            format!("--cell {cell} --layers 2 --dropout 0.2 --eval-every 7 --schedule constant");
        let settings: Vec<&str> = cell.split_whitespace().chain(["--documents", "lines"]).collect();
        let with = |steps| [&settings[..], &["--steps", steps]].concat();
        train(&dir, "kernels", &with("21"));
        train(&dir, "whole", &[&with("21")[..], &by_tensors].concat());
        train(&dir, "parts", &[&with("7")[..], &by_tensors].concat());
        dir.ok(&[&["train", "--resume", "parts", "--steps", "21"][..], &by_tensors].concat());
        assert_same_run(&dir, "whole", "parts");
        for name in ["train_loss", "val_loss"] {
            let [kernels, tensors] = ["kernels", "whole"].map(|run| column(&dir, run, name));
            assert_eq!((kernels.len(), tensors.len()), (3, 3));
            for (a, b) in kernels.iter().zip(&tensors) {
                assert!((a - b).abs() <= 1e-5, "{cell} {name}: {a} against {b}");
            }
        }
    }
}

/// With so low a learning rate no weight changes: no evaluation is better than the first.
#[test]
fn patience_ends_a_bidirectional_run_that_does_not_get_better() {
    let dir = TestDir::new();
    let stuck = ["--lr", "1e-30", "--weight-decay", "0", "--eval-every", "5", "--patience", "2"];
    let run = train(&dir, "run", &[&stuck[..], &["--steps", "300"]].concat());
    assert!(run.stderr.contains("no better for a while"), "{run:?}");
    assert_eq!(column(&dir, "run", "step"), [5.0, 10.0, 15.0]);
}

#[test]
fn an_evaluation_gives_the_validation_loss_of_the_log_exactly() {
    let dir = TestDir::new();
    for (out, more) in [
        ("streams", &["--layers", "2"][..]),
        ("documents", &["--documents", "lines", "--cell", "lstm"]),
        ("long", &["--corpus", "long.txt", "--val-fraction", "0.5"]),
    ] {
        // Its half is read in several rows, from the middle of the text on.
        dir.file("long.txt", crate::support::TIDE.repeat(60));
        train(&dir, out, &[&["--eval-every", "7"], more].concat());
        let logged = column(&dir, out, "val_loss");
        let best = logged.iter().copied().fold(f64::INFINITY, f64::min);
        for (checkpoint, expected) in
            [(out.to_string(), best), (format!("{out}/last"), logged[logged.len() - 1])]
        {
            for threads in ["1", "2"] {
                let args = ["eval", "--checkpoint", &checkpoint, "--json", "--threads", threads];
                let result = json(&dir.ok(&args));
                assert_eq!(result["loss"].as_f64(), Some(expected), "{checkpoint}: {result}");
                assert_eq!(result["measure"], "pseudo-likelihood", "{result}");
            }
        }
    }
}

#[test]
fn fine_tuning_a_bidirectional_checkpoint_keeps_its_shape_and_goes_on_to_the_bit() {
    let dir = TestDir::new();
    train(&dir, "run", &["--layers", "2", "--cell", "gru-reset-after"]);
    dir.file("other.txt", "the tide? THE TIDE!\n".repeat(60));
    let tune = |out: &str, steps: &str, more: &[&str]| {
        let args = ["train", "--init-from", "run", "--extend-vocab", "--corpus", "other.txt"];
        let ends = ["--out", out, "--steps", steps, "--seq-len", "16", "--schedule", "constant"];
        dir.ok(&[&args, &ends[..], &["--eval-every", "7", "--warmup", "3"], more].concat())
    };
    tune("whole", "21", &[]);
    tune("parts", "7", &[]);
    dir.ok(&["train", "--resume", "parts", "--steps", "21"]);
    assert_same_run(&dir, "whole", "parts");
    let model =
        |run: &str| json(&dir.ok(&["info", "--checkpoint", run, "--json"]))["model"].clone();
    let (mut before, after) = (model("run"), model("whole"));
    assert_eq!(before["bidirectional"], true);
    assert!(before["vocab"].as_u64() < after["vocab"].as_u64(), "{before} {after}");
    before["vocab"] = after["vocab"].clone();
    assert_eq!(before, after);
    // The forward half writes with the new characters.
    let text = dir.ok(&["sample", "--checkpoint", "whole", "--prompt", "THE?!", "--length", "5"]);
    assert!(text.starts_with("THE?!"), "{text}");

    // So low a learning rate changes no weight: what the fine-tuning begins with can be seen.
    tune("stuck", "1", &["--lr", "1e-30", "--weight-decay", "0"]);
    let open = |run| Checkpoint::open(&dir.path(run), &Device::Cpu).expect("a checkpoint");
    let [old, new] = ["run/last", "stuck/last"].map(open);
    let (were, are) = (weights(&dir, "run/last"), weights(&dir, "stuck/last"));
    assert_eq!(were.len(), are.len());
    let id =
        |of: &Checkpoint, c: char| of.tokenizer.encode(&c.to_string()).expect("known")[0] as usize;
    for (name, were) in &were {
        let (were, are) = (rows(were), rows(&are[name]));
        if name.starts_with("rnn.") {
            assert!(were == are, "{name}");
            continue;
        }
        for c in "Tthe, \n".chars() {
            assert_eq!(were[id(&old, c)], are[id(&new, c)], "{name} {c:?}");
        }
        let (row, known) = (&are[id(&new, '!')], were.concat());
        if name.ends_with("bias") {
            let lowest = known.iter().copied().fold(f32::INFINITY, f32::min);
            assert_eq!(row, &[lowest], "{name}");
        } else {
            let bound = match &name[..] {
                "embedding.weight" => (3.0 / 8.0f32).sqrt(),
                "readout.weight" => 1.0 / 32f32.sqrt(),
                _ => 1.0 / 16f32.sqrt(),
            };
            assert!(row.iter().all(|value| *value != 0.0 && value.abs() <= bound), "{name}");
        }
    }
}

#[test]
fn settings_that_a_bidirectional_network_lacks_are_refused() {
    let dir = TestDir::new();
    dir.file("tide.txt", crate::support::TIDE.repeat(30));
    let new = ["train", "--corpus", "tide.txt", "--out", "x", "--bidirectional", "--hidden", "16"];
    let tied = [&new[..], &["--tie-weights", "--embedding", "16"]].concat();
    dir.fails(2, &tied, &["--tie-weights and --bidirectional exclude each other", "leave one out"]);
    let wide = [&new[..], &["--margin", "70000"]].concat();
    dir.fails(2, &wide, &["--margin", "70000", "65536"]);
    assert!(!dir.path("x").exists(), "refused before anything is written");
    train(&dir, "both", &[]);
    assert_eq!(dir.train_tiny("one", &[]).code, Some(0));
    let says = |flag| [flag, "cannot change"];
    dir.fails(2, &["train", "--resume", "both", "--margin", "5"], &says("--margin"));
    dir.fails(2, &["train", "--resume", "one", "--bidirectional"], &says("--bidirectional"));
    let tune = ["train", "--init-from", "one", "--corpus", "tide.txt", "--out", "x"];
    let says = ["--bidirectional", "--init-from"];
    dir.fails(2, &[&tune[..], &["--bidirectional"]].concat(), &says);
    // One character more than a network of one direction needs.
    for (text, code) in [("0123456789abcdefg", 1), ("0123456789abcdefgh", 0)] {
        dir.file("short.txt", text);
        let short = ["--bidirectional", "--corpus", "short.txt", "--val-fraction", "0"];
        let run = dir.train_tiny("short", &short);
        assert_eq!(run.code, Some(code), "{run:?}");
        assert!(code == 0 || run.stderr.contains("17 characters"), "{run:?}");
    }
}

/// As in the state of an `nn.GRU(bidirectional=True)`, but that each layer reads one direction.
#[test]
fn tensors_are_named_as_pytorch_names_them() {
    let dir = TestDir::new();
    dir.file("tide.txt", crate::support::TIDE.repeat(300));
    let tiny = "train --preset tiny --bidirectional --residual=false --corpus tide.txt --steps 1 --out run";
    dir.ok(&tiny.split_whitespace().collect::<Vec<_>>());
    let info = json(&dir.ok(&["info", "--checkpoint", "run", "--json"]));
    let size = |name: &str| info["model"][name].as_u64().expect("a size") as usize;
    let [v, e, h, layers] = ["vocab", "embedding", "hidden", "layers"].map(size);
    let mut expected = vec![
        ("embedding.weight".to_string(), vec![v, e]),
        ("readout.weight".to_string(), vec![v, 2 * h]),
        ("readout.bias".to_string(), vec![v]),
    ];
    for half in ["forward", "backward"] {
        expected.push((format!("{half}_readout.weight"), vec![v, h]));
        expected.push((format!("{half}_readout.bias"), vec![v]));
    }
    for suffix in ["", "_reverse"] {
        for layer in 0..layers {
            let width = if layer == 0 { e } else { h };
            expected.push((format!("rnn.weight_ih_l{layer}{suffix}"), vec![3 * h, width]));
            expected.push((format!("rnn.weight_hh_l{layer}{suffix}"), vec![3 * h, h]));
            expected.push((format!("rnn.bias_ih_l{layer}{suffix}"), vec![3 * h]));
        }
    }
    let found = weights(&dir, "run/last");
    let mut found: Vec<_> =
        found.into_iter().map(|(name, tensor)| (name, tensor.dims().to_vec())).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}
