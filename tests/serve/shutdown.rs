//! The orderly end.

use std::process::Command;
use std::time::Instant;

use serde_json::json;

use crate::serve::http::{Connection, collect};
use crate::serve::{JSON, Server, asked, texts, wait_until};

impl Server {
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Its exit code, when it has ended.
    pub fn end(&mut self) -> Option<i32> {
        let mut status = None;
        wait_until("its end", || {
            status = self.child.try_wait().expect("its state");
            status.is_some()
        });
        status.and_then(|status| status.code())
    }
}

#[test]
fn texts_that_are_being_written_come_to_their_end() {
    for signal in ["-TERM", "-INT"] {
        let mut server = Server::demo(&["--drain", "10m", "--rows", "3"]);
        let request = asked("MAREN:", 12_000, 1);
        let whole = texts(&server.complete(request.clone()).ok());
        let mut stream = server.stream(request.clone());
        let first = stream.next().expect("an event");
        let mut answered = server.connection();
        answered.ask("POST", "/v1/completions", &[JSON], &request.to_string());
        server.wait_for_rows(2);
        // It needs more rows than are free: it waits, and is not begun any more.
        let mut waits = server.connection();
        waits.ask("POST", "/v1/completions", &[JSON], &json!({"n": 3}).to_string());
        server.wait_for_waiting(1);
        server.signal(signal);
        server.line("running texts may end");
        let refused = Connection::open(server.port);
        assert!(refused.is_err(), "a connection was accepted");
        waits.reply().fails(503, None, &["stopping"]);
        let (streamed, _) = collect(std::iter::once(first).chain(stream));
        assert_eq!((&streamed[0].text, streamed[0].finish.as_deref()), (&whole[0], Some("length")));
        assert_eq!(texts(&answered.reply().ok()), whole);
        assert_eq!(server.end(), Some(0), "{:?}", server.lines());
        assert!(server.line("stopped").ends_with("stopped"));
        assert!(!server.lines().iter().any(|line| line.contains("cut")), "{:?}", server.lines());
    }
}

#[test]
fn a_text_that_takes_longer_is_cut_and_ended_in_order() {
    let mut server = Server::demo(&["--drain", "1s"]);
    // Four million characters.
    let request = json!({"prompt": vec!["MAREN:"; 16], "n": 16, "max_tokens": 16_384, "seed": 1});
    let mut stream = server.stream(request);
    let first = stream.next().expect("an event");
    server.signal("-TERM");
    let begun = Instant::now();
    let (streamed, _) = collect(std::iter::once(first).chain(stream));
    assert!(begun.elapsed() >= std::time::Duration::from_millis(500), "it was not waited for");
    assert_eq!(streamed.len(), 256);
    for text in &streamed {
        assert_eq!(text.finish.as_deref(), Some("length"));
        assert!(text.text.len() < 16_384, "it was not cut");
    }
    assert_eq!(server.end(), Some(0), "{:?}", server.lines());
    server.line("running texts are cut");
}

#[test]
fn a_server_without_work_ends_at_once() {
    let mut server = Server::demo(&["--drain", "10m"]);
    // A connection that is kept open asks for nothing.
    let mut idle = server.connection();
    idle.ask("GET", "/health", &[], "");
    idle.reply().ok();
    let silent = server.connection();
    server.signal("-TERM");
    assert_eq!(server.end(), Some(0), "{:?}", server.lines());
    assert!(idle.is_closed());
    drop(silent);
}

/// The usual end of a program that does not listen: at once, by the signal.
#[test]
fn a_second_signal_ends_it_at_once() {
    let mut server = Server::demo(&["--drain", "10m"]);
    let mut stream =
        server.stream(json!({"prompt": vec!["MAREN:"; 16], "n": 16, "max_tokens": 16_384}));
    assert!(stream.next().is_some());
    server.signal("-TERM");
    server.line("running texts may end");
    server.signal("-TERM");
    let code = server.end();
    assert_ne!(code, Some(0), "{:?}", server.lines());
}
