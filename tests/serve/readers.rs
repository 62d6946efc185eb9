//! Clients that go away, read slowly, send slowly or are too many.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::serve::http::{Connection, collect};
use crate::serve::{JSON, Server, asked, texts, with};
use crate::support::TestDir;

/// A text that is far from its end after a moment.
fn long() -> Value {
    asked("MAREN:", 16_384, 1)
}

/// More than the system keeps of what a server sends to a client that reads slowly, which is 4 MB with Linux and at
/// times 9 MB under Wine: 262,000 ids with alternatives, some 24 MB; a row waits when 1,024 of its own are not taken.
fn much() -> Value {
    json!({"prompt": "The ", "max_tokens": 16_384, "n": 16, "seed": 1, "logprobs": 5})
}

fn tiny() -> TestDir {
    let dir = TestDir::new();
    assert_eq!(dir.train_tiny("tide", &[]).code, Some(0));
    dir
}

#[test]
fn a_client_that_goes_away_frees_its_row() {
    let server = Server::demo(&["--rows", "1", "--log", "json"]);
    let mut stream = server.stream(long());
    assert!(stream.next().is_some());
    assert_eq!(server.rows(), 1);
    drop(stream);
    // It waits for the row.
    assert_eq!(texts(&server.complete(asked("MAREN:", 5, 1)).ok())[0].len(), 5);
    let line = server.line("\"status\":200,\"model\":\"demo\"");
    let written = crate::support::json(&line)["characters"].as_u64().expect("a number");
    assert!(written < 16_384, "it was written to its end: {line}");
    // One that waits for the whole text, and one that waits for a row.
    let mut whole = server.connection();
    whole.ask("POST", "/v1/completions", &[JSON], &long().to_string());
    server.wait_for_rows(1);
    let mut waits = server.connection();
    waits.ask("POST", "/v1/completions", &[JSON], &long().to_string());
    server.wait_for_waiting(1);
    drop(waits);
    drop(whole);
    assert_eq!(texts(&server.complete(asked("MAREN:", 5, 1)).ok())[0].len(), 5);
    server.wait_for_rows(0);
    let metrics = server.get("/metrics").body;
    assert!(metrics.contains("chargru_waiting{model=\"demo\"} 0"), "{metrics}");
    let gone = "chargru_requests_total{path=\"/v1/completions\",status=\"499\"} 2";
    assert!(metrics.contains(gone), "{metrics}");
}

/// Nothing is sent before the whole text is there: that the client has gone shows only in the connection.
#[test]
fn a_client_that_does_not_wait_for_a_whole_answer_ends_its_writing() {
    let server = Server::demo(&["--threads", "1"]);
    let mut whole = server.connection();
    // Four million characters, which take a fast processor longer than the bound below.
    let body = json!({"prompt": vec!["MAREN:"; 16], "n": 16, "max_tokens": 16_384});
    whole.ask("POST", "/v1/completions", &[JSON], &body.to_string());
    server.wait_for_rows(256);
    let begun = Instant::now();
    drop(whole);
    server.wait_for_rows(0);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn a_stream_that_nobody_reads_stops_no_other_and_loses_nothing() {
    let dir = tiny();
    let server = Server::start(&dir, &["--checkpoint", "tide"]);
    // Log-probabilities change no text, and a whole answer with them is large.
    let whole = server.complete(with(much(), json!({"logprobs": null}))).ok();
    let mut unread = server.unread_stream(much());
    let first = unread.next().expect("an event");
    server.wait_for_rows(16);
    // Few: a reader that takes nothing for 30 s has gone, and the machine may be busy.
    for seed in 0..5 {
        let request = asked("The ", 1_000, seed);
        let (streamed, _) = collect(server.stream(request.clone()));
        assert_eq!([streamed[0].text.clone()], *texts(&server.complete(request).ok()));
    }
    assert!(
        server.rows() >= 16,
        "the system took all that was written, or it took 30 s: {:?}",
        server.lines()
    );
    let (streamed, _) = collect(std::iter::once(first).chain(unread));
    assert_eq!(streamed.iter().map(|text| text.text.clone()).collect::<Vec<_>>(), texts(&whole));
    for text in &streamed {
        let tokens: String = text.tokens.iter().filter_map(Value::as_str).collect();
        assert_eq!(tokens, text.text);
        assert_eq!(text.offsets, (4..16_388).map(Value::from).collect::<Vec<_>>());
    }
    server.wait_for_rows(0);
}

#[test]
fn more_than_may_wait_are_told_to_ask_again() {
    let dir = tiny();
    let server = Server::start(&dir, &["--checkpoint", "tide", "--rows", "16", "--queue", "1"]);
    let mut unread = server.unread_stream(much());
    assert!(unread.next().is_some());
    let mut waits = server.connection();
    waits.ask("POST", "/v1/completions", &[JSON], &asked("The ", 7, 1).to_string());
    server.wait_for_waiting(1);
    for stream in [false, true] {
        let reply = server.complete(with(asked("The ", 7, 1), json!({"stream": stream})));
        let error = reply.fails(429, None, &["ask again later"]);
        assert_eq!(
            (error["type"].as_str(), error["code"].as_str()),
            (Some("rate_limit_error"), Some("rate_limit_exceeded"))
        );
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
    // What needs no row is answered.
    server.post("/v1/score", &json!({"text": "The tide"})).ok();
    drop(unread);
    let answer = waits.reply().ok();
    assert_eq!(texts(&answer)[0].len(), 7);
    assert_eq!(texts(&server.complete(asked("The ", 7, 1)).ok()), texts(&answer));
}

/// What is sent so slowly keeps no place: a head, and a body.
#[test]
fn a_request_that_does_not_arrive_is_given_up() {
    let server = Server::demo(&[]);
    let mut head = server.connection();
    head.send("POST /v1/completions HTTP/1.1\r\nhost: localhost\r\nx-slow: ");
    let mut body = server.connection();
    body.ask("POST", "/v1/completions", &[JSON, ("content-length", "100")], "{\"prompt\"");
    let begun = Instant::now();
    body.reply().fails(408, None, &["within 10 s"]);
    assert!(head.is_closed());
    assert!(begun.elapsed() >= Duration::from_secs(8), "{:?}", begun.elapsed());
    server.complete(asked("MAREN:", 1, 1)).ok();
}

#[test]
fn a_connection_serves_one_request_after_another() {
    let server = Server::demo(&[]);
    let mut connection = server.connection();
    let request = asked("MAREN:", 20, 4);
    let mut ask = |path: &str, body: &str| {
        connection.ask("POST", path, &[JSON], body);
        connection.reply()
    };
    let first = ask("/v1/completions", &request.to_string()).ok();
    ask("/v1/completions", "{").fails(400, None, &[]);
    ask("/v1/nothing", "{}").fails(404, None, &[]);
    let streamed =
        ask("/v1/completions", &with(request.clone(), json!({"stream": true})).to_string());
    assert!(streamed.body.ends_with("data: [DONE]\n\n"), "{streamed:?}");
    assert_eq!(texts(&ask("/v1/completions", &request.to_string()).ok()), texts(&first));
}

#[test]
fn a_port_that_is_taken_is_an_error_with_the_address() {
    let server = Server::demo(&[]);
    let port = server.port.to_string();
    let dir = TestDir::new();
    let args = ["serve", "--checkpoint", crate::serve::DEMO, "--port", &port];
    dir.fails(1, &args, &[&format!("127.0.0.1:{port}"), "give another --port"]);
    assert!(Connection::open(server.port).is_ok());
    server.get("/health").ok();
}
