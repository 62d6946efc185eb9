//! `chargru serve`: the program, asked over sockets.

mod analysis;
mod bounds;
mod completions;
mod guard;
mod hostile;
mod http;
mod load;
mod log;
mod readers;
#[cfg(unix)]
mod shutdown;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::serve::http::{Connection, Events, Reply};
use crate::support::{Start, TestDir};

/// The checkpoint that ships with the program.
const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/checkpoints/demo");
const JSON: (&str, &str) = ("content-type", "application/json");
const LISTENING: &str = "listening on http://127.0.0.1:";
/// What does not happen for so long on a busy machine will not.
const LONG: Duration = Duration::from_secs(120);

/// The lines of a log; None at its end.
#[derive(Default)]
struct Log {
    lines: Mutex<(Vec<String>, bool)>,
    more: Condvar,
}

impl Log {
    /// Waits for a line with this part.
    fn find(&self, part: &str) -> Option<String> {
        let lines = self.lines.lock().expect("no thread has panicked");
        let is_there = |lines: &(Vec<String>, bool)| lines.0.iter().any(|line| line.contains(part));
        let waits = |lines: &mut (Vec<String>, bool)| !lines.1 && !is_there(lines);
        let (lines, time) =
            self.more.wait_timeout_while(lines, LONG, waits).expect("no thread has panicked");
        assert!(!time.timed_out(), "{part:?} did not come: {:?}", lines.0);
        lines.0.iter().find(|line| line.contains(part)).cloned()
    }
}

/// A server that is running; dropping it ends it.
struct Server {
    child: Child,
    log: Arc<Log>,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !std::thread::panicking() {
            let has_panicked =
                |lines: &[String]| lines.iter().any(|line| line.contains("panicked at"));
            assert!(!has_panicked(&self.lines()), "{:?}", self.lines());
        }
    }
}

impl Server {
    /// The demo's, with these flags.
    fn demo(flags: &[&str]) -> Self {
        Self::start(&TestDir::new(), &[&["--checkpoint", DEMO], flags].concat())
    }

    /// One started in this folder.
    fn start(dir: &TestDir, flags: &[&str]) -> Self {
        let mut command = dir.command(&[&["serve", "--port", "0"], flags].concat());
        command.env_remove("CHARGRU_API_KEY").stdout(Stdio::null()).stderr(Stdio::piped());
        Self::of(command.start())
    }

    fn of(mut child: Child) -> Self {
        let stderr = child.stderr.take().expect("a pipe");
        let log = Arc::new(Log::default());
        let lines = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let Ok(line) = line else { break };
                lines.lines.lock().expect("no thread has panicked").0.push(line);
                lines.more.notify_all();
            }
            lines.lines.lock().expect("no thread has panicked").1 = true;
            lines.more.notify_all();
        });
        let mut server = Self { child, log, port: 0 };
        let line = server.line(LISTENING);
        let rest = line.split(LISTENING).nth(1).and_then(|rest| rest.split(' ').next());
        server.port = rest.and_then(|port| port.parse().ok()).expect("a port");
        server
    }

    /// Waits for a line of the log with this part.
    fn line(&self, part: &str) -> String {
        self.log.find(part).unwrap_or_else(|| panic!("no {part:?} in {:?}", self.lines()))
    }

    /// The lines of the log by now.
    fn lines(&self) -> Vec<String> {
        self.log.lines.lock().expect("no thread has panicked").0.clone()
    }

    fn connection(&self) -> Connection {
        Connection::open(self.port).expect("the server listens")
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut connection = self.connection();
        connection.ask(method, path, headers, body);
        connection.reply()
    }

    fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], "")
    }

    fn post(&self, path: &str, body: &Value) -> Reply {
        self.ask("POST", path, &[JSON], &body.to_string())
    }

    /// Asks for a completion.
    fn complete(&self, body: Value) -> Reply {
        self.post("/v1/completions", &body)
    }

    /// Asks for a completion in events.
    fn stream(&self, body: Value) -> Events {
        Self::stream_on(self.connection(), body)
    }

    /// Asks for events that are not read at once.
    fn unread_stream(&self, body: Value) -> Events {
        Self::stream_on(Connection::narrow(self.port).expect("the server listens"), body)
    }

    fn stream_on(mut connection: Connection, mut body: Value) -> Events {
        body["stream"] = true.into();
        connection.ask("POST", "/v1/completions", &[JSON], &body.to_string());
        connection.events()
    }

    /// A gauge, of all models together.
    fn gauge(&self, name: &str) -> usize {
        let metrics = self.get("/metrics").body;
        let lines = metrics.lines().filter(|line| line.starts_with(&format!("chargru_{name}{{")));
        let of_model = |line: &str| line.split("} ").nth(1)?.parse::<usize>().ok();
        lines.map(|line| of_model(line).expect("a number")).sum()
    }

    /// Texts that are being written.
    fn rows(&self) -> usize {
        self.gauge("rows")
    }

    fn wait_for_rows(&self, rows: usize) {
        wait_until(&format!("{rows} rows"), || self.rows() == rows);
    }

    /// Waits until so many requests wait for a row.
    fn wait_for_waiting(&self, requests: usize) {
        wait_until(&format!("{requests} that wait"), || self.gauge("waiting") == requests);
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LONG, "{what} did not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The texts of an answer.
fn texts(answer: &Value) -> Vec<String> {
    let choices = answer["choices"].as_array().expect("choices");
    choices.iter().map(|choice| choice["text"].as_str().expect("a text").to_string()).collect()
}

/// So many characters after a prompt.
fn asked(prompt: &str, max_tokens: usize, seed: u64) -> Value {
    json!({"prompt": prompt, "max_tokens": max_tokens, "seed": seed})
}

/// `body` with these fields too.
fn with(mut body: Value, more: Value) -> Value {
    for (name, value) in more.as_object().expect("fields") {
        body[name] = value.clone();
    }
    body
}
