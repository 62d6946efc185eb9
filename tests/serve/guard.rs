//! Who may ask, and what every answer says of itself to browsers.

use crate::serve::{DEMO, JSON, Server, asked};
use crate::support::TestDir;

const KEY: &str = "correct-horse";

#[test]
fn only_names_of_this_machine_are_answered() {
    let server = Server::demo(&[]);
    let of_host = |host: &str| server.ask("GET", "/v1/models", &[("host", host)], "");
    let port = server.port;
    for host in ["localhost".to_string(), format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        of_host(&host).ok();
    }
    for host in ["evil.example", "localhost.evil.example", "192.168.0.1", "", "localhost, evil"] {
        let error = of_host(host).fails(403, None, &["localhost"]);
        assert_eq!(error["code"], "wrong_host", "{host}");
    }
    // The page, too: a name that was made to mean this machine gets nothing.
    assert_eq!(server.ask("GET", "/", &[("host", "evil.example")], "").status, 403);
    let mut connection = server.connection();
    connection.send("GET /v1/models HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n\r\n");
    assert_ne!(connection.reply().status, 200);
    let mut connection = server.connection();
    connection.send("GET http://evil.example/v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(connection.reply().status, 403);
}

#[test]
fn other_machines_are_not_served_without_a_key_or_an_explicit_word() {
    let dir = TestDir::new();
    let serve =
        |flags: &[&'static str]| [&["serve", "--port", "0", "--checkpoint", DEMO], flags].concat();
    let mut command = dir.command(&serve(&["--host", "0.0.0.0"]));
    command.env_remove("CHARGRU_API_KEY");
    let output = crate::support::Start::start_and_wait(&mut command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    for part in ["--host", "0.0.0.0", "--api-key", "--insecure"] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
    dir.fails(2, &serve(&["--api-key", "short"]), &["--api-key", "8"]);
    dir.fails(2, &serve(&["--cors", "example.org"]), &["--cors", "https://example.org"]);
    dir.fails(2, &serve(&["--rows", "0"]), &["--rows is 0", "from 1 to 4096"]);
    dir.fails(2, &serve(&["--host", "no name"]), &["--host is 'no name'"]);
    dir.fails(1, &["serve", "--port", "0", "--checkpoint", "none"], &["none"]);
}

#[test]
fn a_key_is_needed_for_all_but_the_page_and_its_health() {
    let dir = TestDir::new();
    let given = Server::demo(&["--api-key", KEY]);
    let mut command = dir.command(&["serve", "--port", "0", "--checkpoint", DEMO]);
    command.env("CHARGRU_API_KEY", KEY);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
    let environment = Server::of(crate::support::Start::start(&mut command));
    for server in [&given, &environment] {
        let of_key = |key: Option<&str>, path: &str| {
            let header: Vec<_> = key.map(|key| ("authorization", key)).into_iter().collect();
            server.ask("GET", path, &header, "")
        };
        for path in ["/v1/models", "/v1/models/demo", "/v1/completions", "/v1/none", "/metrics"] {
            let scheme = format!("bearer {KEY}");
            let longer = format!("Bearer {KEY}s");
            for key in [None, Some("Bearer wrong-horse"), Some(KEY), Some(&scheme), Some(&longer)] {
                let reply = of_key(key, path);
                let error = reply.fails(401, None, &["authorization: Bearer KEY"]);
                assert_eq!(error["code"], "invalid_api_key");
                assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
                assert!(!reply.body.contains(KEY), "{reply:?}");
            }
        }
        let right = format!("Bearer {KEY}");
        of_key(Some(&right), "/v1/models").ok();
        assert_eq!(of_key(Some(&right), "/metrics").status, 200);
        let body = asked("MAREN:", 1, 1).to_string();
        let headers = [JSON, ("authorization", right.as_str())];
        server.ask("POST", "/v1/completions", &headers, &body).ok();
        assert_eq!(server.ask("POST", "/v1/completions", &[JSON], &body).status, 401);
        for path in ["/", "/health", "/page/main.js"] {
            assert_eq!(of_key(None, path).status, 200, "{path}");
        }
        assert!(!server.lines().join("\n").contains(KEY), "the log shows the key");
    }
}

#[test]
fn pages_of_other_origins_may_ask_only_where_they_were_named() {
    const ORIGIN: (&str, &str) = ("origin", "http://localhost:3000");
    let preflight = [
        ORIGIN,
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type"),
    ];
    let closed = Server::demo(&[]);
    for path in ["/v1/completions", "/v1/models", "/"] {
        for reply in
            [closed.ask("OPTIONS", path, &preflight, ""), closed.ask("GET", path, &[ORIGIN], "")]
        {
            assert_eq!(reply.header("access-control-allow-origin"), None, "{reply:?}");
        }
    }
    let open =
        Server::demo(&["--cors", ORIGIN.1, "--cors", "https://example.org", "--api-key", KEY]);
    // A browser sends no key with this question.
    let reply = open.ask("OPTIONS", "/v1/completions", &preflight, "");
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("access-control-allow-origin"), Some(ORIGIN.1));
    assert!(reply.header("access-control-allow-methods").is_some_and(|all| all.contains("POST")));
    let headers = reply.header("access-control-allow-headers").expect("headers");
    assert!(headers.contains("authorization") && headers.contains("content-type"), "{headers}");
    assert_eq!(reply.header("access-control-allow-credentials"), None);
    // Also an error can be read by the page.
    let refused = open.ask("GET", "/v1/models", &[ORIGIN], "");
    assert_eq!(
        (refused.status, refused.header("access-control-allow-origin")),
        (401, Some(ORIGIN.1))
    );
    assert!(refused.header("vary").is_some_and(|vary| vary.contains("origin")), "{refused:?}");
    for other in ["http://localhost:3001", "https://localhost:3000", "null"] {
        let mut asks = preflight;
        asks[0].1 = other;
        let reply = open.ask("OPTIONS", "/v1/completions", &asks, "");
        assert_eq!(reply.header("access-control-allow-origin"), None, "{other}");
    }
}

#[test]
fn every_answer_has_the_headers_that_keep_a_browser_safe() {
    let server = Server::demo(&["--api-key", KEY]);
    let key = ("authorization", "Bearer correct-horse");
    let stream = r#"{"stream":true,"max_tokens":1}"#;
    for (method, path, headers, body, status) in [
        ("GET", "/", &[][..], "", 200),
        ("GET", "/page/main.js", &[], "", 200),
        ("GET", "/page/none.js", &[], "", 404),
        ("GET", "/health", &[], "", 200),
        ("GET", "/v1/models", &[], "", 401),
        ("GET", "/v1/models", &[key], "", 200),
        ("GET", "/v1/completions", &[key], "", 405),
        ("POST", "/v1/completions", &[key, JSON], "{", 400),
        ("POST", "/v1/completions", &[key, JSON], stream, 200),
        ("GET", "/health", &[("host", "evil.example")], "", 403),
    ] {
        let reply = server.ask(method, path, headers, body);
        assert_eq!(reply.status, status, "{method} {path}");
        for (name, part) in [
            ("content-security-policy", "default-src 'none'"),
            ("content-security-policy", "frame-ancestors 'none'"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cache-control", "no-"),
        ] {
            let value = reply.header(name).unwrap_or_else(|| panic!("{name} of {method} {path}"));
            assert!(value.contains(part), "{name}: {value}");
        }
        let kind = reply.header("content-type").expect("a type");
        let expected = match path {
            "/" => "text/html; charset=utf-8",
            "/page/main.js" => "text/javascript; charset=utf-8",
            _ if body == stream => "text/event-stream",
            _ => "application/json",
        };
        assert_eq!(kind, expected, "{method} {path}");
    }
}
