//! The log: a line a request, and no prompt in it unless asked.

use serde_json::json;

use crate::serve::http::collect;
use crate::serve::{Server, asked, wait_until, with};
use crate::support::json as parse;

/// No word of the program or of its messages.
const PROMPT: &str = "BREN:\nQuizling";

/// The line of a request comes when the last byte was given, which may be after the client has it.
#[test]
fn prompts_are_in_the_log_only_when_it_is_asked_to() {
    for (flags, shown) in [(&["--log-prompts"][..], true), (&[], false)] {
        for format in ["text", "json"] {
            let server = Server::demo(&[flags, &["--log", format]].concat());
            server.complete(asked(PROMPT, 5, 1)).ok();
            let fields = json!({"prompt": [PROMPT, "x"], "max_tokens": 100_000});
            server.complete(fields).fails(400, Some("max_tokens"), &[]);
            server.post("/v1/score", &json!({"text": PROMPT})).ok();
            server.ask("GET", "/Quizling?Quizling=1", &[("x-quizling", "Quizling")], "").fails(
                404,
                None,
                &[],
            );
            let line = server.line("other");
            assert!(line.contains("404"), "{line}");
            server.line("/v1/score");
            assert_eq!(
                server.lines().join("\n").contains("Quizling"),
                shown,
                "{:?}",
                server.lines()
            );
        }
    }
}

#[test]
fn a_line_of_json_says_what_was_asked_and_how_long_it_took() {
    let server = Server::demo(&["--log", "json", "--log-prompts"]);
    server.complete(asked(PROMPT, 50, 1)).ok();
    let line = parse(&server.line("/v1/completions"));
    assert_eq!(line["path"], "/v1/completions");
    assert_eq!(line["status"], 200);
    assert_eq!((&line["model"], &line["characters"]), (&json!("demo"), &json!(50)));
    assert_eq!(line["prompt"], PROMPT);
    assert!(line["ms"].as_f64().is_some_and(|ms| ms > 0.0), "{line}");
    assert!(line["timestamp"].is_string() && line["level"] == "INFO", "{line}");
    // Only of a stream, the rest of which takes longer.
    assert!(line["first_ms"].is_null(), "{line}");
    let _ = collect(server.stream(asked(PROMPT, 2_000, 1)));
    let line = parse(&server.line("\"characters\":2000"));
    assert!(line["first_ms"].as_f64() < line["ms"].as_f64(), "{line}");
    server.complete(json!({"n": 0})).fails(400, Some("n"), &[]);
    let line = parse(&server.line("400"));
    assert!(line["characters"].is_null() && line["model"].is_null(), "{line}");
    // Also what it says when it begins.
    assert!(server.lines().iter().map(|line| parse(line)).all(|line| line.is_object()));
}

/// Whatever a prompt holds, a request is one line.
#[test]
fn a_prompt_makes_no_line_and_commands_no_terminal() {
    let server = Server::demo(&["--log-prompts"]);
    let text = "A\nB \u{1b}[31mred\r\n2026 INFO forged";
    let body = json!({"prompt": text, "max_tokens": 1});
    assert_eq!(server.complete(body).status, 400);
    server.complete(with(asked("A\nB\n2026 INFO forged", 1, 1), json!({"prompt": "A\nB"}))).ok();
    server.line("200");
    let lines = server.lines();
    let from = lines.iter().position(|line| line.contains("listening")).expect("a line") + 1;
    for line in &lines[from..] {
        assert!(line.contains("INFO request path="), "{line:?}");
        assert!(!line.contains('\u{1b}'), "{line:?}");
    }
}

#[test]
fn metrics_count_what_was_asked_and_written() {
    let server = Server::demo(&[]);
    for _ in 0..3 {
        server.complete(asked("MAREN:", 40, 1)).ok();
    }
    server.complete(json!({"n": 0})).fails(400, Some("n"), &[]);
    server.get("/v1/secret/Quizling").fails(404, None, &[]);
    // Counted when the last byte was given.
    let expected = [
        "chargru_requests_total{path=\"/v1/completions\",status=\"200\"} 3",
        "chargru_requests_total{path=\"/v1/completions\",status=\"400\"} 1",
        "chargru_requests_total{path=\"other\",status=\"404\"} 1",
        "chargru_characters_total{model=\"demo\"} 120",
        "chargru_rows{model=\"demo\"} 0",
        "chargru_waiting{model=\"demo\"} 0",
    ];
    wait_until("what was counted", || {
        let reply = server.get("/metrics");
        let kind = reply.header("content-type").expect("a type");
        assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
        assert!(reply.body.ends_with("# EOF\n") && !reply.body.contains("Quizling"));
        expected.iter().all(|line| reply.body.lines().any(|found| found == *line))
    });
}
