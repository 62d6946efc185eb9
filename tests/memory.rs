//! How much memory the program takes, and what it refuses to begin.

use crate::support::TestDir;

/// A text of `distinct` distinct characters, each of which comes ten times.
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
    let output = command.stdin(std::process::Stdio::null()).output().expect("sh runs");
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
