//! The texts that enter: by which rules they are read, how they are named, and where they are recorded.

use std::io::Write;
use std::process::Stdio;

use crate::support::{Start, TIDE, TestDir, json};

/// A folder with names.txt and the model `names` of its lines.
fn of_lines() -> TestDir {
    let dir = TestDir::new();
    dir.file("names.txt", "Anna\nBert\nCarla\nDora\nEmil\n".repeat(40));
    let run = dir.train_tiny("names", &["--corpus", "names.txt", "--documents", "lines"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    dir
}

/// Runs the program with `input` on stdin and gives its exit code, stdout and stderr.
fn piped(dir: &TestDir, args: &[&str], input: &[u8]) -> (Option<i32>, String, String) {
    let mut command = dir.command(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.start();
    child.stdin.take().expect("stdin").write_all(input).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// It failed on '\n', which is in no line.
#[test]
fn a_model_of_lines_scores_every_line_as_a_document() {
    let dir = of_lines();
    dir.file("three.txt", "Bert\r\n\r\nAnna\r\nBert\r\n");
    let score = |more: &[&str]| -> Vec<serde_json::Value> {
        let args = [&["score", "--checkpoint", "names", "three.txt", "--json"], more].concat();
        dir.ok(&args).lines().map(json).collect()
    };
    let lines = score(&[]);
    let texts: Vec<_> = lines.iter().map(|line| line["text"].as_str().expect("text")).collect();
    assert_eq!(texts, ["Bert", "Anna", "Bert"]);
    assert!(lines.iter().all(|line| line["ids"] == 5), "four letters and the end: {lines:?}");
    let nats = |value: &serde_json::Value| value["nats"].as_f64().expect("nats");
    let (first, third) = (nats(&lines[0]), nats(&lines[2]));
    assert!((first - third).abs() < 1e-5 * first, "a line knows nothing of those before it");

    let whole = score(&["--per", "text"]);
    assert_eq!(whole.len(), 1);
    assert_eq!(whole[0]["ids"], 15);
    let sum: f64 = lines.iter().map(nats).sum();
    assert!((nats(&whole[0]) - sum).abs() < 1e-9 * sum);
    let eval = ["eval", "three.txt", "--checkpoint", "names", "--part", "all", "--json"];
    let eval = json(&dir.ok(&eval));
    let loss = eval["loss"].as_f64().expect("a loss");
    assert_eq!(eval["ids"], 15);
    assert!((loss - sum / 15.0).abs() < 1e-5 * loss, "{loss} of eval, {} of score", sum / 15.0);

    let characters = score(&["--per", "char", "--logits", "logits.safetensors"]);
    assert_eq!(characters.len(), 15);
    assert_eq!(
        (&characters[4]["end_of_document"], &characters[4]["text"]),
        (&true.into(), &"".into())
    );
    assert!(characters[3].get("end_of_document").is_none());
    let logits = dir.path("logits.safetensors");
    let logits = candle_core::safetensors::load(logits, &candle_core::Device::Cpu).expect("logits");
    assert_eq!(logits["logits"].dims()[0], 12);
    // The logits after "B" gave the "e" its cost.
    let row: Vec<f32> = logits["logits"].get(0).expect("a row").to_vec1().expect("numbers");
    let normaliser = row.iter().map(|v| f64::from(*v).exp()).sum::<f64>().ln();
    let cost = nats(&characters[1]);
    let closest = row.iter().map(|v| (normaliser - f64::from(*v) - cost).abs());
    assert!(closest.fold(f64::INFINITY, f64::min) < 1e-4);
    let (code, from_stdin, log) =
        piped(&dir, &["score", "--checkpoint", "names"], b"\xEF\xBB\xBFBert\r\nAnna");
    assert_eq!((code, from_stdin.lines().count()), (Some(0), 2), "{log}");
}

#[test]
fn a_model_of_files_scores_a_file_as_one_document_with_its_end() {
    let dir = TestDir::new();
    for name in ["a", "b", "c", "d"] {
        dir.file(&format!("texts/{name}.txt"), TIDE.repeat(8));
    }
    let run = dir.train_tiny("run", &["--corpus", "texts", "--documents", "files"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    dir.file("one.txt", TIDE);
    let score = ["score", "--checkpoint", "run", "--json", "one.txt"];
    let lines: Vec<_> = dir.ok(&score).lines().map(json).collect();
    let ids: Vec<_> = lines.iter().map(|line| line["ids"].as_u64().expect("ids")).collect();
    let lengths: Vec<_> = TIDE.lines().map(|line| line.len() as u64 + 1).collect();
    assert_eq!(ids, [lengths[0], lengths[1] + 1], "the end counts to the last line");
    let eval = json(&dir.ok(&["eval", "--checkpoint", "run", "one.txt", "--json"]));
    assert_eq!(eval["ids"].as_u64(), Some(ids.iter().sum()));
}

/// `head -1 names.txt | chargru sample` failed on the newline.
#[test]
fn a_prompt_for_a_model_of_lines_is_a_line_without_its_newline() {
    let dir = of_lines();
    let sample = ["sample", "--checkpoint", "names", "--temperature", "0", "--json"];
    let expected = json(&dir.ok(&[&sample[..], &["--prompt", "Car"]].concat()));
    for input in [&b"Car\n"[..], b"Car", b"\xEF\xBB\xBFCar\r\n", b"\nCar\n\n"] {
        let (code, out, log) = piped(&dir, &sample, input);
        assert_eq!(code, Some(0), "{input:?}: {log}");
        assert_eq!(json(&out)["prompt"], "Car");
        assert_eq!(json(&out)["text"], expected["text"]);
    }
    dir.file("prompt.txt", "Car\r\n");
    let from_file = json(&dir.ok(&[&sample[..], &["--prompt-file", "prompt.txt"]].concat()));
    assert_eq!(from_file["text"], expected["text"]);
    let (code, _, log) = piped(&dir, &sample, b"Anna\nBert\n");
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("has 2 lines") && log.contains("give one line"), "{log}");
}

/// Line ends and byte-order marks were handled in files of the corpus only.
#[test]
fn every_text_is_read_as_the_checkpoint_s_own() {
    let dir = TestDir::new();
    dir.file("tide.txt", TIDE.repeat(30).replace("tide", "t\u{ef}de"));
    dir.file("latin.txt", b"The t\xEFde\r\n".repeat(60));
    let options = ["--corpus", "latin.txt", "--encoding", "latin1"];
    assert_eq!(dir.train_tiny("latin", &options).code, Some(0));
    assert_eq!(dir.train_tiny("utf8", &[]).code, Some(0));
    let prompt = |model: &str, more: &[&str], input: &[u8]| {
        let args = ["sample", "--checkpoint", model, "--length", "0", "--json"];
        let (code, out, log) = piped(&dir, &[&args[..], more].concat(), input);
        assert_eq!(code, Some(0), "{log}");
        json(&out)["prompt"].as_str().expect("a prompt").to_string()
    };
    dir.file("crlf.txt", "\u{feff}The t\u{ef}de\r\n");
    assert_eq!(prompt("utf8", &[], "\u{feff}t\u{ef}de\r\n".as_bytes()), "t\u{ef}de\n");
    assert_eq!(prompt("utf8", &["--prompt-file", "crlf.txt"], b""), "The t\u{ef}de\n");
    assert_eq!(prompt("utf8", &["--prompt", "t\u{ef}de\r\n"], b""), "t\u{ef}de\n");
    assert_eq!(prompt("latin", &[], b"t\xEFde\r\n"), "t\u{ef}de\n");
    // An argument is in UTF-8 always.
    assert_eq!(prompt("latin", &["--prompt", "t\u{ef}de"], b""), "t\u{ef}de");
    let (code, out, log) = piped(&dir, &["score", "--checkpoint", "latin"], b"The t\xEFde\r\n");
    assert_eq!(code, Some(0), "{log}");
    assert!(out.contains("The t\u{ef}de"), "{out}");
}

/// Two commands of a shell, as a user would connect them.
#[cfg(unix)]
#[test]
fn a_pipe_named_on_the_command_line_is_a_text() {
    let dir = TestDir::new();
    dir.train_tiny("run", &[]);
    for args in [
        &["sample", "--checkpoint", "run", "--length", "3", "--prompt-file", "/dev/stdin"][..],
        &["score", "--checkpoint", "run", "/dev/stdin"],
        &["eval", "--checkpoint", "run", "/dev/stdin"],
    ] {
        let (code, _, log) = piped(&dir, args, b"The tide");
        assert_eq!(code, Some(0), "{args:?}: {log}");
    }
}

#[cfg(unix)]
#[test]
fn a_settings_file_or_a_prompt_that_never_ends_is_refused() {
    let dir = TestDir::new();
    dir.train_tiny("run", &[]);
    let made = std::process::Command::new("mkfifo").arg(dir.path("pipe")).status().expect("mkfifo");
    assert!(made.success());
    for file in ["pipe", "/dev/zero"] {
        dir.fails(2, &["train", "--config", file], &[file, "not a regular file"]);
        let error = chargru::text::Tokenizer::load(&dir.path(file)).unwrap_err();
        let cause = std::error::Error::source(&error).expect("a cause").to_string();
        assert!(cause.contains("not a regular file"), "{cause}");
    }
    dir.file("large.toml", vec![b'#'; (1 << 20) + 1]);
    dir.fails(2, &["train", "--config", "large.toml"], &["large.toml", "at most 1048576"]);
    let sample = ["sample", "--checkpoint", "run", "--prompt-file", "/dev/zero"];
    dir.fails(1, &sample, &["/dev/zero", "more than 67108864 bytes: give less"]);
    // The paths of a checkpoint are not the user's: they may not name a pipe.
    let config = std::fs::read_to_string(dir.path("run/best/config.json")).expect("config.json");
    let config = config.replace("/tide.txt\"", "/pipe\"");
    dir.file("run/best/config.json", config);
    dir.fails(1, &["eval", "--checkpoint", "run"], &["neither a file nor a folder"]);
}

/// The run's name was `..`: its files were written into the current folder.
#[test]
fn a_corpus_named_of_dots_does_not_leave_the_folder_of_runs() {
    let dir = TestDir::new();
    dir.file("texts/...txt", TIDE.repeat(30));
    let corpus = dir.path("texts/...txt");
    let args = ["train", corpus.to_str().expect("UTF-8"), "--steps", "2", "--hidden", "16"];
    dir.ok(&[&args[..], &["--layers", "1", "--seq-len", "16"]].concat());
    assert!(dir.path("checkpoints/corpus/last").is_dir());
    let names: Vec<_> = std::fs::read_dir(dir.path(".")).expect("the folder").collect();
    assert_eq!(names.len(), 2, "texts and checkpoints: {names:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_path_that_is_not_utf8_can_be_trained_resumed_measured_and_shown() {
    use std::ffi::{OsStr, OsString};
    use std::os::unix::ffi::OsStrExt;
    let dir = TestDir::new();
    let corpus = OsStr::from_bytes(b"caf\xE9.txt");
    std::fs::write(dir.path(".").join(corpus), TIDE.repeat(30)).expect("a file");
    let run = OsStr::from_bytes(b"r\xFFn");
    let ok = |args: &[&OsStr]| {
        let mut command = dir.command(&[]);
        let output = command.args(args).start_and_wait();
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {log}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let os = |text: &str| OsString::from(text);
    let settings = OsStr::from_bytes(b"s\xE9ttings.toml");
    let toml = "hidden = 16\nlayers = 1\nseq-len = 16\nsteps = 3\n";
    std::fs::write(dir.path(".").join(settings), toml).expect("a file");
    ok(&[&os("train"), &os("--corpus"), corpus, &os("--out"), run, &os("--config"), settings]);
    ok(&[&os("train"), &os("--resume"), run, &os("--steps"), &os("5")]);
    ok(&[&os("train"), &os("--resume"), run, &os("--steps"), &os("6"), corpus]);
    ok(&[&os("eval"), &os("--checkpoint"), run]);
    ok(&[&os("eval"), &os("--checkpoint"), run, corpus]);
    ok(&[&os("score"), &os("--checkpoint"), run, corpus]);
    ok(&[&os("sample"), &os("--checkpoint"), run, &os("--prompt-file"), corpus]);
    let info = json(&ok(&[&os("info"), &os("--json"), &os("--checkpoint"), run]));
    let recorded = info["corpus"]["paths"][0]["bytes"].as_array().expect("bytes");
    assert!(recorded.ends_with(&b"caf\xE9.txt".map(serde_json::Value::from)), "{recorded:?}");
    ok(&[&os("info"), &os("--checkpoint"), run]);
}

/// What people type first.
#[test]
fn a_corpus_and_a_prompt_can_be_given_without_their_flags() {
    let dir = TestDir::new();
    dir.file("tide.txt", TIDE.repeat(30));
    dir.file("more.txt", TIDE.repeat(30));
    let small = ["--hidden", "16", "--layers", "1", "--seq-len", "16", "--steps", "3"];
    dir.file("settings.toml", "corpus = 'missing.txt'\nbatch = 4\n");
    let train = ["train", "tide.txt", "more.txt", "--config", "settings.toml"];
    dir.ok(&[&train[..], &small].concat());
    let info = json(&dir.ok(&["info", "--json", "--checkpoint", "checkpoints/tide"]));
    assert_eq!(info["corpus"]["paths"].as_array().map(Vec::len), Some(2));
    assert_eq!(info["training"]["batch"], 4, "only the corpus wins over the file");

    let flag = ["train", "--corpus", "tide.txt", "more.txt", "--out", "flag", "--batch", "4"];
    dir.ok(&[&flag[..], &small].concat());
    let weights = |run: &str| std::fs::read(dir.path(run).join("last/model.safetensors"));
    assert_eq!(weights("flag").expect("weights"), weights("checkpoints/tide").expect("weights"));

    std::fs::rename(dir.path("tide.txt"), dir.path("moved.txt")).expect("moved");
    let resume = ["train", "--resume", "flag", "moved.txt", "more.txt", "--steps", "4"];
    dir.ok(&resume);

    let sample = ["sample", "--checkpoint", "flag", "--seed", "1", "--length", "5"];
    let by_flag = dir.ok(&[&sample[..], &["--prompt", "The "]].concat());
    assert!(by_flag.starts_with("The "), "{by_flag}");
    assert_eq!(dir.ok(&[&sample[..], &["The "]].concat()), by_flag);
    let (code, from_stdin, _) = piped(&dir, &[&sample[..], &["-"]].concat(), b"The ");
    assert_eq!((code, from_stdin), (Some(0), by_flag));

    let eval = |args: &[&str]| dir.ok(&[&["eval", "--checkpoint", "flag"], args].concat());
    assert_eq!(eval(&["moved.txt"]), eval(&["--corpus", "moved.txt"]));
    dir.fails(2, &["train", "moved.txt", "--corpus", "more.txt"], &["--corpus", "PATH"]);
    dir.fails(2, &["eval", "moved.txt", "--corpus", "more.txt"], &["--corpus", "PATH"]);
    dir.fails(2, &["sample", "The", "--prompt", "more"], &["--prompt", "PROMPT"]);
    dir.fails(2, &["sample", "The", "--prompt-file", "more"], &["--prompt-file", "PROMPT"]);
}
