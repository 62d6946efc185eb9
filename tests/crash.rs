//! After a crash the last complete checkpoint can be read, and the run goes on.

use std::time::Duration;

use crate::support::TestDir;

/// Kills a run that does nothing but evaluate and save, at moments spread over its writes.
#[test]
fn a_killed_run_leaves_a_checkpoint_that_loads_and_goes_on() {
    let dir = TestDir::new();
    dir.train_tiny("seed", &["--steps", "1"]);
    for attempt in 0..12u64 {
        let out = format!("run{attempt}");
        let args = [
            "train",
            "--out",
            &out,
            "--corpus",
            "tide.txt",
            "--hidden",
            "64",
            "--layers",
            "1",
            "--batch",
            "4",
            "--seq-len",
            "16",
            "--steps",
            "100000",
            "--eval-every",
            "1",
        ];
        let mut child = dir.start_until(&args, &format!("{out}/metrics.jsonl"));
        std::thread::sleep(Duration::from_millis(7 * attempt));
        child.kill().expect("SIGKILL is sent");
        child.wait().expect("the program ends");
        dir.ok(&["info", "--checkpoint", &out]);
        dir.ok(&["sample", "--checkpoint", &out, "--length", "20"]);
    }
    let step = |json: String| -> u64 {
        let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        value["progress"]["step"].as_u64().expect("a step")
    };
    let before = step(dir.ok(&["info", "--checkpoint", "run3/last", "--json"]));
    let goal = (before + 5).to_string();
    dir.ok(&["train", "--resume", "run3", "--steps", &goal]);
    let after = step(dir.ok(&["info", "--checkpoint", "run3/last", "--json"]));
    assert_eq!(after, before + 5);
}

/// Weights so large that the first loss overflows: what a diverged run would come to.
#[test]
fn a_loss_that_is_no_number_stops_the_run_and_leaves_the_last_good_checkpoint() {
    let dir = TestDir::new();
    assert_eq!(dir.train_tiny("run", &[]).code, Some(0));
    let weights = dir.path("run/best/model.safetensors");
    let mut bytes = std::fs::read(&weights).expect("the weights");
    let header = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    for (index, value) in bytes[8 + header..].chunks_exact_mut(4).enumerate() {
        let huge = if index % 2 == 0 { 3e38f32 } else { -3e38 };
        value.copy_from_slice(&huge.to_le_bytes());
    }
    std::fs::write(&weights, bytes).expect("written");
    let tune = ["train", "--init-from", "run", "--corpus", "tide.txt", "--out", "tuned"];
    let args = [&tune[..], &["--steps", "20", "--seq-len", "16"]].concat();
    dir.fails(1, &args, &["at step 1", "--lr", "untouched"]);
    // What was written before the step that failed is still there.
    let info = dir.ok(&["info", "--checkpoint", "tuned/last", "--json"]);
    assert!(info.contains("\"step\": 0"), "{info}");
}

#[test]
fn two_trainers_do_not_share_a_folder() {
    let dir = TestDir::new();
    dir.train_tiny("seed", &["--steps", "1"]);
    let args =
        ["train", "--out", "run", "--corpus", "tide.txt", "--hidden", "64", "--steps", "100000"];
    let mut child = dir.start_until(&args, "run/last");
    dir.fails(1, &["train", "--resume", "run"], &["another process is training"]);
    dir.fails(
        1,
        &["train", "--out", "run", "--corpus", "tide.txt", "--overwrite"],
        &["another process"],
    );
    child.kill().expect("SIGKILL is sent");
    child.wait().expect("the program ends");
}
