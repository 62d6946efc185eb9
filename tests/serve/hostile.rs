//! What a server must bear of those who mean it no good. Not part of `cargo test`, as it takes minutes.
//!
//!     cargo test --release --test main serve::hostile -- --ignored --nocapture

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::serve::http::collect;
use crate::serve::{Server, asked, with};

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    stream
}

/// What a hostile client sends: a request taken apart at random.
fn malformed(random: &mut impl FnMut(usize) -> usize) -> Vec<u8> {
    let numbers = [
        "1e999",
        "-1",
        "99999999999999999999",
        "NaN",
        "1.5",
        "null",
        "\"x\"",
        "[]",
        "{}",
        "1e-400",
    ];
    let fields = [
        "max_tokens",
        "temperature",
        "top_p",
        "n",
        "logprobs",
        "seed",
        "stop",
        "prompt",
        "logit_bias",
        "min_p",
    ];
    let mut body = match random(8) {
        0 => "[".repeat(random(100_000)),
        1 => format!("{{\"prompt\":{}", "[".repeat(random(300))),
        2 => format!("{{\"{}\":{}}}", fields[random(fields.len())], numbers[random(numbers.len())]),
        3 => format!("{{\"prompt\":\"{}\"}}", "MAREN:".repeat(random(3_000))),
        4 => format!("{{\"prompt\":\"a\",\"stop\":[{}\"a\"]}}", "\"b\",".repeat(random(40))),
        5 => format!(
            "{{\"logit_bias\":{{\"{}\":{}}}}}",
            random(1_000),
            numbers[random(numbers.len())]
        ),
        6 => format!("{{\"prompt\":\"\\ud800 \\u0000 {}\"}}", random(9)),
        _ => json!({"prompt": "MAREN:\n", "max_tokens": random(6), "stream": random(2) == 0})
            .to_string(),
    }
    .into_bytes();
    if random(3) == 0 && !body.is_empty() {
        for _ in 0..=random(8) {
            let at = random(body.len());
            body[at] = random(256) as u8;
        }
    }
    let paths = [
        "/v1/completions",
        "/v1/score",
        "/v1/inspect",
        "/v1/fill",
        "/v1/models",
        "/",
        "/%ff",
        "/v1/models/%00",
    ];
    let methods = ["GET", "PUT", "OPTIONS", "P\u{f6}ST", "HEAD", "DELETE", "POST"];
    let kinds = ["text/plain", "", "application/json; charset=utf-8", "application/json"];
    let length = match random(18) {
        0 => "99999999999999999999".to_string(),
        1 => "-5".to_string(),
        2 => random(1 << 22).to_string(),
        _ => body.len().to_string(),
    };
    let host = ["evil.example", "a b", "localhost", "127.0.0.1:1"][random(20).min(3)];
    let mut bytes = format!(
        "{} {} HTTP/1.{}\r\nhost: {host}\r\ncontent-type: {}\r\ncontent-length: {length}\r\n",
        methods[random(40).min(methods.len() - 1)],
        paths[random(paths.len())],
        [2, 0, 1][random(20).min(2)],
        kinds[random(20).min(kinds.len() - 1)]
    )
    .into_bytes();
    match random(30) {
        0 => bytes.extend(format!("x: {}\r\n", "y".repeat(random(200_000))).into_bytes()),
        1 => bytes.extend(b"transfer-encoding: chunked\r\n"),
        2 => bytes.extend([b'z', random(256) as u8, b'\r', b'\n']),
        3 => bytes.extend("a: b\r\n".repeat(random(400)).into_bytes()),
        _ => {}
    }
    bytes.extend(b"\r\n");
    bytes.extend(&body);
    if random(20) == 0 {
        bytes.truncate(random(bytes.len()));
    }
    bytes
}

/// A client that sends a byte at a time and is never done, or one that reads nothing of a long answer.
fn slow(port: u16, reads_nothing: bool, over: &AtomicBool) {
    let body = with(asked("MAREN:", 16_000, 1), json!({"stream": true})).to_string();
    let head =
        "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes();
    while !over.load(Ordering::Relaxed) {
        let mut connection = connect(port);
        if reads_nothing {
            let _ = connection.write_all(&request);
            thread::sleep(Duration::from_secs(2));
            continue;
        }
        for byte in &request[..request.len() - 1] {
            if over.load(Ordering::Relaxed) || connection.write_all(&[*byte]).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Sends malformed requests while some are left, and counts the answers by their status.
fn hostile(port: u16, seed: u64, left: &AtomicUsize) -> BTreeMap<String, usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut random = |below: usize| rng.random_range(0..below.max(1));
    let mut codes = BTreeMap::new();
    let take_one = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
    while take_one().is_ok() {
        let mut connection = connect(port);
        let _ = connection.write_all(&malformed(&mut random));
        // Half-closed, or closed unread.
        let reads = random(20) != 0;
        let _ = connection.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        if reads {
            let _ = connection.read_to_end(&mut answer);
        }
        let code = String::from_utf8_lossy(answer.get(9..12).unwrap_or(b"-")).into_owned();
        let is_fault = code.starts_with("50") && code != "503";
        assert!(!is_fault, "{}", String::from_utf8_lossy(&answer));
        *codes.entry(code).or_default() += 1;
    }
    codes
}

/// 100,000 malformed requests: no panic, no hang, no 500, no growing memory.
#[test]
#[ignore = "takes minutes"]
fn a_hundred_thousand_malformed_requests_do_no_harm() {
    let mut server = Server::demo(&[]);
    let port = server.port;
    let text = || collect(server.stream(asked("MAREN:", 400, 7))).0;
    let before = text();
    let first_peak = server.peak_megabytes();
    let (left, over) = (AtomicUsize::new(100_000), AtomicBool::new(false));
    let mut codes = BTreeMap::<String, usize>::new();
    thread::scope(|scope| {
        for index in 0..32 {
            let over = &over;
            scope.spawn(move || slow(port, index % 2 == 0, over));
        }
        let workers: Vec<_> = (0..16)
            .map(|seed| {
                let left = &left;
                scope.spawn(move || hostile(port, seed, left))
            })
            .collect();
        let counts: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        over.store(true, Ordering::Relaxed);
        for (code, count) in counts.into_iter().flat_map(|counts| counts.expect("a client")) {
            *codes.entry(code).or_default() += count;
        }
    });
    let peak = server.peak_megabytes();
    println!("answers by status: {codes:?}; peak memory {first_peak} MB before, {peak} MB after");
    assert_eq!(text(), before);
    assert!(server.child.try_wait().expect("a process").is_none(), "the server ended");
    assert!(peak < 4 * first_peak + 100, "{peak} MB");
}
