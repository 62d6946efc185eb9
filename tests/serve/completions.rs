//! What a completion holds: the same text however it is asked for.

use serde_json::{Value, json};

use crate::serve::http::collect;
use crate::serve::{DEMO, Server, asked, texts, with};
use crate::support::{TestDir, json as parse};

/// The first character comes in a piece of its own, and then whatever there is each few milliseconds.
#[test]
fn a_seed_gives_the_same_text_alone_streamed_and_beside_others() {
    let server = Server::demo(&[]);
    let request = asked("MAREN:", 200, 7);
    let alone = texts(&server.complete(request.clone()).ok())[0].clone();
    assert_eq!(alone.chars().count(), 200);
    let streamed = |server: &Server| {
        let (streamed, _) = collect(server.stream(request.clone()));
        assert_eq!(streamed[0].finish.as_deref(), Some("length"));
        streamed[0].text.clone()
    };
    assert_eq!(streamed(&server), alone);
    // Forty that end long after; each has begun.
    let mut others = Vec::new();
    for seed in 0..40 {
        let prompt = ["", "The lantern", "BREN:\nWho", "\n\n"][seed % 4];
        let mut other = server.stream(asked(prompt, 16_384, seed as u64));
        assert!(other.next().is_some());
        others.push(other);
    }
    assert!(server.rows() > 30, "{} rows", server.rows());
    assert_eq!(texts(&server.complete(request.clone()).ok())[0], alone);
    assert_eq!(streamed(&server), alone);
    drop(others);
    server.wait_for_rows(0);
    assert_eq!(streamed(&server), alone);
    let other = texts(&server.complete(asked("MAREN:", 200, 8)).ok())[0].clone();
    assert_ne!(other, alone);
}

#[test]
fn the_text_is_that_of_sample() {
    let (server, dir) = (Server::demo(&["--threads", "2"]), TestDir::new());
    let sample = |more: &[&str]| {
        let args = ["sample", "--checkpoint", DEMO, "--json", "--length", "150", "--seed", "9"];
        let lines = dir.ok(&[&args[..], more].concat());
        lines.lines().map(parse).collect::<Vec<Value>>()
    };
    let text = |sample: &Value| sample["text"].as_str().expect("a text").to_string();
    let request = asked("The tide", 150, 9);
    for (temperature, fields) in [("1", json!({})), ("0.5", json!({"temperature": 0.5}))] {
        let expected = sample(&["--prompt", "The tide", "--temperature", temperature]);
        let found = texts(&server.complete(with(request.clone(), fields)).ok());
        assert_eq!(found, [text(&expected[0])]);
    }
    // All settings at once, and several texts.
    let flags = [
        "--prompt",
        "The tide",
        "--temperature",
        "1.2",
        "--top-k",
        "20",
        "--top-p",
        "0.9",
        "--min-p",
        "0.01",
        "--repetition-penalty",
        "1.1",
        "--repetition-window",
        "32",
        "--num",
        "3",
        "--logprobs",
        "2",
    ];
    let fields = json!({
        "temperature": 1.2, "top_k": 20, "top_p": 0.9, "min_p": 0.01, "repetition_penalty": 1.1,
        "repetition_window": 32, "n": 3, "logprobs": 2,
    });
    let expected = sample(&flags);
    let found = server.complete(with(request, fields)).ok();
    assert_eq!(texts(&found), expected.iter().map(text).collect::<Vec<_>>());
    for (choice, sample) in found["choices"].as_array().expect("choices").iter().zip(&expected) {
        for column in ["tokens", "token_logprobs", "top_logprobs"] {
            assert_eq!(choice["logprobs"][column], sample["logprobs"][column], "{column}");
        }
        assert_eq!(choice["logprobs"]["text_offset"][0], "The tide".len());
    }
}

#[test]
fn texts_of_several_prompts_follow_each_other() {
    let server = Server::demo(&[]);
    let fields = json!({
        "prompt": ["MAREN:", "The tide", ""], "n": 3, "max_tokens": 60, "seed": 5,
        "stream_options": {"include_usage": true}, "logprobs": 0,
    });
    let (streamed, usage) = collect(server.stream(fields.clone()));
    let mut whole = fields;
    whole["stream_options"] = Value::Null;
    let whole = server.complete(whole).ok();
    assert_eq!(whole["usage"], usage);
    // Prompts count once, texts each.
    let expected = json!({"prompt_tokens": 14, "completion_tokens": 540, "total_tokens": 554});
    assert_eq!(usage, expected);
    assert_eq!(streamed.iter().map(|text| text.text.clone()).collect::<Vec<_>>(), texts(&whole));
    let indices = whole["choices"].as_array().expect("choices").iter().map(|c| c["index"].clone());
    assert_eq!(indices.collect::<Vec<_>>(), (0..9).map(Value::from).collect::<Vec<_>>());
    let distinct: std::collections::BTreeSet<String> = texts(&whole).into_iter().collect();
    assert_eq!(distinct.len(), 9, "each text is drawn for itself");
    // The first three are those of the first prompt alone.
    let first = server.complete(with(asked("MAREN:", 60, 5), json!({"n": 3}))).ok();
    assert_eq!(texts(&first), texts(&whole)[..3]);
    // Prompts that are the same get texts of their own.
    let same = json!({"prompt": ["MAREN:", "MAREN:"], "n": 2, "max_tokens": 60, "seed": 5});
    let four = server.complete(with(asked("MAREN:", 60, 5), json!({"n": 4}))).ok();
    assert_eq!(texts(&server.complete(same).ok()), texts(&four));
    // Offsets count from the prompt's beginning.
    for (text, start) in streamed.iter().zip([6, 6, 6, 8, 8, 8, 0, 0, 0]) {
        let expected: Vec<Value> = (start..start + 60).map(Value::from).collect();
        assert_eq!(text.offsets, expected);
    }
}

/// Where a stop text begins cannot be told from the pieces before it is there.
#[test]
fn a_stop_text_is_found_across_pieces_and_never_given() {
    let server = Server::demo(&[]);
    let request = asked("MAREN:", 120, 3);
    let text = texts(&server.complete(request.clone()).ok())[0].clone();
    assert!(text.is_ascii());
    for start in [0, 1, 2, 5, 60, 100] {
        for length in [1, 2, 3, 9] {
            let stop = &text[start..start + length];
            let expected = text.split(stop).next().expect("a beginning");
            let body = with(request.clone(), json!({"stop": stop}));
            let answer = server.complete(body.clone()).ok();
            assert_eq!(texts(&answer), [expected], "{stop:?}");
            assert_eq!(answer["choices"][0]["finish_reason"], "stop");
            let (streamed, _) = collect(server.stream(body));
            assert_eq!(
                (streamed[0].text.as_str(), streamed[0].finish.as_deref()),
                (expected, Some("stop"))
            );
        }
    }
    // The first of several that comes; one that never comes changes nothing.
    let (late, early) = (&text[90..95], &text[40..46]);
    let body = with(request.clone(), json!({"stop": [late, early, "@@"]}));
    let first = text.find(late).into_iter().chain(text.find(early)).min().expect("both are there");
    assert_eq!(texts(&server.complete(body).ok()), [&text[..first]]);
    // A text that begins like a stop text and ends there is given whole.
    let begun = format!("{}@", &text[115..]);
    let (streamed, _) = collect(server.stream(with(request, json!({"stop": begun}))));
    assert_eq!((&streamed[0].text, streamed[0].finish.as_deref()), (&text, Some("length")));
}

#[test]
fn an_echoed_prompt_comes_with_its_log_probabilities() {
    let server = Server::demo(&[]);
    let fields = json!({"echo": true, "logprobs": 3});
    let answer = server.complete(with(asked("The tide", 10, 1), fields.clone())).ok();
    let (choice, log) = (&answer["choices"][0], &answer["choices"][0]["logprobs"]);
    let text = choice["text"].as_str().expect("a text");
    assert!(text.starts_with("The tide") && text.chars().count() == 18, "{text}");
    let tokens: String =
        log["tokens"].as_array().expect("tokens").iter().filter_map(Value::as_str).collect();
    assert_eq!(tokens, text);
    assert_eq!(log["text_offset"], json!((0..18).collect::<Vec<_>>()));
    assert!(log["token_logprobs"][0].is_null() && log["top_logprobs"][0].is_null());
    for index in 1..18 {
        let own = log["token_logprobs"][index].as_f64().expect("a number");
        let top = log["top_logprobs"][index].as_object().expect("alternatives");
        // Three, and the token itself if it is none of them.
        let likeliest = top.values().filter_map(Value::as_f64).fold(f64::NEG_INFINITY, f64::max);
        assert!((3..=4).contains(&top.len()) && own <= likeliest && likeliest <= 0.0, "{top:?}");
    }
    let usage = json!({"prompt_tokens": 8, "completion_tokens": 10, "total_tokens": 18});
    assert_eq!(answer["usage"], usage);
    // The prompt alone.
    let prompt = server.complete(with(asked("The tide", 0, 1), fields)).ok();
    assert_eq!(texts(&prompt), ["The tide"]);
    assert_eq!(prompt["choices"][0]["finish_reason"], "length");
    let same: Vec<Value> = (0..8).map(|index| log["token_logprobs"][index].clone()).collect();
    assert_eq!(prompt["choices"][0]["logprobs"]["token_logprobs"], Value::from(same));
    // They are the model's own, whatever the sampling is.
    let cold = server.complete(with(
        asked("The tide", 0, 1),
        json!({"echo": true, "logprobs": 3, "temperature": 0.2}),
    ));
    assert_eq!(cold.ok()["choices"][0]["logprobs"], prompt["choices"][0]["logprobs"]);
}

#[test]
fn a_bias_makes_an_id_certain_or_impossible() {
    let server = Server::demo(&[]);
    // Which id is which character: each alone, made certain.
    let certain = |id: u32| {
        let bias = json!({"logit_bias": {id.to_string(): 100}});
        texts(&server.complete(with(asked("MAREN:", 3, 1), bias)).ok())[0].clone()
    };
    let text = certain(20);
    let only = text.chars().next().expect("a character");
    assert_eq!(text, String::from(only).repeat(3));
    assert_ne!(certain(21), text);
    // Without it; the log-probabilities stay the model's own.
    let fields = json!({"logit_bias": {"20": -100}, "logprobs": 5});
    let without = server.complete(with(asked("MAREN:", 400, 1), fields)).ok();
    assert!(!texts(&without)[0].contains(only), "{only:?} in {without}");
}

#[test]
fn a_model_is_chosen_by_its_name() {
    let dir = TestDir::new();
    for (run, seed) in [("tide", "1"), ("ebb", "2")] {
        assert_eq!(dir.train_tiny(run, &["--seed", seed]).code, Some(0));
    }
    let server = Server::start(&dir, &["--checkpoint", "tide", "--checkpoint", "ebb/best"]);
    let models = server.get("/v1/models").ok();
    let ids: Vec<&str> = (0..2).filter_map(|index| models["data"][index]["id"].as_str()).collect();
    assert_eq!(ids, ["tide", "ebb"]);
    assert_eq!(server.get("/v1/models/ebb").ok(), models["data"][1]);
    server.get("/v1/models/sea").fails(404, Some("model"), &["\"sea\"", "tide, ebb"]);
    let of = |model: Option<&str>| {
        let answer = server.complete(with(asked("The ", 80, 1), json!({"model": model}))).ok();
        (answer["model"].as_str().map(ToString::to_string), texts(&answer))
    };
    assert_eq!(of(None), of(Some("tide")));
    assert_eq!(of(Some("ebb")).0.as_deref(), Some("ebb"));
    assert_ne!(of(Some("ebb")).1, of(Some("tide")).1);
    let wrong = server.complete(json!({"model": "sea"}));
    assert_eq!(wrong.fails(404, Some("model"), &["\"sea\""])["code"], "model_not_found");
    dir.fails(1, &["serve", "--checkpoint", "tide", "--checkpoint", "tide/best"], &["named tide"]);
}
