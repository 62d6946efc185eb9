//! `chargru inspect`, and the gates and units that it shows.

use std::fs;
use std::path::Path;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;
use chargru::inspect::{Found, FoundUnit, Reading, find, inspect, inspect_all};
use chargru::model::{Cell, Gate, ModelConfig, Network, State, init, named_vars};
use chargru::text::{Documents, Tokenizer, VocabularyOptions};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::support::{TIDE, TestDir, json};

fn config(cell: Cell, residual: bool, vocab: usize) -> ModelConfig {
    ModelConfig {
        cell,
        vocab,
        embedding: 5,
        hidden: 17,
        layers: 3,
        residual,
        ..ModelConfig::default()
    }
}

/// A network of random weights, three times as large as initial ones, so that gates differ.
fn network(config: &ModelConfig) -> Result<Network> {
    let weights = init(config, &mut ChaCha8Rng::seed_from_u64(3), &Device::Cpu).expect("weights");
    for (_, var) in named_vars(&weights).expect("the weights are not locked") {
        var.set(&(var.as_tensor() * 3.0)?)?;
    }
    Network::new(config, VarBuilder::from_varmap(&weights, DType::F32, &Device::Cpu))
}

fn numbers(x: &Tensor) -> Vec<f32> {
    x.flatten_all().expect("numbers").to_vec1().expect("float32")
}

fn assert_close(what: &str, a: &[f32], b: &[f32], tolerance: f32) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (index, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= tolerance, "{what}[{index}]: {a} against {b}");
    }
}

/// A window of T = 9 steps of B = 2 rows, the state before it, and a reset within it.
fn window(config: &ModelConfig) -> Result<(Tensor, State, Tensor)> {
    let ids = Tensor::from_iter((0..18u32).map(|n| (n * n + 3 * n) % 7), &Device::Cpu)?;
    let resets = Tensor::from_iter((0..18).map(|n| u8::from(n == 9)), &Device::Cpu)?;
    let mut state = State::zeros(config, 2, &Device::Cpu)?;
    for layer in &mut state.layers {
        let values = (0..layer.elem_count()).map(|n| (n % 11) as f32 / 8.0 - 0.6);
        *layer = Tensor::from_iter(values, &Device::Cpu)?.reshape(layer.dims())?;
    }
    Ok((ids.reshape((9, 2))?, state, resets.reshape((9, 2))?))
}

#[test]
fn kernels_and_tensor_operations_give_the_same_gates() -> Result<()> {
    for (cell, residual) in Cell::ALL.into_iter().flat_map(|cell| [(cell, false), (cell, true)]) {
        let config = config(cell, residual, 7);
        let fastest = network(&config)?;
        let (ids, state, resets) = window(&config)?;
        let trace = fastest.trace(&ids, &state, Some(&resets))?;
        let reference = fastest.reference().trace(&ids, &state, Some(&resets))?;
        for layer in 0..3 {
            for &gate in Gate::of(cell) {
                let [a, b] = [&trace, &reference].map(|trace| trace.get(layer, gate));
                let (a, b) = (a?, b?);
                assert_eq!(a.dims(), [9, 2, 17]);
                let what = format!("{cell}, residual {residual}, layer {layer}, {gate}");
                assert_close(&what, &numbers(&a), &numbers(&b), 2e-5);
            }
        }
        // What is carried on is what a forward pass carries on.
        let (hidden, last) = fastest.forward(&ids, &state, Some(&resets), None)?;
        for (a, b) in trace.state().layers.iter().zip(&last.layers) {
            assert_eq!(numbers(a), numbers(b), "{cell}");
        }
        if !residual {
            assert_eq!(numbers(&trace.get(2, Gate::H)?), numbers(&hidden), "{cell}");
        }
    }
    Ok(())
}

/// A gate under the wrong name would not give the next state.
#[test]
fn the_gates_give_the_states_by_the_cell_s_equation() -> Result<()> {
    for cell in Cell::ALL {
        let config = config(cell, false, 7);
        let fastest = network(&config)?;
        let (ids, state, _) = window(&config)?;
        for network in [fastest.clone(), fastest.reference()] {
            let trace = network.trace(&ids, &state, None)?;
            for layer in 0..3 {
                let get = |gate| trace.get(layer, gate);
                // The state as it enters each step.
                let entering = |gate, index: usize| -> Result<Tensor> {
                    let first = state.layers[layer].narrow(0, index, 1)?;
                    Tensor::cat(&[first, get(gate)?.narrow(0, 0, 8)?], 0)
                };
                let one_less = |x: &Tensor| x.affine(-1.0, 1.0);
                let h = entering(Gate::H, 0)?;
                let next = match cell {
                    Cell::Gru | Cell::MinGru => {
                        let z = get(Gate::Z)?;
                        ((one_less(&z)? * h)? + (z * get(Gate::N)?)?)?
                    }
                    Cell::GruResetAfter => {
                        let z = get(Gate::Z)?;
                        ((one_less(&z)? * get(Gate::N)?)? + (z * h)?)?
                    }
                    Cell::Lstm => {
                        let kept = (get(Gate::F)? * entering(Gate::C, 1)?)?;
                        let c = (kept + (get(Gate::I)? * get(Gate::G)?)?)?;
                        assert_close("c", &numbers(&get(Gate::C)?), &numbers(&c), 2e-5);
                        (get(Gate::O)? * c.tanh()?)?
                    }
                    Cell::Rnn => get(Gate::H)?,
                };
                let what = format!("{cell}, layer {layer}");
                assert_close(&what, &numbers(&get(Gate::H)?), &numbers(&next), 2e-5);
            }
            // The reset gate: in a layer of PyTorch's GRU it is the first block of rows.
            for &gate in Gate::of(cell) {
                let values = numbers(&trace.get(0, gate)?);
                let is_open = values.iter().all(|value| (0.0..=1.0).contains(value));
                let is_gate = matches!(gate, Gate::Z | Gate::R | Gate::I | Gate::F | Gate::O);
                assert!(is_open || !is_gate, "{cell} {gate}");
                if gate.is_signed(cell) {
                    assert!(values.iter().any(|value| *value < 0.0), "{cell} {gate}");
                }
            }
        }
    }
    Ok(())
}

fn tokenizer(text: &str, documents: Documents) -> Tokenizer {
    let options = VocabularyOptions { documents, ..VocabularyOptions::default() };
    Tokenizer::build(text, &options).expect("a vocabulary").0
}

/// Longer than a window of reading.
#[test]
fn a_text_is_read_in_windows_as_it_would_be_at_once() -> chargru::Result<()> {
    let text = TIDE.repeat(6);
    let tokenizer = tokenizer(&text, Documents::Off);
    let network = network(&config(Cell::Gru, true, tokenizer.vocab_size()))?;
    let reading = Reading::of_text(&tokenizer, &text)?;
    let ids = tokenizer.encode(&text)?;
    let whole = Tensor::from_slice(&ids, (ids.len(), 1), &Device::Cpu)?;
    let trace = network.trace(&whole, &State::zeros(network.config(), 1, &Device::Cpu)?, None)?;
    let inspection = inspect(&network, &reading, 2, Gate::Z)?;
    let expected = numbers(&trace.get(1, Gate::Z)?);
    assert_eq!(inspection.tokens.concat(), text);
    assert_close("z", &inspection.values, &expected, 1e-6);
    // What memory says is of z, whichever gate is shown.
    let mut column = inspection.column(4)?;
    column.sort_by(f32::total_cmp);
    let middle = f32::midpoint(column[ids.len() / 2 - 1], column[ids.len() / 2]);
    let kept = inspect(&network, &reading, 2, Gate::H)?.memory.expect("a memory");
    assert_close("kept", &kept[4..5], &[-1.0 / (1.0 - middle).ln()], 1e-3);
    assert_eq!(Some(kept), inspection.memory);
    Ok(())
}

#[test]
fn each_document_is_read_as_if_it_were_alone() -> chargru::Result<()> {
    let tokenizer = tokenizer(TIDE, Documents::Lines);
    let network = network(&config(Cell::Lstm, false, tokenizer.vocab_size()))?;
    let lines: Vec<&str> = TIDE.lines().collect();
    let both = Reading::of_documents(&tokenizer, &lines)?;
    let places = [(1, Gate::F), (3, Gate::C)];
    let of_both = inspect_all(&network, &both, &places)?;
    let alone = inspect_all(&network, &Reading::of_text(&tokenizer, lines[1])?, &places)?;
    for (both, alone) in of_both.iter().zip(&alone) {
        assert_eq!(both.tokens.concat(), TIDE.trim_end());
        let last = &both.values[both.values.len() - alone.values.len()..];
        assert_close("the second document", last, &alone.values, 1e-6);
    }
    Ok(())
}

/// Unit 0 is high at a capital letter; unit 1 goes up at an opening bracket and down at a closing one, and
/// stays; unit 2 counts down from the begin of the line; the others are random.
fn planted(tokenizer: &Tokenizer) -> Result<Network> {
    let config = ModelConfig {
        layers: 1,
        embedding: 4,
        hidden: 8,
        ..config(Cell::Rnn, false, tokenizer.vocab_size())
    };
    let weights = init(&config, &mut ChaCha8Rng::seed_from_u64(1), &Device::Cpu).expect("weights");
    let value = |c: char, place: usize| match (c, place) {
        ('A'..='Z', 0) | ('(', 1) => 1.0,
        (_, 0) | (')', 1) => -1.0,
        ('\n', 2) => 1.0,
        ('e', 3) => 1.0,
        _ => 0f32,
    };
    for (name, var) in named_vars(&weights).expect("the weights are not locked") {
        let mut values = numbers(&var);
        match name.as_str() {
            "embedding.weight" => {
                for (id, row) in values.chunks_exact_mut(4).enumerate() {
                    let text = tokenizer.decode(&[id as u32]).expect("a character");
                    let c = text.chars().next().expect("a character");
                    row.iter_mut().enumerate().for_each(|(place, x)| *x = value(c, place));
                }
            }
            "rnn.weight_ih_l0" => {
                values[..12].fill(0.0);
                (values[0], values[5], values[10]) = (3.0, 8.0, 8.0);
            }
            "rnn.weight_hh_l0" => {
                values[..24].fill(0.0);
                (values[9], values[18]) = (3.0, 0.97);
            }
            name if name.starts_with("rnn.bias") => values[..3].fill(0.0),
            _ => {}
        }
        var.set(&Tensor::from_vec(values, var.dims(), &Device::Cpu)?)?;
    }
    Network::new(&config, VarBuilder::from_varmap(&weights, DType::F32, &Device::Cpu))
}

fn of<'a>(found: &'a Found, feature: &str) -> &'a FoundUnit {
    found.units.iter().find(|unit| unit.feature == feature).expect("a found unit")
}

#[test]
fn units_that_were_planted_are_found() -> chargru::Result<()> {
    let text =
        "The tide (as He says) comes in.\nAnd there it goes (out).\nNobody here asks.\n".repeat(80);
    let tokenizer = tokenizer(&text, Documents::Off);
    let network = planted(&tokenizer)?;
    let reading = Reading::of_text(&tokenizer, &text)?;
    let found = find(&network, &reading, 2)?;
    assert_eq!(found.read, text.len());
    for (feature, unit, is_high, positions) in
        [("capital", 0, true, 160), ("brackets", 1, true, 600), ("line_place", 2, false, 3000)]
    {
        let best = of(&found, feature);
        assert_eq!((best.layer, best.gate, best.unit), (1, Gate::H, unit), "{feature}");
        assert_eq!((best.is_high, best.score > 0.999), (is_high, true), "{best:?}");
        assert_eq!(best.positions, positions, "{best:?}");
        let f1 = best.threshold.map(|(_, f1)| f1);
        assert_eq!(f1.is_some(), best.is_binary);
        assert!(f1.is_none_or(|f1| f1 > 0.999), "{best:?}");
        // Two were asked for.
        assert_eq!(found.units.iter().filter(|unit| unit.feature == feature).count(), 2);
    }
    let left_out: Vec<&str> = found.left_out.iter().map(|left_out| left_out.label).collect();
    assert!(left_out.contains(&"inside quotation marks"), "{left_out:?}");
    // A feature of the first half alone says nothing of the second.
    let one_sided = format!("{}{}", "a (b)\n".repeat(400), "a b c\n".repeat(400));
    let of_one_side = tokenizer_and_find(&one_sided)?;
    assert!(of_one_side.units.iter().all(|unit| unit.feature != "brackets"));
    Ok(())
}

fn tokenizer_and_find(text: &str) -> chargru::Result<Found> {
    let tokenizer = tokenizer(text, Documents::Off);
    let network = network(&config(Cell::Gru, false, tokenizer.vocab_size()))?;
    find(&network, &Reading::of_text(&tokenizer, text)?, 1)
}

/// Units are chosen by what stands in the first half: nothing in the second changes the choice.
#[test]
fn the_second_half_only_scores() -> chargru::Result<()> {
    let first = TIDE.repeat(20);
    let same = format!("{first}{first}");
    let other =
        format!("{first}{}", "out Nobody asks it, why it comes in.\n".repeat(first.len() / 37 + 1));
    let other: String = other.chars().take(same.len()).collect();
    let tokenizer = tokenizer(&same, Documents::Off);
    let network = network(&config(Cell::Gru, false, tokenizer.vocab_size()))?;
    let [a, b] = [same, other].map(|text| {
        find(&network, &Reading::of_text(&tokenizer, &text).expect("a text"), 1).expect("units")
    });
    let mut other_scores = 0;
    for unit in &a.units {
        let Some(there) = b.units.iter().find(|one| one.feature == unit.feature) else { continue };
        let place = |unit: &FoundUnit| (unit.layer, unit.gate, unit.unit, unit.is_high);
        assert_eq!(place(unit), place(there), "{unit:?}");
        other_scores += usize::from(unit.score != there.score);
    }
    assert!(other_scores >= 5, "{other_scores}");
    Ok(())
}

fn tiny(dir: &TestDir, more: &[&str]) {
    let run = dir.train_tiny("run", more);
    assert_eq!(run.code, Some(0), "{run:?}");
}

fn read_page(path: &Path) -> (String, serde_json::Value) {
    let page = fs::read_to_string(path).expect("a page");
    let data = page.split("id=\"data\">").nth(1).expect("data");
    let data = json(data.split("</script>").next().expect("its end"));
    (page, data)
}

#[test]
fn json_has_the_values_of_a_layer() {
    let dir = TestDir::new();
    tiny(&dir, &["--layers", "2"]);
    dir.file("text.txt", "Nobody asks the tide.\n");
    let of = |more: &[&str]| {
        json(&dir.ok(&[&["inspect", "--checkpoint", "run", "text.txt"], more].concat()))
    };
    let object = of(&[]);
    assert_eq!((&object["object"], &object["layer"]), (&"inspection".into(), &2.into()));
    assert_eq!((&object["gate"], &object["units"]), (&"h".into(), &16.into()));
    assert_eq!(object["gates"], serde_json::json!(["z", "r", "n", "h"]));
    let values = object["values"].as_array().expect("rows");
    assert_eq!((values.len(), values[0].as_array().map(Vec::len)), (22, Some(16)));
    assert_eq!(object["tokens"].as_array().expect("tokens").len(), 22);
    assert_eq!(object["tokens"][21], "\n");
    let memory = &object["memory"];
    assert_eq!(memory["characters"].as_array().map(Vec::len), Some(16));
    let in_bins = |bin: &serde_json::Value| bin["units"].as_u64().expect("a count");
    let bins = memory["histogram"].as_array().expect("bins");
    assert_eq!(bins.iter().map(in_bins).sum::<u64>(), 16);
    assert!(object["found"].is_null());

    let one = of(&["--layer", "1", "--gate", "z", "--unit", "3"]);
    let whole = of(&["--layer", "1", "--gate", "z"]);
    assert_eq!((&one["layer"], &one["unit"]), (&1.into(), &3.into()));
    for (at, value) in one["values"].as_array().expect("values").iter().enumerate() {
        let [a, b] =
            [value, &whole["values"][at][3]].map(|value| value.as_f64().expect("a number"));
        assert!((a - b).abs() < 6e-4 && (0.0..=1.0).contains(&a), "{a} {b}");
    }
    // By tensor operations the same.
    let tensors = of(&["--device", "cpu-reference"]);
    let numbers = |object: &serde_json::Value| -> Vec<f32> {
        let rows = object["values"].as_array().expect("rows").iter();
        rows.flat_map(|row| row.as_array().expect("a row"))
            .map(|value| value.as_f64().expect("a number") as f32)
            .collect()
    };
    assert_close("cpu-reference", &numbers(&tensors), &numbers(&object), 1.1e-3);
}

#[test]
fn a_page_needs_nothing_beside_it_and_holds_no_markup_but_its_own() {
    let dir = TestDir::new();
    let text = "</script><b>&amp;\u{1b}[31m</b> {{title}} \u{2028}\n".repeat(40);
    dir.file("tide.txt", &text);
    // Windows has no such names.
    let name = if cfg!(windows) { "&amp;.txt" } else { "<i>.txt" };
    dir.file(name, &text);
    tiny(&dir, &["--layers", "2"]);
    let args = ["inspect", "--checkpoint", "run", "--out", "page.html", name];
    assert_eq!(dir.ok(&args), "");
    let (page, data) = read_page(&dir.path("page.html"));
    assert!(page.starts_with("<!DOCTYPE html>\n<!-- chargru inspect -->\n"));
    assert!(page.contains("default-src 'none'") && page.contains("class GatesView"));
    assert!(!page.contains("<b>") && !page.contains("<i>") && !page.contains('\u{1b}'));
    assert_eq!(page.matches("</script>").count(), 2);
    for outside in ["http:", "https:", " src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    let tokens: Vec<&str> = data["tokens"]
        .as_array()
        .expect("tokens")
        .iter()
        .map(|token| token.as_str().expect("text"))
        .collect();
    assert_eq!(tokens.concat(), text);
    let mut kinds: Vec<&String> = data["values"].as_object().expect("kinds").keys().collect();
    kinds.sort();
    assert_eq!(kinds, ["1.h", "1.n", "1.r", "1.z", "2.h", "2.n", "2.r", "2.z"]);
    let coded = data["values"]["2.z"]["base64"].as_str().expect("values").len();
    assert_eq!(coded, (16 * tokens.len()).div_ceil(3) * 4);
    // Again, with one gate; the page is chargru's own and is replaced.
    dir.ok(&[&args[..], &["--layer", "1", "--gate", "r"]].concat());
    let (_, data) = read_page(&dir.path("page.html"));
    let kinds: Vec<&String> = data["values"].as_object().expect("kinds").keys().collect();
    assert_eq!(kinds, ["1.r"]);
}

#[test]
fn found_units_are_a_table_and_are_on_the_page() {
    let dir = TestDir::new();
    tiny(&dir, &["--cell", "lstm"]);
    let args = ["inspect", "--checkpoint", "run", "--find", "tide.txt"];
    let run = dir.run(&args);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stderr.contains("left out: inside quotation marks: it holds"), "{run:?}");
    for label in ["a space", "a vowel", "first letter of a word", "characters since the line began"]
    {
        assert!(run.stdout.lines().any(|line| line.starts_with(label)), "{label}: {run:?}");
    }
    assert_eq!(dir.ok(&[&args[..], &["--out", "page.html"]].concat()), run.stdout);
    let (_, data) = read_page(&dir.path("page.html"));
    let found = data["found"].as_array().expect("units");
    let count = run.stdout.lines().filter(|line| line.contains("  1     ")).count();
    assert_eq!(found.len(), count);
    for unit in found {
        let score = unit["score"].as_f64().expect("a score");
        assert!((-1.0..=1.0).contains(&score) && unit["unit"].as_u64().is_some_and(|k| k < 16));
    }
    let object = json(&dir.ok(&[&args[..], &["--format", "json"]].concat()));
    assert_eq!(object["found"], data["found"]);
    assert_eq!(object["gates"], serde_json::json!(["i", "f", "g", "o", "c", "h"]));
}

#[test]
fn tensors_are_those_of_a_safetensors_file() {
    let dir = TestDir::new();
    tiny(&dir, &["--layers", "2", "--cell", "gru-reset-after"]);
    dir.file("text.txt", "Nobody asks.\n");
    let args = ["inspect", "--checkpoint", "run", "text.txt", "--out", "gates.safetensors"];
    dir.ok(&args);
    let path = dir.path("gates.safetensors");
    let tensors = candle_core::safetensors::load(&path, &Device::Cpu).expect("tensors");
    assert_eq!(tensors.len(), 10, "four of each layer, and memory");
    assert_eq!(tensors["layer1.z"].dims(), [13, 16]);
    assert_eq!(tensors["layer2.memory"].dims(), [16]);
    let bytes = fs::read(&path).expect("the file");
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).expect("a header");
    let metadata = metadata.metadata().as_ref().expect("metadata");
    assert_eq!(metadata["text"], "Nobody asks.\n");
    assert_eq!(json(&metadata["tokens"]).as_array().map(Vec::len), Some(13));
    let printed =
        dir.ok(&["inspect", "--checkpoint", "run", "text.txt", "--layer", "1", "--gate", "z"]);
    let row = numbers(&tensors["layer1.z"].get(4).expect("a row"));
    let printed: Vec<f32> = json(&printed)["values"][4]
        .as_array()
        .expect("a row")
        .iter()
        .map(|value| value.as_f64().expect("a number") as f32)
        .collect();
    assert_close("z", &printed, &row, 6e-4);
    // The same bytes again, over its own file; and one unit alone.
    dir.ok(&args);
    assert_eq!(fs::read(&path).expect("the file"), bytes);
    dir.ok(&[&args[..], &["--layer", "1", "--gate", "z", "--unit", "5"]].concat());
    let one = candle_core::safetensors::load(&path, &Device::Cpu).expect("tensors");
    assert_eq!((one.len(), one["layer1.z.5"].dims()), (1, &[13][..]));
}

#[test]
fn a_file_that_is_not_chargru_s_is_not_replaced() {
    let dir = TestDir::new();
    tiny(&dir, &[]);
    for name in ["own.html", "own.json", "own.safetensors"] {
        dir.file(
            name,
            "{\"mine\": true, \"and\": \"long enough to be read as a mark of another file\"}",
        );
        let before = fs::read(dir.path(name)).expect("a file");
        let args = ["inspect", "--checkpoint", "run", "tide.txt", "--out", name];
        dir.fails(1, &args, &["is no inspection of chargru", "--out"]);
        assert_eq!(fs::read(dir.path(name)).expect("a file"), before);
    }
    let args = ["inspect", "--checkpoint", "run", "tide.txt", "--out", "new.json"];
    dir.ok(&args);
    dir.ok(&args);
    dir.fails(
        1,
        &["inspect", "--checkpoint", "run", "tide.txt", "--out", "no/new.json"],
        &["cannot write"],
    );
}

#[test]
fn what_cannot_be_inspected_is_said() {
    let dir = TestDir::new();
    tiny(&dir, &[]);
    dir.file("empty.txt", "");
    dir.file("strange.txt", "tide ☂");
    let fails = |code, more: &[&str], says: &[&str]| {
        dir.fails(code, &[&["inspect", "--checkpoint", "run"], more].concat(), says);
    };
    fails(1, &["none.txt"], &["none.txt"]);
    fails(1, &["empty.txt"], &["empty"]);
    fails(1, &["-"], &["the text is empty"]);
    fails(1, &["strange.txt"], &["'☂' U+2602"]);
    fails(2, &["tide.txt", "--layer", "9"], &["--layer is 9", "1 to 1"]);
    fails(2, &["tide.txt", "--layer", "0"], &["--layer is 0"]);
    fails(2, &["tide.txt", "--unit", "9999"], &["--unit is 9999", "0 to 15"]);
    fails(2, &["tide.txt", "--gate", "f"], &["--gate is 'f'", "gru has z, r, n, h"]);
    fails(2, &["tide.txt", "--out", "x.png"], &["x.png", "--format"]);
    fails(2, &["tide.txt", "--format", "safetensors"], &["--out"]);
    fails(2, &["tide.txt", "--top", "3"], &["--find"]);
    // Too short to find anything in is no error.
    dir.file("short.txt", "tide\n");
    let run = dir.run(&["inspect", "--checkpoint", "run", "--find", "short.txt"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""), "{run:?}");
    assert!(run.stderr.contains("give a longer text"), "{run:?}");
}

#[test]
fn bidirectional_models_show_their_forward_half_and_lines_are_documents() {
    let dir = TestDir::new();
    tiny(&dir, &["--bidirectional", "--documents", "lines"]);
    dir.file("text.txt", "Nobody asks.\n\nThe tide.\n");
    let run = dir.run(&["inspect", "--checkpoint", "run", "text.txt"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stderr.contains("half that reads forward"), "{run:?}");
    let object = json(&run.stdout);
    let tokens = object["tokens"].as_array().expect("tokens");
    let text: String = tokens.iter().map(|token| token.as_str().expect("text")).collect();
    assert_eq!(text, "Nobody asks.\nThe tide.");
}
