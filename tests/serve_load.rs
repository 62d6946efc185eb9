//! Many clients at once, for a minute, and what a server must bear: not part of `cargo test`, as they take long and
//! their figures need a quiet machine.
//!
//!     cargo test --release --test main serve_load -- --ignored --nocapture --test-threads 1

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A server of the demo on a free port.
pub struct Served {
    pub child: Child,
    pub port: u16,
    /// Whether its log tells of a panic.
    panicked: Arc<AtomicBool>,
}

impl Served {
    pub fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_chargru"))
            .args(["serve", "--port", "0", "--checkpoint", "checkpoints/demo"])
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program");
        let mut log = BufReader::new(child.stderr.take().expect("its log"));
        let port = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).expect("a line") > 0, "the server ended");
            if let Some(rest) = line.trim().strip_prefix("listening on http://127.0.0.1:") {
                break rest.split(' ').next().expect("a port").parse().expect("a number");
            }
        };
        let panicked = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&panicked);
        // What it goes on to say is read, so that it never waits for a reader.
        thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                if line.contains("panicked") {
                    println!("{line}");
                    seen.store(true, Ordering::Relaxed);
                }
            }
        });
        Self { child, port, panicked }
    }

    /// Resident memory in MB, at its highest so far.
    pub fn peak_megabytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) / 1024
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !thread::panicking() {
            assert!(!self.panicked.load(Ordering::Relaxed), "the server panicked");
        }
    }
}

pub fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    stream.set_nodelay(true).expect("no delay");
    stream
}

pub fn request(body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let length = body.len();
    let head =
        "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    format!("{head}content-length: {length}\r\nconnection: close\r\n\r\n{body}").into_bytes()
}

/// A streamed completion: its text, its finish reasons, and when the first character came.
pub struct Streamed {
    pub text: String,
    finish: Option<String>,
    done: bool,
    first: Duration,
    took: Duration,
}

pub fn stream(port: u16, body: &Value) -> Streamed {
    let start = Instant::now();
    let mut connection = connect(port);
    connection.write_all(&request(body)).expect("written");
    let mut answer = Streamed {
        text: String::new(),
        finish: None,
        done: false,
        first: Duration::ZERO,
        took: Duration::ZERO,
    };
    for line in BufReader::new(connection).lines() {
        let line = line.expect("a line");
        let Some(data) = line.strip_prefix("data: ") else {
            assert!(!line.starts_with("HTTP/1.1") || line.contains(" 200 "), "{line}");
            continue;
        };
        if data == "[DONE]" {
            answer.done = true;
            continue;
        }
        let event: Value = serde_json::from_str(data).expect("JSON");
        let choice = &event["choices"][0];
        let text = choice["text"].as_str().expect("a text");
        if answer.text.is_empty() && !text.is_empty() {
            answer.first = start.elapsed();
        }
        answer.text.push_str(text);
        answer.finish = choice["finish_reason"].as_str().map(String::from).or(answer.finish);
    }
    answer.took = start.elapsed();
    answer
}

pub fn asked(seed: usize, length: usize) -> Value {
    let prompts = ["MAREN:\n", "The tide", "BRANNOCK:\nI thought ", ""];
    json!({
        "prompt": prompts[seed % prompts.len()], "max_tokens": length, "seed": seed,
        "temperature": 0.8, "stream": true,
    })
}

fn percentile(sorted: &[Duration], share: f64) -> Duration {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

/// Clients that ask again and again for `time`; characters a second, and the times to the first character.
fn clients(
    port: u16,
    count: usize,
    time: Duration,
    alone: &Arc<Vec<String>>,
) -> (f64, Vec<Duration>, usize) {
    let (start, next) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let workers: Vec<_> = (0..count)
        .map(|_| {
            let (alone, next) = (Arc::clone(alone), Arc::clone(&next));
            thread::spawn(move || {
                let (mut characters, mut firsts) = (0, Vec::new());
                while start.elapsed() < time {
                    let seed = next.fetch_add(1, Ordering::Relaxed) % alone.len();
                    let answer = stream(port, &asked(seed, LENGTH));
                    assert!(answer.done && answer.finish.as_deref() == Some("length"));
                    assert_eq!(answer.text, alone[seed], "seed {seed} is not the same in company");
                    characters += answer.text.chars().count();
                    firsts.push(answer.first);
                }
                (characters, firsts)
            })
        })
        .collect();
    let (mut characters, mut firsts) = (0, Vec::new());
    for worker in workers {
        let (own, times) = worker.join().expect("a client");
        characters += own;
        firsts.extend(times);
    }
    firsts.sort_unstable();
    let answers = firsts.len();
    (characters as f64 / start.elapsed().as_secs_f64(), firsts, answers)
}

pub const LENGTH: usize = 400;

#[test]
#[ignore = "takes two minutes, and its figures need a quiet machine"]
fn many_clients_lose_nothing_and_gain_by_company() {
    let served = Served::start(&[]);
    let port = served.port;
    let seeds = 0..512;
    let alone: Vec<String> = seeds.map(|seed| stream(port, &asked(seed, LENGTH)).text).collect();
    let alone = Arc::new(alone);
    let (single, firsts, answers) = clients(port, 1, Duration::from_secs(15), &alone);
    println!(
        "1 client: {answers} answers, {single:.0} characters a second, first character p50 {:.1?} p99 {:.1?}",
        percentile(&firsts, 0.5),
        percentile(&firsts, 0.99)
    );
    let (many, firsts, answers) = clients(port, 256, Duration::from_secs(60), &alone);
    println!(
        "256 clients: {answers} answers, {many:.0} characters a second ({:.1} times), first character p50 {:.1?} p99 \
         {:.1?}; peak memory {} MB",
        many / single,
        percentile(&firsts, 0.5),
        percentile(&firsts, 0.99),
        served.peak_megabytes()
    );
}

/// Every stream that has begun ends with a reason, and the program with 0.
#[cfg(unix)]
#[test]
#[ignore = "wants a quiet machine"]
fn a_server_that_is_told_to_stop_under_load_ends_every_stream() {
    let mut served = Served::start(&["--drain", "2s"]);
    let port = served.port;
    let begun = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..256)
        .map(|seed| {
            let begun = Arc::clone(&begun);
            thread::spawn(move || {
                // Half of them are longer than the time that is left.
                let body = asked(seed, if seed % 2 == 0 { 400 } else { 16_000 });
                let mut connection = connect(port);
                connection.write_all(&request(&body)).expect("written");
                let (mut lines, mut counted) = (Vec::new(), false);
                for line in BufReader::new(connection).lines().map_while(Result::ok) {
                    if line.starts_with("data: {") && !counted {
                        counted = true;
                        begun.fetch_add(1, Ordering::Relaxed);
                    }
                    lines.push(line);
                }
                let reasons = ["\"finish_reason\":\"length\"", "\"finish_reason\":\"stop\""];
                let finished = lines.iter().any(|line| reasons.iter().any(|r| line.contains(r)));
                let done = lines.iter().any(|line| line == "data: [DONE]");
                (counted, finished && done)
            })
        })
        .collect();
    while begun.load(Ordering::Relaxed) < 256 {
        thread::sleep(Duration::from_millis(5));
    }
    let id = i32::try_from(served.child.id()).expect("a process");
    let status = Command::new("kill").args(["-TERM", &id.to_string()]).status().expect("kill");
    assert!(status.success());
    let start = Instant::now();
    let ends: Vec<_> = clients.into_iter().map(|client| client.join().expect("a client")).collect();
    let code = served.child.wait().expect("it ends");
    println!("256 streams, {:?} from SIGTERM to the end, {code}", start.elapsed());
    assert!(ends.iter().all(|(begun, ended)| *begun && *ended));
    assert_eq!(code.code(), Some(0));
}

/// One client's answer beside `chargru sample` of the same text.
#[test]
#[ignore = "its figures need a quiet machine"]
fn one_client_waits_as_long_as_for_sample() {
    let served = Served::start(&[]);
    let length = 16_000;
    let body = json!({
        "prompt": "MAREN:\n", "max_tokens": length, "seed": 1, "temperature": 0.8,
    });
    let sample = || {
        let start = Instant::now();
        let output = Command::new(env!("CARGO_BIN_EXE_chargru"))
            .args([
                "sample",
                "--checkpoint",
                "checkpoints/demo",
                "--prompt",
                "MAREN:\n",
                "--seed",
                "1",
            ])
            .args(["--length", &length.to_string(), "--no-prompt"])
            .output()
            .expect("the program");
        (start.elapsed(), String::from_utf8(output.stdout).expect("text"))
    };
    let server = || {
        let start = Instant::now();
        let mut connection = connect(served.port);
        connection.write_all(&request(&body)).expect("written");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("an answer");
        let took = start.elapsed();
        let json = answer.split("\r\n\r\n").nth(1).expect("a body");
        let json: Value = serde_json::from_str(json).expect("JSON");
        (took, json["choices"][0]["text"].as_str().expect("a text").to_string())
    };
    let streamed = || {
        stream(served.port, &{
            let mut body = body.clone();
            body["stream"] = true.into();
            body
        })
    };
    let (mut samples, mut answers, mut streams) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..15 {
        let ((a, written), (b, answered), events) = (sample(), server(), streamed());
        assert_eq!(written.trim_end(), answered.trim_end());
        assert_eq!(events.text, answered);
        samples.push(a);
        answers.push(b);
        streams.push(events.took);
    }
    for times in [&mut samples, &mut answers, &mut streams] {
        times.sort_unstable();
    }
    println!(
        "{length} characters, medians: sample {:?}, server {:?}, server streaming {:?}",
        percentile(&samples, 0.5),
        percentile(&answers, 0.5),
        percentile(&streams, 0.5)
    );
}
