//! Wrong input of every kind: the exit code, and a message that says what to do.

use crate::support::{TIDE, TestDir};

#[test]
fn wrong_texts() {
    let dir = TestDir::new();
    dir.file("empty.txt", "");
    dir.file("one.txt", "aaaaaaaaaaaaaaaaaaaa");
    dir.file("short.txt", "abcdefghij".repeat(2));
    dir.file("binary.txt", b"text\xff\xfe\x00\x01");
    std::fs::create_dir(dir.path("nothing")).unwrap();
    let fails = |file: &str, says: &[&str]| {
        dir.fails(1, &["train", "--corpus", file, "--out", "run"], says);
        assert!(!dir.path("run/best").exists() && !dir.path("run/last").exists());
    };
    fails("missing.txt", &["missing.txt"]);
    fails("empty.txt", &["empty"]);
    fails("one.txt", &["one distinct character"]);
    fails("short.txt", &["has 18 characters", "one window needs 33", "--seq-len"]);
    fails("binary.txt", &["binary.txt", "offset 4", "--encoding latin1", "lossy"]);
    fails("nothing", &["nothing", ".txt"]);
}

#[test]
fn wrong_flags_exit_with_two() {
    let dir = TestDir::new();
    dir.file("tide.txt", TIDE.repeat(20));
    let train: [(&[&str], &str); 17] = [
        (&["--cell", "qrnn"], "gru-reset-after"),
        (&["--schedule", "stairs"], "cosine"),
        (&["--hidden", "0"], "hidden is 0"),
        (&["--hidden", "-3"], "'-3'"),
        (&["--layers", "1000"], "layers is 1000"),
        (&["--dropout", "1"], "dropout is 1"),
        (&["--batch", "0"], "--batch is 0"),
        (&["--seq-len", "0"], "--seq-len is 0"),
        (&["--steps", "0"], "--steps is 0"),
        (&["--lr", "0"], "--lr is 0"),
        (&["--lr", "nan"], "'--lr <LR>'"),
        (&["--lr", "10", "--weight-decay", "10"], "--weight-decay 10 by --lr 10 is 100 but must"),
        (&["--time-limit", "soon"], "10m"),
        (&["--val-fraction", "1"], "--val-fraction is 1"),
        (&["--device", "gpu"], "--device is 'gpu'"),
        (&["--threads", "0"], "--threads is 0"),
        (&["--nonsense"], "--nonsense"),
    ];
    for (flags, says) in train {
        let args = [&["train", "--corpus", "tide.txt", "--out", "run"], flags].concat();
        dir.fails(2, &args, &[says]);
        assert!(!dir.path("run").exists(), "{flags:?}");
    }
    dir.train_tiny("run", &[]);
    let sample: [(&[&str], &str); 7] = [
        (&["--temperature", "-1"], "--temperature is -1"),
        (&["--temperature", "nan"], "--temperature is NaN"),
        (&["--top-p", "0"], "--top-p is 0"),
        (&["--top-k", "0"], "--top-k is 0"),
        (&["--num", "0"], "--num is 0"),
        (&["--num", "1000000"], "--num is 1000000: give a number from 1 to 65536"),
        (&["--length", "many"], "--length"),
    ];
    for (flags, says) in sample {
        let args = [&["sample", "--checkpoint", "run"], flags].concat();
        dir.fails(2, &args, &[says]);
    }
}

#[test]
fn a_config_file_is_checked() {
    let dir = TestDir::new();
    dir.file("tide.txt", TIDE.repeat(20));
    let with = |text: &str, says: &[&str]| {
        dir.file("settings.toml", text);
        dir.fails(2, &["train", "--config", "settings.toml", "--out", "run"], says);
    };
    with("hiden = 3", &["hiden", "hidden"]);
    with("hidden = 'big'", &["settings.toml"]);
    with("hidden =", &["settings.toml"]);
    with("hidden = -1", &["settings.toml"]);
    // Was an error that did not name the file.
    with("preset = 'gigantic'", &["settings.toml", "preset", "medium"]);
    dir.fails(2, &["train", "--config", "missing.toml", "--out", "run"], &["missing.toml"]);
}

#[test]
fn broken_checkpoints() {
    let dir = TestDir::new();
    assert_eq!(dir.train_tiny("good", &[]).code, Some(0));
    assert_eq!(dir.train_tiny("wide", &["--hidden", "24"]).code, Some(0));
    dir.file("digits.txt", "0123456789\n".repeat(60));
    let digits = [
        "train",
        "--corpus",
        "digits.txt",
        "--out",
        "digits",
        "--hidden",
        "16",
        "--steps",
        "2",
        "--seq-len",
        "16",
    ];
    dir.ok(&digits);
    let read = |path: &str| std::fs::read(dir.path(path)).unwrap();
    let good = [
        ("config.json", read("good/best/config.json")),
        ("tokenizer.json", read("good/best/tokenizer.json")),
        ("model.safetensors", read("good/best/model.safetensors")),
    ];
    let with = |name: &str, bytes: Option<&[u8]>, says: &[&str]| {
        let _ = std::fs::remove_dir_all(dir.path("broken"));
        for (file, contents) in &good {
            dir.file(&format!("broken/{file}"), contents);
        }
        match bytes {
            Some(bytes) => drop(dir.file(&format!("broken/{name}"), bytes)),
            None => std::fs::remove_file(dir.path(&format!("broken/{name}"))).unwrap(),
        }
        for command in ["sample", "info", "eval"] {
            dir.fails(1, &[command, "--checkpoint", "broken"], says);
        }
    };
    let (config, weights) = (&good[0].1, &good[2].1);
    with("config.json", None, &["broken", "config.json"]);
    with("config.json", Some(&config[..config.len() / 2]), &["config.json"]);
    with("config.json", Some(b"{}"), &["config.json", "format"]);
    let other_version = String::from_utf8_lossy(config).replace("\"format\": 1", "\"format\": 99");
    with("config.json", Some(other_version.as_bytes()), &["format 99"]);
    let huge = String::from_utf8_lossy(config).replace("\"hidden\": 16", "\"hidden\": 99999999");
    with("config.json", Some(huge.as_bytes()), &["hidden is 99999999"]);
    with("tokenizer.json", None, &["tokenizer.json"]);
    with("tokenizer.json", Some(b"[1, 2"), &["tokenizer.json"]);
    with(
        "tokenizer.json",
        Some(&read("digits/best/tokenizer.json")),
        &["11 ids", "different runs"],
    );
    with("model.safetensors", None, &["model.safetensors"]);
    with("model.safetensors", Some(b""), &["model.safetensors", "empty"]);
    with("model.safetensors", Some(&weights[..weights.len() - 5]), &["model.safetensors"]);
    with("model.safetensors", Some(&weights[..20]), &["model.safetensors"]);
    with("model.safetensors", Some(&[0xff; 64]), &["model.safetensors"]);
    with(
        "model.safetensors",
        Some(&read("wide/best/model.safetensors")),
        &["readout.weight", "[23, 24]", "[23, 16]"],
    );
    let mut nan = weights.clone();
    let end = nan.len();
    nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    with("model.safetensors", Some(&nan), &["NaN"]);
    dir.fails(1, &["sample", "--checkpoint", "nowhere"], &["no checkpoint nowhere"]);
    dir.fails(1, &["sample"], &["no model in ./checkpoints"]);
}

/// `eval` and `score` printed NaN, and exited with 0.
#[test]
fn weights_so_large_that_no_number_comes_out_are_an_error() {
    let dir = TestDir::new();
    for (run, documents) in [("run", "off"), ("lines", "lines")] {
        dir.train_tiny(run, &["--documents", documents]);
        let weights = dir.path(run).join("best/model.safetensors");
        let mut bytes = std::fs::read(&weights).unwrap();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        for value in bytes[8 + header..].chunks_exact_mut(4) {
            value.copy_from_slice(&3e38f32.to_le_bytes());
        }
        std::fs::write(&weights, bytes).unwrap();
        for args in [&["eval"][..], &["eval", "--json"], &["score", "tide.txt"], &["sample"]] {
            dir.fails(1, &[args, &["--checkpoint", run]].concat(), &["weights are unusable"]);
        }
    }
}

#[test]
fn too_many_samples_exit_with_two_before_a_checkpoint_is_opened() {
    let dir = TestDir::new();
    dir.fails(2, &["sample", "--num", "1000000"], &["--num is 1000000", "to 65536"]);
}

#[test]
fn prompts_outside_the_vocabulary() {
    let dir = TestDir::new();
    dir.train_tiny("run", &[]);
    let sample = ["sample", "--checkpoint", "run", "--length", "8", "--prompt", "The €uro ☃"];
    dir.fails(1, &sample, &["€", "U+20AC", "☃", "--unknown skip"]);
    let text = dir.ok(&[&sample[..], &["--unknown", "skip"]].concat());
    assert!(text.starts_with("The uo "), "{text}");
}

#[cfg(unix)]
#[test]
fn folders_that_cannot_be_written() {
    let dir = TestDir::new();
    dir.file("tide.txt", TIDE.repeat(20));
    dir.file("file", "in the way");
    let out = ["train", "--corpus", "tide.txt", "--out"];
    dir.fails(1, &[&out[..], &["file/run"]].concat(), &["file/run"]);
    dir.fails(1, &[&out[..], &["/proc/chargru"]].concat(), &["/proc/chargru"]);
}

#[test]
fn a_run_is_never_overwritten_unasked() {
    let dir = TestDir::new();
    dir.train_tiny("run", &[]);
    let before = std::fs::read(dir.path("run/best/model.safetensors")).unwrap();
    let again = dir.train_tiny("run", &["--seed", "2"]);
    assert_eq!(again.code, Some(1), "{again:?}");
    for part in ["--resume", "--out", "--overwrite"] {
        assert!(again.stderr.contains(part), "{again:?}");
    }
    let kept = std::fs::read(dir.path("run/best/model.safetensors")).unwrap();
    assert!(before == kept);
    assert_eq!(dir.train_tiny("run", &["--seed", "2", "--overwrite"]).code, Some(0));
    let replaced = std::fs::read(dir.path("run/best/model.safetensors")).unwrap();
    assert!(before != replaced);
}
