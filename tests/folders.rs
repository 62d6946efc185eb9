//! What stands in a run's folder and is not chargru's stays as it is; what is read there is not trusted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::resume::assert_same_run;
use crate::support::TestDir;

/// Every path under `root` and what is there.
fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(root).expect("a folder") {
        let path = entry.expect("an entry").path();
        let found = fs::symlink_metadata(&path).expect("its kind");
        if found.is_dir() {
            all.extend(tree(&path));
            all.insert(path, b"a folder".to_vec());
        } else if found.is_symlink() {
            let target = fs::read_link(&path).expect("a link").display().to_string();
            all.insert(path, target.into_bytes());
        } else {
            let bytes = fs::read(&path).expect("a file");
            all.insert(path, bytes);
        }
    }
    all
}

#[test]
fn folders_that_are_no_run_are_neither_removed_nor_moved() {
    let cases: [(&[&str], &str); 9] = [
        (&["best/beach.jpg", "last/hill.jpg"], "best"),
        (&["last/hill.jpg"], "last"),
        (&["best.new/mine.txt", "last.new/mine.txt"], "best.new"),
        (&["last.old/mine.txt"], "last.old"),
        (&["last"], "last"),
        (&["best.new"], "best.new"),
        (&["metrics.jsonl"], "metrics.jsonl"),
        (&["samples.jsonl"], "samples.jsonl"),
        // A model of another program has the same names.
        (&["best/config.json", "best/tokenizer.json", "best/model.safetensors"], "best"),
    ];
    for (files, named) in cases {
        let dir = TestDir::new();
        dir.train_tiny("seed", &["--steps", "1"]);
        for file in files {
            dir.file(&format!("photos/{file}"), "{\"mine\": true}\n");
        }
        let before = tree(&dir.path("photos"));
        for more in [&["--overwrite"][..], &[]] {
            let run = dir.train_tiny("photos", more);
            assert_eq!(run.code, Some(1), "{run:?}");
            let says =
                format!("{} is in the way of the run", Path::new("photos").join(named).display());
            assert!(run.stderr.contains(&says), "{run:?}");
            assert!(run.stderr.contains("move it, or choose another folder with --out"), "{run:?}");
            assert_eq!(tree(&dir.path("photos")), before, "{files:?} {more:?}");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_link_in_a_run_is_not_followed_out_of_it() {
    use std::os::unix::fs::symlink;
    for name in ["best", "last", "last.new", "metrics.jsonl", "samples.jsonl", ".lock"] {
        let dir = TestDir::new();
        dir.train_tiny("run", &[]);
        // A whole run of somebody else's, and a link to a part of it.
        dir.train_tiny("elsewhere", &[]);
        let (link, target) = (dir.path("run").join(name), dir.path("elsewhere").join(name));
        let _ = fs::remove_dir_all(&link);
        let _ = fs::remove_file(&link);
        symlink(&target, &link).expect("a link");
        let before = tree(&dir.path("elsewhere"));
        let run = dir.train_tiny("run", &["--overwrite"]);
        assert_eq!(run.code, Some(1), "{name}: {run:?}");
        assert!(run.stderr.contains("it is a symbolic link"), "{name}: {run:?}");
        assert_eq!(tree(&dir.path("elsewhere")), before, "{name}");
    }
}

#[test]
fn a_run_with_notes_in_its_checkpoints_keeps_them() {
    let dir = TestDir::new();
    let settings = ["--eval-every", "10", "--schedule", "constant"];
    dir.train_tiny("whole", &[&settings[..], &["--steps", "40"]].concat());
    dir.train_tiny("run", &settings);
    for place in ["run/best/notes.txt", "run/last/notes.txt"] {
        dir.file(place, "mine");
    }
    dir.ok(&["train", "--resume", "run", "--steps", "40"]);
    assert_same_run(&dir, "whole", "run");
    for place in ["run/best/notes.txt", "run/last/notes.txt"] {
        assert_eq!(fs::read_to_string(dir.path(place)).expect("the notes"), "mine");
    }
    // To overwrite the run would be to remove them.
    let run = dir.train_tiny("run", &["--overwrite"]);
    assert!(run.stderr.contains("it holds notes.txt"), "{run:?}");
}

#[test]
fn a_checkpoint_is_no_place_for_a_run() {
    let dir = TestDir::new();
    dir.train_tiny("run", &[]);
    let before = tree(&dir.path("run"));
    for more in [&[][..], &["--overwrite"]] {
        let run = dir.train_tiny("run/best", more);
        assert_eq!(run.code, Some(1), "{run:?}");
        assert!(run.stderr.contains("best is a checkpoint within a run: give --out"), "{run:?}");
    }
    assert_eq!(tree(&dir.path("run")), before);
}

#[test]
fn a_preparation_that_fails_leaves_no_folder() {
    let dir = TestDir::new();
    dir.file("short.txt", "abcdefghij".repeat(8));
    dir.file("one.txt", "a".repeat(5000));
    for corpus in ["short.txt", "one.txt"] {
        let run = dir.run(&["train", "--corpus", corpus, "--out", "runs/new"]);
        assert_eq!(run.code, Some(1), "{run:?}");
        assert!(!dir.path("runs").exists(), "{run:?}");
    }
}

#[test]
fn broken_lines_of_metrics_do_not_stop_a_resume() {
    let dir = TestDir::new();
    let settings = ["--eval-every", "10", "--schedule", "constant"];
    dir.train_tiny("whole", &[&settings[..], &["--steps", "40"]].concat());
    dir.train_tiny("run", &settings);
    let path = dir.path("run/metrics.jsonl");
    let mut bytes = fs::read(&path).expect("metrics");
    bytes.extend(b"\xFF\xFE not UTF-8\n{\"step\":3");
    fs::write(&path, bytes).expect("written");
    dir.ok(&["train", "--resume", "run", "--steps", "40"]);
    assert_same_run(&dir, "whole", "run");
}

/// A pipe would be waited for, a device read for ever.
#[cfg(unix)]
#[test]
fn a_file_of_a_checkpoint_that_is_a_pipe_or_a_device_is_refused_at_once() {
    let dir = TestDir::new();
    dir.train_tiny("run", &[]);
    let names = [
        "config.json",
        "tokenizer.json",
        "model.safetensors",
        "training.json",
        "training.safetensors",
    ];
    for name in names {
        let path = dir.path("run/last").join(name);
        let kept = fs::read(&path).expect("the file");
        for make in ["mkfifo", "ln"] {
            fs::remove_file(&path).expect("removed");
            let mut command = std::process::Command::new(make);
            if make == "ln" {
                command.args(["-s", "/dev/zero"]);
            }
            assert!(command.arg(&path).status().expect("it runs").success());
            let args = match name {
                "training.json" | "training.safetensors" => ["train", "--resume", "run"],
                _ => ["info", "--checkpoint", "run/last"],
            };
            dir.fails(1, &args, &[name]);
        }
        fs::remove_file(&path).expect("removed");
        fs::write(&path, kept).expect("written");
    }
    dir.ok(&["info", "--checkpoint", "run/last"]);
}

/// A file that claims to be large takes no memory.
#[test]
fn a_file_of_a_checkpoint_that_is_too_large_is_refused_before_it_is_read() {
    let dir = TestDir::new();
    dir.train_tiny("run", &[]);
    for (name, args) in [
        ("model.safetensors", ["info", "--checkpoint", "run/last"]),
        ("config.json", ["info", "--checkpoint", "run/last"]),
        ("training.safetensors", ["train", "--resume", "run"]),
    ] {
        let path = dir.path("run/last").join(name);
        let kept = fs::read(&path).expect("the file");
        let file = fs::OpenOptions::new().write(true).open(&path).expect("the file");
        file.set_len(1 << 36).expect("a sparse file");
        dir.fails(1, &args, &[name, "bytes or more but at most"]);
        fs::write(&path, kept).expect("written");
    }
}
