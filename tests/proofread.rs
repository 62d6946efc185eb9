//! `chargru proofread` and the library's `Proofreader`.

use std::process::Stdio;
use std::time::Duration;

use chargru::Device;
use chargru::checkpoint::Checkpoint;
use chargru::proofread::{Kind, Proofreader};
use chargru::text::TextBlocks;

use crate::support::{Run, Start, TIDE, TestDir, json};

/// A bidirectional model that has learnt the text.
fn learnt(dir: &TestDir, out: &str, more: &[&str]) -> Run {
    let settings = ["--bidirectional", "--steps", "300", "--lr", "0.02", "--hidden", "32"];
    let plain = ["--dropout", "0.25", "--weight-drop", "0", "--weight-decay", "0.01"];
    let settings = [&settings[..], &plain].concat();
    let run = dir.train_tiny(out, &[&settings[..], more].concat());
    assert_eq!(run.code, Some(0), "{run:?}");
    run
}

/// Every kind of error, away from each other and from the ends.
const CLEAN: &str = "The tide comes in, the tide goes out.\nNobody asks it why.\n\
                     The tide comes in, the tide goes out.\nNobody asks it why.\n\
                     The tide comes in, the tide goes out.\nNobody asks it why.\n";
const TYPOS: &str = "The tide cimes in, the tide goes out.\nNobody asks it why.\n\
                     The tide commes in, the tid goes out.\nNobody asks it why.\n\
                     The tide comes ni, the tide goes out.\nNobody asks it why.\n";

fn proofreader(dir: &TestDir, run: &str, threshold: f64) -> Proofreader {
    let checkpoint = Checkpoint::open(&dir.path(run), &Device::Cpu).unwrap();
    let network = checkpoint.bidirectional(&Device::Cpu).unwrap();
    let documents = checkpoint.config.corpus.documents;
    Proofreader::new(&network, &checkpoint.tokenizer, documents, threshold).unwrap()
}

#[test]
fn planted_typos_are_found_named_and_corrected() {
    let dir = TestDir::new();
    learnt(&dir, "run", &[]);
    dir.file("typos.txt", TYPOS);
    dir.file("clean.txt", CLEAN);
    let args = |more: &[&'static str]| {
        [&["proofread", "--checkpoint", "run", "--threshold", "3"], more].concat()
    };
    let found = dir.run(&args(&["--json", "typos.txt"]));
    assert_eq!(found.code, Some(1), "{found:?}");
    assert!(found.stderr.contains("4 findings in 174 characters"), "{found:?}");
    let found: Vec<_> = found.stdout.lines().map(json).collect();
    let told: Vec<String> = found
        .iter()
        .map(|f| {
            format!(
                "{}:{} {} {}>{}",
                f["line"], f["column"], f["kind"], f["found"], f["suggestion"]
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            r#"1:11 "replacement" "i">"o""#,
            r#"3:12 "deletion" "m">"""#,
            r#"3:28 "insertion" "">"e""#,
            r#"5:16 "transposition" "ni">"in""#,
        ]
    );
    let reference = dir.run(&args(&["--json", "--device", "cpu-reference", "typos.txt"]));
    let reference: Vec<_> = reference.stdout.lines().map(json).collect();
    let places = |found: &[serde_json::Value]| -> Vec<String> {
        found.iter().map(|f| format!("{}:{} {}", f["line"], f["column"], f["suggestion"])).collect()
    };
    assert_eq!(places(&reference), places(&found));
    let ratio = found[0]["ratio"].as_f64().unwrap();
    assert!((ratio.ln() - found[0]["gain_nats"].as_f64().unwrap()).abs() < 1e-9);

    let lines = dir.run(&args(&["typos.txt"]));
    assert_eq!(lines.code, Some(1), "{lines:?}");
    let first = lines.stdout.lines().next().unwrap();
    assert!(first.starts_with("typos.txt:1:11: replacement \"i\" by \"o\", "), "{first}");
    assert!(first.ends_with(" times likelier: The tide c[i]mes in, the tide goes ou"), "{first}");

    let applied = dir.run(&args(&["--apply", "typos.txt"]));
    assert_eq!((applied.code, applied.stdout.as_str()), (Some(0), CLEAN), "{applied:?}");
    let clean = dir.run(&args(&["clean.txt"]));
    assert_eq!((clean.code, clean.stdout.as_str()), (Some(0), ""), "{clean:?}");
    let both = dir.run(&args(&["clean.txt", "typos.txt"]));
    assert_eq!((both.code, both.stdout), (Some(1), lines.stdout));
}

#[test]
fn a_text_cut_into_other_blocks_has_the_same_findings() {
    let dir = TestDir::new();
    for (run, more) in
        [("run", &[][..]), ("lines", &["--documents", "lines"]), ("bytes", &["--units", "bytes"])]
    {
        learnt(&dir, run, more);
        let proofreader = proofreader(&dir, run, 2.0);
        // Several chunks.
        let text = format!("{}{CLEAN}", TYPOS.repeat(120)).repeat(2);
        let whole = proofreader.check(&text).unwrap();
        assert!(whole.len() > 600, "{run}: {}", whole.len());
        for size in [1, 777, 16 * 1024] {
            let blocks = text
                .as_bytes()
                .chunks(size)
                .map(|block| Ok(String::from_utf8(block.to_vec()).unwrap()));
            let (mut findings, mut joined) = (Vec::new(), String::new());
            for checked in proofreader.read(blocks) {
                let checked = checked.unwrap();
                joined.push_str(&checked.text);
                findings.extend(checked.findings);
            }
            assert!(joined == text, "{run}, blocks of {size}");
            assert!(findings == whole, "{run}, blocks of {size}");
        }
    }
}

#[test]
fn an_error_where_two_chunks_meet_is_found_once() {
    let dir = TestDir::new();
    for (run, more) in [("run", &[][..]), ("bytes", &["--units", "bytes"])] {
        learnt(&dir, run, more);
        let proofreader = proofreader(&dir, run, 1.0);
        // A chunk has 16,384 ids, of which each is a character here; the text repeats itself after 58.
        let (chunk, period) = (16_384, 58);
        let text = CLEAN.repeat(110);
        let found = |first: usize, missing: usize| {
            let mut text = text[first..first + chunk + 300].to_string();
            text.remove(missing);
            let parts: Vec<_> =
                proofreader.read([Ok(text)]).collect::<Result<_, _>>().expect("a text");
            assert!(parts.len() == 2 && parts[0].text.len() == chunk);
            let findings = parts.iter().flat_map(|part| part.findings.clone());
            findings.map(|f| (f.column, f.kind, f.suggestion)).collect::<Vec<_>>()
        };
        let mut all = 0;
        for first in 0..period {
            let told = found(first, chunk);
            assert_eq!(told, found(first, chunk - 20 * period), "{run}, {first}: within a chunk");
            all += told.len();
        }
        assert!(all > 30, "{run}: {all}");
    }
}

#[test]
fn what_is_found_does_not_depend_on_the_threads() {
    let dir = TestDir::new();
    learnt(&dir, "run", &["--layers", "2"]);
    dir.file("typos.txt", TYPOS.repeat(50));
    let of = |threads| {
        let args = [
            "proofread",
            "--checkpoint",
            "run",
            "--threshold",
            "1",
            "--json",
            "--threads",
            threads,
        ];
        dir.run(&[&args[..], &["typos.txt"]].concat()).stdout
    };
    let one = of("1");
    assert!(one.lines().count() > 100);
    assert_eq!(one, of("3"));
}

#[test]
fn thresholds_are_measured_when_a_run_ends_and_are_the_same_after_a_resume() {
    let dir = TestDir::new();
    let fixed = "--bidirectional --eval-every 10 --schedule constant --dropout 0.2 --weight-drop 0.1 --weight-decay 0.1";
    let settings = |steps| fixed.split(' ').chain(["--steps", steps]).collect::<Vec<&str>>();
    dir.train_tiny("whole", &settings("40"));
    // Ends, is measured, and goes on to a better `best`.
    dir.train_tiny("parts", &settings("20"));
    let config =
        |run: &str| json(&std::fs::read_to_string(dir.path(run).join("best/config.json")).unwrap());
    let first = config("parts");
    assert_eq!(first["proofread"]["nats"].as_array().unwrap().len(), 7, "{first}");
    dir.ok(&["train", "--resume", "parts", "--steps", "40"]);
    let (whole, parts) = (config("whole"), config("parts"));
    assert_eq!(whole["proofread"], parts["proofread"]);
    assert_ne!(first["proofread"], parts["proofread"]);
    assert_eq!(whole, parts);
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        let read = |run: &str| std::fs::read(dir.path(run).join("best").join(file)).unwrap();
        assert!(read("whole") == read("parts"), "{file}");
    }
    // A run that is over is not measured again.
    dir.ok(&["train", "--resume", "parts"]);
    assert_eq!(config("parts"), parts);
    let last = json(&std::fs::read_to_string(dir.path("whole/last/config.json")).unwrap());
    assert!(last["proofread"].is_null(), "{last}");
    // No table for one direction.
    dir.train_tiny("forward", &[]);
    assert!(config("forward")["proofread"].is_null());
}

#[test]
fn a_run_that_was_stopped_is_measured_when_it_is_needed() {
    let dir = TestDir::new();
    dir.train_tiny("run", &["--bidirectional"]);
    dir.file("text.txt", TIDE);
    let args = ["proofread", "--checkpoint", "run/last", "text.txt"];
    let run = dir.run(&args);
    assert!(run.code == Some(0) || run.code == Some(1), "{run:?}");
    assert!(run.stderr.contains("measuring one on the validation text"), "{run:?}");
    let threshold = run.stderr.lines().last().unwrap().rsplit("is ").next().unwrap().to_string();
    let best = dir.run(&["proofread", "--checkpoint", "run", "text.txt"]);
    assert!(best.stderr.lines().last().unwrap().ends_with(&threshold), "{best:?} {threshold}");
    std::fs::write(dir.path("tide.txt"), TIDE.repeat(31)).unwrap();
    dir.fails(2, &args, &["has changed since", "--threshold NATS"]);
    std::fs::remove_file(dir.path("tide.txt")).unwrap();
    dir.fails(2, &args, &["cannot be read", "--threshold NATS"]);
    let given = dir.run(&[&args[..], &["--threshold", "1000"]].concat());
    assert_eq!(given.code, Some(0), "{given:?}");
    dir.train_tiny("all", &["--bidirectional", "--val-fraction", "0"]);
    let args = ["proofread", "--checkpoint", "all", "text.txt"];
    dir.fails(2, &args, &["trained without validation", "--threshold NATS"]);
}

#[test]
fn characters_that_the_model_does_not_know_are_found_and_left_alone() {
    let dir = TestDir::new();
    learnt(&dir, "run", &[]);
    dir.file("text.txt", "The tide comes in, the t\u{ef}de goes out.\nNobody asks it why.\n");
    let args = ["proofread", "--checkpoint", "run", "--threshold", "1000", "text.txt"];
    let run = dir.run(&args);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(
        run.stdout.starts_with("text.txt:1:25: unknown \"ï\", not in the vocabulary: "),
        "{run:?}"
    );
    let applied = dir.run(&[&args[..], &["--apply"]].concat());
    assert_eq!(applied.code, Some(1), "{applied:?}");
    assert_eq!(applied.stdout, std::fs::read_to_string(dir.path("text.txt")).unwrap());
}

#[test]
fn a_count_of_one_is_singular() {
    let dir = TestDir::new();
    dir.train_tiny("run", &["--bidirectional"]);
    dir.file("one.txt", "\u{ef}");
    let run = dir.run(&["proofread", "--checkpoint", "run", "one.txt"]);
    let told = "1 finding in 1 character, of a character that the model does not know; ";
    assert!(run.code == Some(1) && run.stderr.contains(told), "{run:?}");
}

#[test]
fn an_edit_of_bytes_leaves_whole_characters() {
    let dir = TestDir::new();
    dir.file("tide.txt", "Dér tîde cômes în, thé tide goes öut.\n".repeat(60));
    learnt(&dir, "run", &["--units", "bytes"]);
    let proofreader = proofreader(&dir, "run", 0.0);
    let text =
        "Dér tîde cômes în, thè tide goes öut.\nDér tîde cmes în, thé tode goes ut.\n".repeat(20);
    let checked: Vec<_> = proofreader.read([Ok(text.clone())]).collect::<Result<_, _>>().unwrap();
    let findings: Vec<_> = checked.iter().flat_map(|part| &part.findings).collect();
    assert!(
        findings.iter().any(|f| f.found == "è" && f.suggestion.as_deref() == Some("é")),
        "{findings:?}"
    );
    assert!(findings.iter().all(|f| f.kind != Kind::Unknown));
    for part in &checked {
        for finding in &part.findings {
            assert_eq!(part.text[finding.bytes.clone()], finding.found);
        }
    }
}

#[test]
fn an_edit_of_lines_stays_within_its_line() {
    let dir = TestDir::new();
    dir.file("names.txt", "Anna\nBert\nCarla\nDora\nEmil\n".repeat(40));
    learnt(&dir, "run", &["--corpus", "names.txt", "--documents", "lines"]);
    dir.file("text.txt", "Anna\r\n\r\nCrala\r\nEmilDora\nBertt\nDra\nAnnna");
    let run =
        dir.run(&["proofread", "--checkpoint", "run", "--threshold", "2", "--apply", "text.txt"]);
    let lines: Vec<&str> = run.stdout.split('\n').collect();
    assert_eq!((lines.len(), lines[0], lines[1], lines[2]), (7, "Anna", "", "Carla"), "{run:?}");
    assert_eq!(lines[4..], ["Bert", "Dora", "Anna"], "{run:?}");
}

#[test]
fn wrong_use_says_what_to_do_and_exits_with_two() {
    let dir = TestDir::new();
    dir.train_tiny("run", &["--bidirectional"]);
    dir.train_tiny("forward", &[]);
    dir.file("text.txt", TIDE);
    dir.file("binary", [b"\x7fELF\x02\x01\x01\0\0\0".as_slice(), &[0xd0; 40]].concat());
    dir.file("zero.txt", b"The tide\0comes in".as_slice());
    dir.file("latin1.txt", b"The tide comes \xefn".as_slice());
    dir.file("empty.txt", "");
    let with = |run: &'static str, more: &[&'static str]| {
        [&["proofread", "--checkpoint", run], more].concat()
    };
    dir.fails(2, &with("forward", &["text.txt"]), &["left to right only", "--bidirectional"]);
    dir.fails(2, &with("nowhere", &["text.txt"]), &["no checkpoint nowhere"]);
    dir.fails(
        2,
        &with("run", &["binary"]),
        &["error: binary has a NUL", "offset 7", "binary file"],
    );
    dir.fails(2, &with("run", &["zero.txt"]), &["zero.txt has a NUL", "offset 8", "binary file"]);
    dir.fails(2, &with("run", &["latin1.txt"]), &["latin1.txt is not UTF-8", "0xEF at offset 15"]);
    dir.fails(2, &with("run", &["missing.txt"]), &["cannot read missing.txt"]);
    dir.fails(2, &with("run", &["."]), &["cannot read ."]);
    dir.fails(2, &with("run", &["--threshold", "-1", "text.txt"]), &["--threshold is -1"]);
    dir.fails(2, &with("run", &["--threshold", "nan", "text.txt"]), &["--threshold is NaN"]);
    dir.fails(
        2,
        &with("run", &["--false-alarms", "0", "text.txt"]),
        &["--false-alarms is 0", "from 1 to 100"],
    );
    dir.fails(2, &with("run", &["--apply", "text.txt", "text.txt"]), &["--apply", "name one"]);
    dir.fails(2, &with("run", &["--apply", "--json", "text.txt"]), &["--apply", "--json"]);
    let empty = dir.run(&with("run", &["empty.txt"]));
    assert_eq!((empty.code, empty.stdout.as_str()), (Some(0), ""), "{empty:?}");
}

#[test]
fn a_text_on_stdin_is_read_without_end() {
    use std::io::{BufRead, BufReader, Write};
    let dir = TestDir::new();
    learnt(&dir, "run", &[]);
    let mut child = dir
        .command(&["proofread", "--checkpoint", "run", "--threshold", "3"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .start();
    // What is found comes before the text has ended.
    let mut stdin = child.stdin.take().expect("stdin");
    let writer = std::thread::spawn(move || {
        while stdin.write_all(TYPOS.as_bytes()).is_ok() {
            std::thread::sleep(Duration::from_micros(1));
        }
    });
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let first = lines.next().expect("a line").expect("text");
    assert!(first.starts_with("-:1:11: replacement"), "{first}");
    child.kill().expect("it ends");
    child.wait().expect("it ends");
    writer.join().expect("it ends");
}

#[test]
fn blocks_of_a_file_are_read_by_the_rules_of_a_corpus() {
    let dir = TestDir::new();
    learnt(&dir, "run", &[]);
    let proofreader = proofreader(&dir, "run", 3.0);
    let crlf = TYPOS.replace('\n', "\r\n");
    let blocks = TextBlocks::new("x", crlf.as_bytes(), Default::default());
    let read: Vec<_> = proofreader.read(blocks).map(|part| part.unwrap()).collect();
    let found: Vec<_> = read.iter().flat_map(|part| part.findings.clone()).collect();
    assert_eq!(found, proofreader.check(TYPOS).unwrap());
    assert_eq!(read.iter().map(|part| part.corrected()).collect::<String>(), CLEAN);
}
