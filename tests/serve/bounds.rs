//! What is asked for wrongly is refused, with the field, its bound and what to do.

use serde_json::{Value, json};

use crate::serve::{JSON, Server, asked, with};

/// Each request of this test is wrong in one way; the server answers the next one all the same.
#[test]
fn a_value_beyond_its_bound_is_refused_with_the_field_and_the_bound() {
    let server = Server::demo(&["--rows", "20"]);
    let limits = server.get("/v1/models").ok()["limits"].clone();
    let most = |name: &str| limits[name].as_u64().unwrap_or_else(|| panic!("{name}: {limits}"));
    let refused = |fields: Value, param: &str, says: &str| {
        let reply = server.complete(with(asked("MAREN:", 1, 1), fields));
        reply.fails(400, Some(param), &[says]);
    };
    for name in ["max_tokens", "n", "logprobs"] {
        let bound = most(name);
        refused(json!({name: bound + 1}), name, &bound.to_string());
    }
    let long = "a".repeat(most("prompt") as usize);
    refused(json!({"prompt": format!("{long}a")}), "prompt", "8193 characters: give 8192");
    server.complete(asked(&long, 1, 1)).ok();
    let several = vec!["a"; 17];
    refused(json!({"prompt": several}), "prompt", "17 texts: give 16 at most");
    refused(json!({"prompt": ["a", "b"], "n": 11}), "n", "22 texts are asked for: 20");
    server.complete(with(asked("", 1, 1), json!({"prompt": ["a", "b"], "n": 10}))).ok();
    // Log-probabilities are large: in one piece not as many as in a stream.
    let many = json!({"n": 16, "max_tokens": 1_025, "logprobs": 0});
    refused(many.clone(), "logprobs", "16400 characters are asked for at once: 16384 at most");
    assert!(server.stream(with(asked("MAREN:", 1, 1), many)).next().is_some());
    for (fields, param, says) in [
        (json!({"n": 0}), "n", "from 1 to 16"),
        (json!({"max_tokens": -1}), "max_tokens", "-1"),
        (json!({"max_tokens": 1.5}), "max_tokens", "1.5"),
        (json!({"max_tokens": "1"}), "max_tokens", "string"),
        (json!({"temperature": -0.1}), "temperature", "-0.1"),
        (json!({"temperature": "hot"}), "temperature", "hot"),
        (json!({"top_p": 1.1}), "top_p", "1.1"),
        (json!({"top_p": 0}), "top_p", "0"),
        (json!({"top_k": 0}), "top_k", "from 1"),
        (json!({"min_p": 1.5}), "min_p", "1.5"),
        (json!({"repetition_penalty": 0}), "repetition_penalty", "0"),
        (json!({"repetition_window": 1_000_000_000}), "repetition_window", "1000000000"),
        (json!({"stop": vec!["a"; 17]}), "stop", "17 texts: give 16"),
        (json!({"stop": "a".repeat(257)}), "stop", "257 characters: give 256"),
        (json!({"stop": ["a", ""]}), "stop", ""),
        (json!({"stop": ["a", 1]}), "stop[1]", "integer `1`"),
        (json!({"seed": 1.5}), "seed", ""),
        (json!({"logit_bias": {"x": 1}}), "logit_bias", "\"x\""),
        (json!({"logit_bias": {"65": 1}}), "logit_bias", "65"),
        (json!({"logit_bias": {"1": 101}}), "logit_bias", "from -100 to 100"),
        (json!({"prompt": []}), "prompt", "empty list"),
        (json!({"prompt": 7}), "prompt", "7"),
        (json!({"prompt": [1, 2]}), "prompt[0]", "integer `1`"),
        (json!({"prompt": "Füße"}), "prompt", "'ü'"),
        (json!({"stream_options": {"include_usage": true}}), "stream_options", "`stream`"),
        (json!({"stream": true, "stream_options": {"usage": true}}), "usage", "unknown field"),
    ] {
        refused(fields, param, says);
    }
    server.complete(asked("MAREN:", 1, 1)).ok();
}

#[test]
fn fields_that_are_unknown_or_not_supported_are_refused_by_name() {
    let server = Server::demo(&[]);
    for (fields, param, says) in [
        (json!({"max_token": 5}), "max_token", "unknown field"),
        (json!({"messages": []}), "messages", "unknown field"),
        (json!({"best_of": 2, "n": 1}), "best_of", "`n`"),
        (json!({"frequency_penalty": 1}), "frequency_penalty", "`repetition_penalty`"),
        (json!({"presence_penalty": 1}), "presence_penalty", "`repetition_penalty`"),
        (json!({"suffix": "x"}), "suffix", "/v1/fill"),
    ] {
        server.complete(with(asked("MAREN:", 1, 1), fields)).fails(400, Some(param), &[says]);
    }
    // What is null is not there; some clients send what changes nothing.
    let neutral = json!({"best_of": 2, "n": 2, "frequency_penalty": 0, "presence_penalty": 0.0, "suffix": ""});
    server.complete(with(asked("MAREN:", 1, 1), neutral)).ok();
    let nulls =
        json!({"best_of": null, "suffix": null, "temperature": null, "stop": null, "user": "me"});
    server.complete(with(asked("MAREN:", 1, 1), nulls)).ok();
    for path in ["/v1/score", "/v1/inspect"] {
        let reply = server.post(path, &json!({"text": "MAREN:", "texts": 1}));
        reply.fails(400, Some("texts"), &["unknown field"]);
        server.post(path, &json!({})).fails(400, Some("text"), &["missing field"]);
    }
    // The demo reads from left to right only.
    for path in ["/v1/fill", "/v1/proofread"] {
        let reply = server.post(path, &json!({"text": "M_REN:"}));
        reply.fails(400, Some("model"), &["\"demo\"", "`bidirectional`"]);
    }
}

#[test]
fn what_is_no_json_is_refused() {
    let server = Server::demo(&[]);
    let post = |kind: Option<&str>, body: &str| {
        let header: Vec<_> = kind.map(|kind| ("content-type", kind)).into_iter().collect();
        server.ask("POST", "/v1/completions", &header, body)
    };
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx"] {
        post(Some(kind), r#"{"prompt":"a"}"#).fails(415, None, &["content-type: application/json"]);
    }
    for kind in [None, Some("")] {
        post(kind, r#"{"prompt":"a"}"#).fails(415, None, &["content-type: application/json"]);
    }
    for kind in ["application/json; charset=utf-8", "Application/JSON"] {
        post(Some(kind), r#"{"prompt":"a","max_tokens":1}"#).ok();
    }
    for body in ["{", "[]", "7", "{\"prompt\":\"a\"} x", "nonsense", &"[".repeat(100_000)] {
        post(Some("application/json"), body).fails(400, None, &[]);
    }
    post(Some("application/json"), "").fails(400, None, &["no JSON"]);
    // The fields by their order are no request.
    let reply = server.post("/v1/score", &json!(["demo", "MAREN:", null]));
    reply.fails(400, None, &[]);
}

#[test]
fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    const MOST: usize = 1 << 20;
    let server = Server::demo(&[]);
    // It says how long it is: refused with nothing of it sent.
    let mut connection = server.connection();
    let length = (MOST + 1).to_string();
    connection.ask("POST", "/v1/completions", &[JSON, ("content-length", &length)], "");
    connection.reply().fails(413, None, &["1048576 bytes"]);
    // It does not say: refused when it goes beyond.
    let mut connection = server.connection();
    let chunked = [JSON, ("transfer-encoding", "chunked")];
    connection.ask("POST", "/v1/completions", &chunked, "");
    connection.send(format!("{:x}\r\n{}\r\n", MOST, " ".repeat(MOST)));
    connection.send("1\r\n \r\n");
    connection.reply().fails(413, None, &["1048576 bytes"]);
    // As much as is allowed is read.
    let body = asked("MAREN:", 1, 1).to_string();
    let padded = " ".repeat(MOST - body.len()) + &body;
    server.ask("POST", "/v1/completions", &[JSON], &padded).ok();
}

#[test]
fn paths_and_methods_that_are_not_there_are_errors_in_the_same_shape() {
    let server = Server::demo(&[]);
    for path in ["/v1/completions", "/v1/score", "/v1/inspect", "/v1/fill", "/v1/proofread"] {
        server.get(path).fails(405, None, &["another method"]);
    }
    server.post("/v1/models", &json!({})).fails(405, None, &["GET"]);
    server.ask("DELETE", "/", &[], "").fails(405, None, &["GET"]);
    for path in ["/v1", "/v1/chat/completions", "/v1/completions/", "/v1/../Cargo.toml", "/x"] {
        server.get(path).fails(404, None, &["nothing at this path"]);
    }
    server.get("/page/..%2Fmod.rs").fails(404, None, &["no such file"]);
    server.get("/v1/models/%2e%2e").fails(404, Some("model"), &[]);
}

#[test]
fn texts_to_read_have_bounds_of_their_own() {
    let server = Server::demo(&[]);
    let limits = server.get("/v1/models").ok()["limits"].clone();
    for (path, name) in [("/v1/score", "score"), ("/v1/inspect", "inspect")] {
        let most = limits[name].as_u64().expect("a bound") as usize;
        let text = "a".repeat(most + 1);
        let says = format!("{} characters: give {most} at most", most + 1);
        server.post(path, &json!({"text": text})).fails(400, Some("text"), &[&says]);
    }
    let score = |fields: Value| server.post("/v1/score", &with(json!({"text": "MAREN:"}), fields));
    score(json!({"logprobs": 6})).fails(400, Some("logprobs"), &["5"]);
    score(json!({"text": "Füße"})).fails(400, Some("text"), &["'ü'"]);
    let inspect =
        |fields: Value| server.post("/v1/inspect", &with(json!({"text": "MAREN:"}), fields));
    inspect(json!({"layer": 3})).fails(400, Some("layer"), &["3"]);
    inspect(json!({"layer": 0})).fails(400, Some("layer"), &["0"]);
    inspect(json!({"gate": "c"})).fails(400, Some("gate"), &["z, r"]);
}
