//! How much memory the program takes, and what it refuses to begin.

#[cfg(target_os = "linux")]
use std::process::Stdio;

use crate::support::{TIDE, TestDir};

/// A text of `distinct` distinct characters, each of which comes ten times.
#[cfg(target_os = "linux")]
fn large_vocabulary(distinct: u32) -> String {
    let character = |n: u32| char::from_u32(0x4E00 + n * 7 % distinct).expect("a character");
    (0..10 * distinct).map(character).collect()
}

/// Runs the program where it gets no more than `megabytes` of memory of its own.
#[cfg(target_os = "linux")]
fn ok_within(dir: &TestDir, megabytes: u32, args: &[&str]) {
    // RLIMIT_DATA: what is written to, unlike the address space, which threads reserve at will.
    let script = format!("ulimit -d {}; exec \"$0\" \"$@\"", megabytes << 10);
    let program = dir.command(&[]).get_program().to_owned();
    let mut command = std::process::Command::new("sh");
    command.arg("-c").arg(script).arg(program).args(args).current_dir(dir.path("."));
    let output = command.stdin(Stdio::null()).output().expect("sh runs");
    assert!(output.status.success(), "{args:?} within {megabytes} MB: {output:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn evaluation_over_a_large_vocabulary_takes_little_memory() {
    let dir = TestDir::new();
    dir.file("many.txt", large_vocabulary(5000));
    let run = dir.train_tiny(
        "run",
        &["--corpus", "many.txt", "--steps", "1", "--val-fraction", "0", "--threads", "1"],
    );
    assert_eq!(run.code, Some(0), "{run:?}");
    // The logits of one window, of 64 rows, are 164 MB, and the softmax takes as much three times more.
    let common = ["--checkpoint", "run", "--json", "--threads", "1"];
    for device in ["cpu", "cpu-reference"] {
        let more = ["--device", device, "--corpus", "many.txt"];
        ok_within(&dir, 256, &[&["eval"], &common[..], &more[..]].concat());
    }
    ok_within(&dir, 256, &[&["score"], &common[..], &["many.txt"]].concat());
    // In training the weights are variables: candle keeps the history of what is computed from them.
    let args = "train --out new --corpus many.txt --hidden 16 --embedding 8 --layers 1 --batch 4 \
                --seq-len 16 --steps 1 --val-fraction 0.9 --threads 1";
    ok_within(&dir, 256, &args.split_whitespace().collect::<Vec<_>>());
}

#[cfg(target_os = "linux")]
#[test]
fn many_fillings_of_many_gaps_take_the_memory_of_what_is_printed() {
    let dir = TestDir::new();
    dir.train_tiny("run", &["--bidirectional"]);
    // Each gap has 64 fillings. To hold the choices of 64 times 1000 candidates took 400 MB.
    dir.file("gaps.txt", "The ti__ comes ".repeat(800));
    let args = "fill --checkpoint run --file gaps.txt --num 1000 --seed 1 --threads 1";
    ok_within(&dir, 256, &args.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn a_run_that_does_not_fit_is_refused_before_anything_is_created() {
    let dir = TestDir::new();
    dir.file("tide.txt", TIDE.repeat(30));
    let lines: String = (0..300).map(|n| format!("the line {n}\n")).collect();
    dir.file("lines.txt", lines);
    let train = |text: &str, flags: &[&str], says: &[&str]| {
        let args = ["train", "--out", "run", "--corpus", text];
        dir.fails(2, &[&args, flags].concat(), says);
        assert!(!dir.path("run").exists(), "{flags:?}");
    };
    let says = ["of memory", "are free: lower --hidden, which is 65536"];
    train("tide.txt", &["--hidden", "65536"], &says);
    let large = ["--hidden", "32768", "--layers", "64", "--embedding", "32768", "--tie-weights"];
    train("tide.txt", &large, &["of memory", "lower --hidden"]);
    train("tide.txt", &["--layers", "1000"], &["--layers is 1000"]);
    let documents = ["--documents", "lines", "--batch", "60000", "--seq-len", "900000"];
    train("lines.txt", &documents, &["of memory", "lower --seq-len, which is 900000"]);
    let documents = ["--documents", "lines", "--batch", "60000", "--seq-len", "1048576"];
    train("lines.txt", &documents, &["--batch 270 by --seq-len 1048576 is above"]);

    assert_eq!(dir.train_tiny("small", &[]).code, Some(0));
    let config = dir.path("small/last/config.json");
    let text = std::fs::read_to_string(&config).expect("config.json");
    let huge = text.replace("\"hidden\": 16", "\"hidden\": 65536");
    assert!(huge != text);
    std::fs::write(&config, huge).expect("written");
    for command in [&["train", "--resume", "small"][..], &["sample", "--checkpoint", "small/last"]]
    {
        dir.fails(1, command, &["model.safetensors", "has shape", "config.json asks for"]);
    }
    let init = ["--init-from", "small/best", "--documents", "lines", "--extend-vocab"];
    let window = ["--batch", "60000", "--seq-len", "900000"];
    train("lines.txt", &[&init[..], &window].concat(), &["lower --seq-len, which is 900000"]);
}

/// The figures of `needs   M MB of memory, D MB of disk` in the log.
#[cfg(target_os = "linux")]
fn needs(log: &str) -> (f64, f64) {
    let line = log.lines().find(|line| line.starts_with("needs")).expect("what the run needs");
    let numbers: Vec<f64> =
        line.replace(',', "").split_whitespace().filter_map(|word| word.parse().ok()).collect();
    (numbers[0], numbers[1])
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_takes_what_its_log_says_that_it_needs() {
    let dir = TestDir::new();
    dir.file("play.txt", chargru::text::Corpus::shipped().into_text());
    let size = |path: &str| std::fs::metadata(dir.path(path)).expect("a file").len() as f64;
    for (out, flags) in
        [("weights", "--hidden 600 --batch 2"), ("windows", "--hidden 64 --batch 64")]
    {
        let args = format!("train --corpus play.txt --threads 2 --steps 3 --out {out} {flags}");
        let mut command = dir.command(&args.split_whitespace().collect::<Vec<_>>());
        let log = std::fs::File::create(dir.path("log")).expect("a file");
        let mut child = command.stdout(Stdio::null()).stderr(log).spawn().expect("it starts");
        // The most that it had in memory so far; what it takes at the very end may be missed.
        let mut peak = 0.0f64;
        while child.try_wait().expect("its state").is_none() {
            let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
            let status = status.unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
            peak = peak.max(kilobytes.unwrap_or(0.0) / 1024.0);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let log = std::fs::read_to_string(dir.path("log")).expect("the log");
        assert!(child.wait().expect("it ends").success(), "{log}");
        let (memory, disk) = needs(&log);
        assert!(peak <= memory && memory <= 2.0 * peak, "{out}: {memory} MB for {peak} MB");
        // Each checkpoint twice: a new one is written beside the old.
        let files = ["best/model", "last/model", "last/training"]
            .map(|name| size(&format!("{out}/{name}.safetensors")));
        let twice = 2.0 * files.iter().sum::<f64>() / f64::from(1 << 20);
        assert!(twice <= disk && disk <= twice + 3.0, "{out}: {disk} MB for {twice} MB");
    }
}
