//! Many clients at once, for a minute: not part of `cargo test`, as they take long and their figures need a quiet
//! machine.
//!
//!     cargo test --release --test main serve::load -- --ignored --nocapture --test-threads 1

use std::process::Command;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::serve::http::{Streamed, collect};
use crate::serve::{DEMO, Server, asked, texts, with};

/// Characters that are asked for.
const LENGTH: usize = 400;

impl Server {
    /// Resident memory in MB, at its highest so far; 0 where the system does not tell.
    pub fn peak_megabytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) / 1024
    }

    /// A text in events, when the first of them came, and how long all took.
    fn timed(&self, body: Value) -> (Streamed, Duration, Duration) {
        let (start, mut first) = (Instant::now(), None);
        let events = self.stream(body).inspect(|_| {
            first.get_or_insert_with(|| start.elapsed());
        });
        let (mut texts, _) = collect(events);
        (texts.swap_remove(0), first.expect("an event"), start.elapsed())
    }
}

/// One of several prompts.
fn one(seed: u64, length: usize) -> Value {
    let prompts = ["MAREN:\n", "The tide", "BRANNOCK:\nI thought ", ""];
    let prompt = prompts[seed as usize % prompts.len()];
    with(asked(prompt, length, seed), json!({"temperature": 0.8}))
}

fn percentile(sorted: &[Duration], share: f64) -> Duration {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

/// Clients that ask again and again for `time`: characters a second, and the times to the first event, sorted. Every
/// text must be the one that it is without company.
fn clients(
    server: &Server,
    count: usize,
    time: Duration,
    alone: &[String],
) -> (f64, Vec<Duration>) {
    let (start, next, characters) = (Instant::now(), AtomicU64::new(0), AtomicUsize::new(0));
    let client = || {
        let mut firsts = Vec::new();
        while start.elapsed() < time {
            let seed = next.fetch_add(1, Ordering::Relaxed) % alone.len() as u64;
            let (answer, first, _) = server.timed(one(seed, LENGTH));
            assert_eq!(answer.finish.as_deref(), Some("length"));
            assert_eq!(answer.text, alone[seed as usize], "seed {seed} is another in company");
            characters.fetch_add(answer.text.chars().count(), Ordering::Relaxed);
            firsts.push(first);
        }
        firsts
    };
    let mut firsts: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..count).map(|_| scope.spawn(client)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a client")).collect()
    });
    firsts.sort_unstable();
    (characters.into_inner() as f64 / start.elapsed().as_secs_f64(), firsts)
}

#[test]
#[ignore = "takes two minutes, and its figures need a quiet machine"]
fn many_clients_lose_nothing_and_gain_by_company() {
    let server = Server::demo(&[]);
    let alone: Vec<String> = (0..512).map(|seed| server.timed(one(seed, LENGTH)).0.text).collect();
    let measure = |count, seconds| {
        let (speed, firsts) = clients(&server, count, Duration::from_secs(seconds), &alone);
        println!(
            "{count} clients: {} answers, {speed:.0} characters a second, first event p50 {:.1?} p99 {:.1?}",
            firsts.len(),
            percentile(&firsts, 0.5),
            percentile(&firsts, 0.99)
        );
        speed
    };
    let (single, many) = (measure(1, 15), measure(256, 60));
    println!("{:.1} times; peak memory {} MB", many / single, server.peak_megabytes());
}

/// Every stream that has begun ends with a reason, and the program with 0.
#[cfg(unix)]
#[test]
#[ignore = "wants a quiet machine"]
fn a_server_that_is_told_to_stop_under_load_ends_every_stream() {
    let mut server = Server::demo(&["--drain", "2s"]);
    let streams: Vec<_> = (0..256)
        .map(|seed| {
            // Half of them are longer than the time that is left.
            let mut stream = server.stream(one(seed, if seed % 2 == 0 { LENGTH } else { 16_000 }));
            let first = stream.next().expect("an event");
            thread::spawn(move || collect(std::iter::once(first).chain(stream)))
        })
        .collect();
    server.signal("-TERM");
    let start = Instant::now();
    for stream in streams {
        // It was ended in order: `collect` holds it.
        stream.join().expect("a client");
    }
    let code = server.end();
    println!("256 streams, {:?} from SIGTERM to the end", start.elapsed());
    assert_eq!(code, Some(0));
}

/// One client's answer beside `chargru sample` of the same text.
#[test]
#[ignore = "its figures need a quiet machine"]
fn one_client_waits_as_long_as_for_sample() {
    const CHARACTERS: usize = 16_000;
    let server = Server::demo(&[]);
    let body = with(asked("MAREN:\n", CHARACTERS, 1), json!({"temperature": 0.8}));
    let sample = || {
        let start = Instant::now();
        let output = Command::new(env!("CARGO_BIN_EXE_chargru"))
            .args(["sample", "--checkpoint", DEMO, "--prompt", "MAREN:\n", "--no-prompt"])
            .args(["--seed", "1", "--length", &CHARACTERS.to_string()])
            .output()
            .expect("the program");
        (start.elapsed(), String::from_utf8(output.stdout).expect("text"))
    };
    let whole = || {
        let start = Instant::now();
        let answer = server.complete(body.clone()).ok();
        (start.elapsed(), texts(&answer).swap_remove(0))
    };
    let (mut samples, mut answers, mut streams) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..15 {
        let ((a, written), (b, answered)) = (sample(), whole());
        let (streamed, _, c) = server.timed(body.clone());
        assert_eq!(written.trim_end(), answered.trim_end());
        assert_eq!(streamed.text, answered);
        samples.push(a);
        answers.push(b);
        streams.push(c);
    }
    for times in [&mut samples, &mut answers, &mut streams] {
        times.sort_unstable();
    }
    println!(
        "{CHARACTERS} characters, medians: sample {:?}, server {:?}, server streaming {:?}",
        percentile(&samples, 0.5),
        percentile(&answers, 0.5),
        percentile(&streams, 0.5)
    );
}
