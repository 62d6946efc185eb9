//! The log and the terminal: what happens when they go away, and what may not reach them.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::support::{Start, TIDE, TestDir, json};

/// The arguments of a small training on tide.txt.
const TINY: &str = "--corpus tide.txt --hidden 16 --embedding 8 --layers 1 --batch 4 --seq-len 16";

fn train(out: &str, more: &'static str) -> Vec<String> {
    let words = TINY.split(' ').chain(more.split(' ')).map(ToString::to_string);
    ["train".into(), "--out".into(), out.into()].into_iter().chain(words).collect()
}

fn spawn(dir: &TestDir, args: &[String], stderr: Stdio) -> Child {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    dir.command(&args).stdout(Stdio::null()).stderr(stderr).start()
}

/// Steps of the run's last checkpoint.
fn last_step(dir: &TestDir, run: &str) -> u64 {
    let last = format!("{run}/last");
    json(&dir.ok(&["info", "--json", "--checkpoint", &last]))["progress"]["step"]
        .as_u64()
        .expect("a step")
}

#[cfg(unix)]
fn wait_for(path: &Path) {
    let begun = std::time::Instant::now();
    while !path.exists() {
        assert!(begun.elapsed() < Duration::from_secs(120), "{path:?} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// `chargru train … 2>&1 >/dev/null | head -1` panicked at the second line of the log.
#[test]
fn a_log_whose_reader_has_gone_does_not_end_a_training() {
    let dir = TestDir::new();
    dir.file("tide.txt", TIDE.repeat(60));
    let args = train("run", "--steps 4000 --eval-every 25");
    let mut child = spawn(&dir, &args, Stdio::piped());
    let mut log = child.stderr.take().expect("stderr");
    log.read_exact(&mut [0; 10]).expect("a line of the log");
    drop(log);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert_eq!(last_step(&dir, "run"), 4000);
}

#[test]
fn a_log_whose_reader_has_gone_does_not_end_a_sample() {
    let dir = TestDir::new();
    dir.train_tiny("run", &[]);
    let args = ["sample", "--checkpoint", "run", "--length", "50"];
    let mut command = dir.command(&args);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = command.stderr(writer).start_and_wait();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.len() >= 50, "{output:?}");
}

/// The product goes nowhere, but the training is kept.
#[test]
fn a_closed_stdout_takes_nothing_from_a_training() {
    let dir = TestDir::new();
    dir.file("tide.txt", TIDE.repeat(60));
    let args = train("run", "--steps 60");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = dir.command(&args).stdout(writer).start_and_wait();
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(log.contains("the checkpoint is run"), "{log}");
    assert_eq!(last_step(&dir, "run"), 60);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_stdout_is_an_error_and_no_panic() {
    let dir = TestDir::new();
    dir.train_tiny("run", &[]);
    for args in [&["sample", "--checkpoint", "run", "--length", "5"][..], &["train", "--help"]] {
        let full = fs::File::create("/dev/full").expect("/dev/full");
        let output = dir.command(args).stdout(full).start_and_wait();
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {log}");
        assert!(!log.contains("panicked"), "{log}");
    }
}

#[cfg(unix)]
fn hang_up(child: &Child) {
    let sent = std::process::Command::new("kill")
        .args(["-HUP", &child.id().to_string()])
        .status()
        .expect("kill runs");
    assert!(sent.success());
}

/// Before, SIGHUP ended the process with `last` at step 0. It is sent twice, as by a terminal.
#[cfg(unix)]
#[test]
fn a_hang_up_saves_and_can_be_resumed() {
    let dir = TestDir::new();
    dir.file("tide.txt", TIDE.repeat(60));
    let args = train("run", "--time-limit 100s --eval-every 25");
    let mut child = spawn(&dir, &args, Stdio::null());
    wait_for(&dir.path("run/metrics.jsonl"));
    hang_up(&child);
    hang_up(&child);
    assert_eq!(child.wait().expect("it ends").code(), Some(128 + 1));
    let step = last_step(&dir, "run");
    assert!(step >= 25, "{step}");
    let goal = (step + 3).to_string();
    dir.ok(&["train", "--resume", "run", "--steps", &goal]);
}

#[cfg(unix)]
#[test]
fn a_hang_up_that_nohup_ignores_stays_ignored() {
    let dir = TestDir::new();
    dir.file("tide.txt", TIDE.repeat(60));
    let args = train("run", "--steps 300 --eval-every 25");
    let mut child = std::process::Command::new("sh")
        // sh becomes the program, so that the signal is sent to it.
        .args(["-c", "trap '' HUP; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_chargru")])
        .args(&args)
        .current_dir(dir.path("."))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh starts");
    wait_for(&dir.path("run/metrics.jsonl"));
    hang_up(&child);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert_eq!(last_step(&dir, "run"), 300);
}

/// Runs a line of the shell in a terminal of its own, by util-linux's `script`; None where that is
/// missing. The terminal closes when the process is killed. What it showed is in the file `shown`.
#[cfg(unix)]
fn in_a_terminal(dir: &TestDir, line: &str) -> Option<Child> {
    let version = std::process::Command::new("script").arg("--version").output();
    if !version.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains("util-linux")) {
        eprintln!("skipped: no `script` of util-linux here");
        return None;
    }
    let child = std::process::Command::new("script")
        .args(["-qec", line, "shown"])
        .current_dir(dir.path("."))
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    Some(child.expect("script starts"))
}

/// With a bar on the terminal that closes: the kernel sends SIGHUP, and stderr is an error from then on.
#[cfg(unix)]
#[test]
fn a_terminal_that_closes_does_not_lose_the_training() {
    let program = env!("CARGO_BIN_EXE_chargru");
    // The system tells the shell, and an interactive shell tells the program; nohup's does not hear it.
    let told = "trap 'kill -HUP $!' HUP; PROGRAM & wait $!; wait $!";
    let deaf = "trap '' HUP; PROGRAM";
    for (shell, end, code) in [(told, "--time-limit 100s", "129"), (deaf, "--steps 1000", "0")] {
        let dir = TestDir::new();
        dir.file("tide.txt", TIDE.repeat(60));
        let run = format!("{program} train --out run {TINY} {end} --eval-every 25");
        let line = shell.replace("PROGRAM", &run) + "; echo $? > code.new; mv code.new code";
        let Some(mut terminal) = in_a_terminal(&dir, &line) else { return };
        wait_for(&dir.path("run/metrics.jsonl"));
        terminal.kill().expect("SIGKILL is sent");
        terminal.wait().expect("script ends");
        wait_for(&dir.path("code"));
        assert_eq!(fs::read_to_string(dir.path("code")).expect("a code").trim(), code);
        let step = last_step(&dir, "run");
        assert!(if code == "0" { step == 1000 } else { step >= 25 }, "{code}: {step}");
    }
}

/// A model of a text with ESC in it; in a pipe its text is as it is.
#[cfg(unix)]
#[test]
fn generated_control_characters_do_not_command_a_terminal() {
    let dir = TestDir::new();
    dir.file("tide.txt", "\u{1b}\u{9b}\u{7f}".repeat(400));
    let run = dir.train_tiny("run", &["--steps", "3", "--sample-every", "2"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stderr.contains("\\u{9b}"), "the log shows them: {run:?}");
    assert!(!run.stderr.contains(['\u{1b}', '\u{9b}', '\u{7f}']), "{run:?}");
    assert!(run.stdout.contains(['\u{1b}', '\u{9b}', '\u{7f}']), "a pipe gets them: {run:?}");
    let sample = ["sample", "--checkpoint", "run", "--length", "60"];
    assert!(dir.ok(&sample).contains('\u{9b}'));
    let objects = dir.ok(&[&sample[..], &["--json"]].concat());
    assert!(!objects.contains(['\u{1b}', '\u{9b}', '\u{7f}']), "{objects:?}");
    assert!(json(&objects)["text"].as_str().expect("a text").contains('\u{9b}'));

    let line = format!("{} {} 2>log", env!("CARGO_BIN_EXE_chargru"), sample.join(" "));
    let Some(mut terminal) = in_a_terminal(&dir, &line) else { return };
    assert!(terminal.wait().expect("script ends").success());
    let shown = fs::read_to_string(dir.path("shown")).expect("what the terminal showed");
    assert!(shown.contains("\\u{9b}"), "{shown:?}");
    assert!(!shown.contains(['\u{1b}', '\u{9b}', '\u{7f}']), "{shown:?}");
}

#[test]
fn control_characters_of_a_checkpoint_or_a_path_do_not_command_a_terminal() {
    let dir = TestDir::new();
    dir.train_tiny("run", &[]);
    let config = fs::read_to_string(dir.path("run/best/config.json")).expect("config.json");
    let nasty = r#""name": "\u001b[31mred\u202e\nmodel""#;
    let config = config.replace(r#""name": "tide""#, nasty);
    let config = config.replace("tide.txt\"", "tide\\u009b.txt\"");
    assert!(config.contains(nasty) && config.contains("u009b"));
    dir.file("run/best/config.json", config);
    let bad = ['\u{1b}', '\u{9b}', '\u{202e}'];
    let info = dir.run(&["info", "--checkpoint", "run"]);
    assert_eq!(info.code, Some(0), "{info:?}");
    for text in [&info.stdout, &info.stderr] {
        assert!(text.contains(r"\u{1b}[31mred\u{202e}\nmodel"), "{text:?}");
        assert!(!text.contains(bad), "{text:?}");
    }
    for args in [
        &["info", "--checkpoint", "no\u{1b}\u{202e}\nwhere"][..],
        &["eval", "--checkpoint", "run"],
        &["train", "--resume", "no\u{1b}\u{202e}\nwhere"],
        &["train", "no\u{1b}\u{202e}\nwhere"],
        &["train", "--config", "no\u{1b}\u{202e}"],
        &["train", "--no\u{1b}", "--ok\u{202e}"],
        &["score", "--checkpoint", "run", "no\u{1b}\u{202e}\nwhere"],
    ] {
        let run = dir.run(args);
        assert!(matches!(run.code, Some(1 | 2)), "{run:?}");
        // clap leaves ESC out.
        assert!(run.stderr.contains(r"\u{1b}") || run.stderr.contains("'--no'"), "{run:?}");
        assert!(!run.stderr.contains(bad), "{run:?}");
        let lines = run.stderr.lines().filter(|line| line.starts_with("where")).count();
        assert_eq!(lines, 0, "{run:?}");
    }
}

/// It waited for ever, and said nothing.
#[test]
fn a_silent_pipe_on_standard_input_is_said_to_be_waited_for() {
    let dir = TestDir::new();
    dir.train_tiny("run", &[]);
    let sample = ["sample", "--checkpoint", "run", "--length", "5"];
    for (args, says) in [
        (&sample[..], "give --prompt TEXT, or < /dev/null"),
        (&["score", "--checkpoint", "run"], "name a FILE"),
    ] {
        let mut child = dir
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .start();
        let (silence, end) = std::sync::mpsc::channel::<()>();
        let mut stdin = child.stdin.take().expect("stdin");
        // A program that waits without a word gets an end, so that the test fails and does not hang.
        let speaker = std::thread::spawn(move || {
            let said = end.recv_timeout(Duration::from_secs(60)).is_ok();
            said.then(|| stdin.write_all(b"The tide").expect("it still reads"));
        });
        let mut log = String::new();
        let mut stderr = child.stderr.take().expect("stderr");
        while !log.contains(says) {
            let mut some = [0; 1000];
            let read = stderr.read(&mut some).expect("the log");
            assert!(read > 0, "it ended without a word: {log}");
            log.push_str(&String::from_utf8_lossy(&some[..read]));
        }
        assert!(log.contains("waiting for the"), "{log}");
        silence.send(()).expect("it is heard");
        speaker.join().expect("it has spoken");
        assert_eq!(child.wait().expect("it ends").code(), Some(0));
    }
    // Nothing on stdin is an answer.
    let run = dir.run(&sample);
    assert!(run.code == Some(0) && !run.stderr.contains("waiting"), "{run:?}");
}

/// `eprintln!` and `println!` panic when they cannot write.
#[test]
fn nothing_prints_but_the_functions_of_output_rs() {
    fn walk(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).expect("a folder of src") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, found);
                continue;
            }
            let name = path.to_string_lossy();
            if name.ends_with("tests.rs") || name.ends_with("testing.rs") {
                continue;
            }
            let text = fs::read_to_string(&path).expect("a source file");
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().lines();
            let code = code.filter(|line| !line.trim_start().starts_with("//"));
            let calls = ["println!", "print!", "eprint!", "dbg!", "io::stderr()"];
            let prints = code.filter(|line| calls.iter().any(|call| line.contains(call)));
            found.extend(prints.map(|line| format!("{}: {}", path.display(), line.trim())));
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found.retain(|line| !line.ends_with("std::io::stderr().is_terminal().then(|| {"));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("output.rs"), "{found:?}");
}
