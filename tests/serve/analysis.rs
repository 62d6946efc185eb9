//! Scores, gates, fillings and typos are those of the commands; models of lines and of bytes.

use serde_json::{Value, json};

use crate::serve::http::collect;
use crate::serve::{DEMO, Server, asked, texts, with};
use crate::support::{TIDE, TestDir, json as parse};

const TEXT: &str = "MAREN:\nThe lantern is out, and the tide is coming in.\n";

fn lines(output: &str) -> Vec<Value> {
    output.lines().map(parse).collect()
}

fn array(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn a_score_is_that_of_the_command() {
    let dir = TestDir::new();
    dir.file("text.txt", TEXT);
    let both = concat!(env!("CARGO_MANIFEST_DIR"), "/checkpoints/demo-bidirectional");
    let server = Server::start(&dir, &["--checkpoint", DEMO, "--checkpoint", both]);
    for (model, path) in [("demo", DEMO), ("demo-bidirectional", both)] {
        let of_command = |per| {
            lines(&dir.ok(&["score", "--checkpoint", path, "--per", per, "--json", "text.txt"]))
        };
        let body = json!({"model": model, "text": TEXT});
        let score = server.post("/v1/score", &body).ok();
        assert_eq!(score["pseudo_likelihood"], path == both);
        let characters = of_command("char");
        let (tokens, logs) = (array(&score["tokens"]), array(&score["token_logprobs"]));
        assert_eq!((tokens.len(), logs.len()), (characters.len(), characters.len()));
        for ((token, log), line) in tokens.iter().zip(logs).zip(&characters) {
            assert_eq!(*token, line["text"]);
            match line["ids"].as_u64() {
                Some(0) => assert!(log.is_null(), "{line}"),
                // With five decimals in the answer.
                _ => assert!((number(log) + number(&line["nats"])).abs() < 6e-6, "{log} {line}"),
            }
        }
        let whole = &of_command("text")[0];
        for name in ["nats", "bits_per_character"] {
            let difference = number(&score[name]) - number(&whole[name]);
            assert!(difference.abs() < 1e-9, "{name}: {score} {whole}");
        }
        // Alternatives change nothing else.
        let with_top = server.post("/v1/score", &with(body, json!({"logprobs": 2}))).ok();
        assert_eq!(with_top["token_logprobs"], score["token_logprobs"]);
        for (log, top) in logs.iter().zip(array(&with_top["top_logprobs"])) {
            assert_eq!(log.is_null(), top.is_null());
            let likeliest = top.as_object().into_iter().flat_map(|top| top.values().map(number));
            let likeliest = likeliest.fold(f64::NEG_INFINITY, f64::max);
            assert!(log.is_null() || number(log) <= likeliest, "{log} {top}");
        }
    }
}

#[test]
fn gates_are_those_of_the_command() {
    let dir = TestDir::new();
    dir.file("text.txt", TEXT);
    let server = Server::start(&dir, &["--checkpoint", DEMO]);
    for gate in ["z", "h"] {
        let of_command = dir.ok(&[
            "inspect",
            "--checkpoint",
            DEMO,
            "--layer",
            "1",
            "--gate",
            gate,
            "--format",
            "json",
            "text.txt",
        ]);
        let command = parse(&of_command);
        let answer =
            server.post("/v1/inspect", &json!({"text": TEXT, "layer": 1, "gate": gate})).ok();
        assert_eq!(answer["tokens"].as_array().map(Vec::len), Some(TEXT.len()));
        assert_eq!(answer["values"][0].as_array().map(Vec::len), Some(256));
        for name in ["layer", "layers", "gate", "gates", "units", "tokens", "values", "memory"] {
            assert_eq!(answer[name], command[name], "{name}");
        }
    }
}

/// A bidirectional model that has learnt the tide.
fn both_sides(dir: &TestDir) {
    let settings = ["--bidirectional", "--steps", "300", "--lr", "0.02", "--hidden", "32"];
    let plain = ["--dropout", "0.25", "--weight-drop", "0", "--weight-decay", "0.01"];
    let run = dir.train_tiny("both", &[&settings[..], &plain].concat());
    assert_eq!(run.code, Some(0), "{run:?}");
}

#[test]
fn fillings_are_those_of_the_command() {
    let dir = TestDir::new();
    both_sides(&dir);
    assert_eq!(dir.train_tiny("tide", &[]).code, Some(0));
    // The first reads forward only: without a name, the one that can is asked.
    let server = Server::start(&dir, &["--checkpoint", "tide", "--checkpoint", "both"]);
    let fill = |body: Value| server.post("/v1/fill", &body);
    let one = fill(json!({"text": "The t__e comes in, the * goes out."})).ok();
    assert_eq!(one["model"], "both");
    assert_eq!(one["fillings"][0]["text"], "The tide comes in, the tide goes out.");
    assert_eq!(one["fillings"][0]["gaps"], json!(["id", "tide"]));
    let text = "The ____ comes in, the * goes out.";
    let flags = ["fill", "--checkpoint", "both", "--num", "5", "--seed", "3", "--max-gap", "6"];
    let of_command =
        lines(&dir.ok(&[&flags[..], &["--temperature", "1.5", "--json", text]].concat()));
    let fields = json!({"text": text, "num": 5, "seed": 3, "max_gap": 6, "temperature": 1.5});
    let answer = fill(fields.clone()).ok();
    let fillings = array(&answer["fillings"]);
    assert_eq!((fillings.len(), of_command.len()), (5, 5));
    for (filling, line) in fillings.iter().zip(&of_command) {
        for name in ["text", "gaps"] {
            assert_eq!(filling[name], line[name], "{name}");
        }
        // Some systems' `exp` depends in the last bit on the thread.
        let ratio = number(&filling["probability"]) / number(&line["probability"]);
        assert!((ratio - 1.0).abs() < 1e-12, "{filling} {line}");
    }
    assert_eq!(fill(fields).ok(), answer);
    for (fields, param, says) in [
        (json!({"text": "The tide"}), "text", "_"),
        (json!({"text": "a".repeat(4_097)}), "text", "4097 characters: give 4096"),
        (json!({"text": "T_e ü"}), "text", "ü"),
        (json!({"text": "_".repeat(361)}), "text", "361 gaps of one character: 360"),
        (json!({"text": "*a*", "max_gap": 64}), "text", "682"),
        (json!({"text": "T_e", "num": 0}), "num", "from 1 to 64"),
        (json!({"text": "T_e", "num": 65}), "num", "from 1 to 64"),
        (json!({"text": "T_e", "max_gap": 1_000_000}), "max_gap", "1000000"),
        (json!({"text": "T_e", "temperature": -1}), "temperature", "-1"),
    ] {
        fill(fields).fails(400, Some(param), &[says]);
    }
    fill(json!({"text": "T_e", "model": "tide"})).fails(400, Some("model"), &["\"tide\""]);
}

#[test]
fn typos_are_those_of_the_command() {
    let dir = TestDir::new();
    both_sides(&dir);
    let text =
        TIDE.repeat(2).replacen("comes", "cimes", 1) + "The tide comes ni, the tid goes out.\n";
    dir.file("typos.txt", &text);
    let flags = ["proofread", "--checkpoint", "both", "--threshold", "3"];
    let found = dir.run(&[&flags[..], &["--json", "typos.txt"]].concat());
    let of_command = lines(&found.stdout);
    assert!(of_command.len() >= 3, "{found:?}");
    let server = Server::start(&dir, &["--checkpoint", "both"]);
    let proofread = |body: Value| server.post("/v1/proofread", &body);
    let answer = proofread(json!({"text": text, "threshold": 3})).ok();
    let findings = array(&answer["findings"]);
    assert_eq!(findings.len(), of_command.len(), "{answer}");
    let characters: Vec<char> = text.chars().collect();
    for (finding, line) in findings.iter().zip(&of_command) {
        for name in ["line", "column", "kind", "found", "suggestion"] {
            assert_eq!(finding[name], line[name], "{name}");
        }
        let at = finding["offset"].as_u64().expect("an offset") as usize;
        let found: Vec<char> = finding["found"].as_str().expect("a text").chars().collect();
        assert_eq!(characters[at..at + found.len()], found, "{finding}");
    }
    let corrected = dir.run(&[&flags[..], &["--apply", "typos.txt"]].concat()).stdout;
    assert_eq!(answer["corrected"].as_str(), Some(corrected.as_str()));
    assert!(corrected.starts_with(TIDE), "{corrected}");
    let two = proofread(json!({"text": text, "threshold": 3, "false_alarms": 10}));
    two.fails(400, Some("threshold"), &["`false_alarms`"]);
    let most = server.get("/v1/models").ok()["limits"]["proofread"].as_u64().expect("a bound");
    let long = "a".repeat(most as usize + 1);
    let says = format!("{} characters: give {most} at most", most + 1);
    proofread(json!({"text": long})).fails(400, Some("text"), &[&says]);
    proofread(json!({"text": text, "threshold": -1})).fails(400, Some("threshold"), &["-1"]);
}

#[test]
fn a_model_of_lines_ends_its_texts() {
    let dir = TestDir::new();
    let more = ["--documents", "lines", "--steps", "150", "--lr", "0.02", "--dropout", "0"];
    assert_eq!(dir.train_tiny("lines", &more).code, Some(0));
    let server = Server::start(&dir, &["--checkpoint", "lines"]);
    let request = with(asked("Nobody asks", 100, 1), json!({"temperature": 0}));
    let answer = server.complete(request.clone()).ok();
    let expected = dir.ok(&[
        "sample",
        "--checkpoint",
        "lines",
        "--prompt",
        "Nobody asks",
        "--length",
        "100",
        "--temperature",
        "0",
    ]);
    let text = texts(&answer)[0].clone();
    assert_eq!(format!("Nobody asks{}", text.trim_end()), expected.trim_end());
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    let (streamed, _) = collect(server.stream(request));
    assert_eq!((&streamed[0].text, streamed[0].finish.as_deref()), (&text, Some("stop")));
    server.complete(asked("Nobody\nasks", 1, 1)).fails(400, Some("prompt"), &["line"]);
}

#[test]
fn a_model_of_bytes_writes_whole_characters() {
    const WORDS: &str = "Füße größer als Übermut – naïve Ärzte schlößen „früh“.\n";
    let dir = TestDir::new();
    dir.file("words.txt", WORDS.repeat(30));
    let more = ["--corpus", "words.txt", "--units", "bytes", "--steps", "200", "--lr", "0.02"];
    let run = dir.train_tiny("bytes", &more);
    assert_eq!(run.code, Some(0), "{run:?}");
    let server = Server::start(&dir, &["--checkpoint", "bytes"]);
    let request =
        with(asked("Füße", 200, 1), json!({"logprobs": 1, "echo": true, "temperature": 0.3}));
    let answer = server.complete(request.clone()).ok();
    let text = texts(&answer)[0].clone();
    assert!(text.starts_with("Füße") && text.contains('ö'), "{text}");
    let (streamed, _) = collect(server.stream(request));
    assert_eq!(streamed[0].text, text);
    // A token is a byte; those that are no text alone are written out. Offsets count characters.
    let log = &answer["choices"][0]["logprobs"];
    let tokens = array(&log["tokens"]);
    let first: Vec<&str> = tokens[..4].iter().filter_map(Value::as_str).collect();
    assert_eq!(first, ["F", r"bytes:\xc3", r"bytes:\xbc", r"bytes:\xc3"]);
    assert_eq!(streamed[0].tokens, *tokens);
    assert_eq!(streamed[0].offsets, *array(&log["text_offset"]));
    let offsets: Vec<u64> = array(&log["text_offset"]).iter().filter_map(Value::as_u64).collect();
    assert_eq!(offsets.len(), tokens.len());
    let characters: Vec<char> = text.chars().collect();
    for (token, offset) in tokens.iter().zip(&offsets) {
        let token = token.as_str().expect("a text");
        if !token.starts_with("bytes:") {
            assert_eq!(
                token.chars().next(),
                characters.get(*offset as usize).copied(),
                "{token} at {offset}"
            );
        }
    }
    assert_eq!(answer["usage"]["prompt_tokens"], "Füße".len());
    // The first piece of a stream is the first character, of two bytes here.
    for (prompt, seed) in [("gr", 1), ("Füße gr", 2), ("schl", 3)] {
        let request = with(asked(prompt, 40, seed), json!({"logprobs": 0, "temperature": 0.3}));
        let whole = server.complete(request.clone()).ok();
        let (streamed, _) = collect(server.stream(request));
        assert_eq!([streamed[0].text.clone()], *texts(&whole));
        assert_eq!(streamed[0].offsets, *array(&whole["choices"][0]["logprobs"]["text_offset"]));
    }
    let score = server.post("/v1/score", &json!({"text": WORDS})).ok();
    assert_eq!(array(&score["tokens"]).len(), WORDS.len());
}
