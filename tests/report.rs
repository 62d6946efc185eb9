//! `chargru report`, and the samples that it shows.

use std::fs;
use std::path::Path;

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::support::{TIDE, TestDir, json};

/// The page, once it has been read to its end as XML, which it also is.
fn well_formed(page: String) -> String {
    let mut reader = Reader::from_str(&page);
    let mut open = Vec::new();
    loop {
        match reader.read_event().unwrap_or_else(|error| panic!("{error}: {page}")) {
            Event::Start(tag) => open.push(tag.name().into_inner().to_string()),
            Event::End(_) => drop(open.pop().expect("an open element")),
            Event::Eof => break,
            _ => {}
        }
    }
    assert!(open.is_empty(), "{open:?}");
    page
}

fn report(dir: &TestDir, runs: &[&str]) -> String {
    well_formed(dir.ok(&[&["report", "--out", "-"], runs].concat()))
}

fn samples(dir: &TestDir, run: &str) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(dir.path(run).join("samples.jsonl")).expect("samples");
    text.lines().map(json).collect()
}

#[test]
fn a_report_is_one_page_that_needs_nothing_beside_it() {
    let dir = TestDir::new();
    dir.train_tiny("run", &["--eval-every", "5"]);
    assert_eq!(dir.ok(&["report", "run"]), "");
    let page = well_formed(fs::read_to_string(dir.path("run/report.html")).expect("the report"));
    for part in [
        "Training of run",
        "What the losses say",
        "nats per character",
        "Loss over steps",
        "Loss over time",
        "Learning rate",
        "Norm of the gradient",
        "characters a second",
        "Samples along the way",
        "step 5, validation loss",
        "seq-len",
        "the end: about",
        "rnn.weight_hh_l0",
        "default-src 'none'",
    ] {
        assert!(page.contains(part), "{part} is missing");
    }
    for other in ["<script", "src=", "href=", "@import", "url(", "<link"] {
        assert!(!page.contains(other), "{other}");
    }
    // The only address is the name of the SVG format.
    let charts = page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count();
    assert_eq!(page.matches("http").count(), charts + page.matches("http-equiv").count());
    // A report is replaced, and is the same again.
    dir.ok(&["report", "run"]);
    assert_eq!(fs::read_to_string(dir.path("run/report.html")).expect("the report"), page);
    // The run can be overwritten with a report in its folder.
    assert_eq!(dir.train_tiny("run", &["--overwrite"]).code, Some(0));
}

#[test]
fn several_runs_are_overlaid_and_the_settings_that_differ_are_marked() {
    let dir = TestDir::new();
    dir.train_tiny("a/run", &["--eval-every", "10"]);
    dir.train_tiny("b/run", &["--eval-every", "10", "--cell", "lstm"]);
    dir.train_tiny("c", &["--eval-every", "10"]);
    let page = report(&dir, &["a/run", "b/run", "c"]);
    let row = |name: &str| page.split("<tr").find(|row| row.contains(name)).expect("a row");
    assert!(row(">cell ").contains("differs"), "{}", row(">cell "));
    assert!(!row(">hidden<").contains("differs"), "{}", row(">hidden<"));
    // Two folders of one name are called by their paths.
    for name in ["a/run", "b/run", "c"] {
        assert!(page.contains(&format!("<th scope=\"col\">{name}</th>")), "{name}");
    }
    assert!(page.contains("solid: validation, dashed: training"));
    // Runs of one shape share a table of tensors.
    assert!(page.contains("<h3>a/run, c</h3>"), "{page}");
    // Named twice, shown once.
    assert_eq!(report(&dir, &["c", "c"]), report(&dir, &["c"]));
}

#[test]
fn a_pseudo_likelihood_is_not_drawn_beside_a_loss() {
    let dir = TestDir::new();
    dir.train_tiny("forward", &["--eval-every", "10"]);
    dir.train_tiny("both", &["--eval-every", "10", "--bidirectional"]);
    dir.train_tiny("bytes", &["--eval-every", "10", "--units", "bytes"]);
    let page = report(&dir, &["forward", "both", "bytes"]);
    let charts: Vec<&str> = page.split("<figure>").skip(1).collect();
    let of = |title: &str, unit: &str| {
        let found = |chart: &&&str| chart.contains(title) && chart.contains(unit);
        charts.iter().find(found).unwrap_or_else(|| panic!("{title} {unit}"))
    };
    for (title, unit, name) in [
        ("Loss over steps", "nats per character", "forward"),
        ("Loss over steps", "nats per byte", "bytes"),
        ("Pseudo-likelihood over steps", "nats per character", "both"),
    ] {
        for other in ["forward", "bytes", "both"] {
            let has = of(title, unit).contains(&format!("\n{other}\n"));
            assert_eq!(has, name == other, "{title} {unit} {other}");
        }
    }
    assert!(page.contains("the pseudo-likelihood, given both sides"));
}

#[test]
fn nothing_in_a_text_is_markup() {
    let dir = TestDir::new();
    dir.file("a&amp;'b.txt", "<i>&amp;</i> <script>\u{1b}[31m\n".repeat(60));
    dir.train_tiny("run", &["--corpus", "a&amp;'b.txt", "--eval-every", "10"]);
    let kept = samples(&dir, "run");
    assert!(kept.iter().any(|sample| sample["text"].as_str().expect("text").contains('<')));
    let page = report(&dir, &["run"]);
    for raw in ["<script", "<i>", "\u{1b}", "a&amp;'b"] {
        assert!(!page.contains(raw), "{raw:?}");
    }
    assert!(page.contains("a&amp;amp;&#39;b"), "the name of the text");
}

/// The demos have neither samples nor norms.
#[test]
fn a_run_of_an_older_version_is_shown_with_what_it_has() {
    let demos = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints");
    let demos = ["demo", "demo-bidirectional"].map(|demo| demos.join(demo));
    let demos = demos.each_ref().map(|demo| demo.to_str().expect("UTF-8"));
    let page = report(&TestDir::new(), &demos);
    assert!(page.contains("Loss over steps") && page.contains("Pseudo-likelihood over steps"));
    for demo in demos {
        if Path::new(demo).join("samples.jsonl").exists() {
            return;
        }
    }
    assert!(page.contains("None: the run was not trained by the program"));
}

#[test]
fn a_report_of_what_is_no_run_says_so() {
    let dir = TestDir::new();
    dir.train_tiny("run", &[]);
    fs::create_dir(dir.path("empty")).expect("a folder");
    dir.fails(1, &["report", "nowhere"], &["there is no checkpoint nowhere"]);
    dir.fails(1, &["report", "empty"], &["empty holds no run: give the folder of a run"]);
    dir.fails(1, &["report", "run/best"], &["best holds no run"]);
    dir.fails(1, &["report"], &["there is no run in ./checkpoints yet"]);
    dir.fails(1, &["report", "run", "--out", "nowhere/report.html"], &["cannot write nowhere"]);
    let notes = dir.file("notes.html", "<p>mine</p>");
    dir.fails(1, &["report", "run", "--out", "notes.html"], &["is no report of chargru"]);
    assert_eq!(fs::read_to_string(notes).expect("the notes"), "<p>mine</p>");
    fs::write(dir.path("run/last/config.json"), "{").expect("written");
    dir.fails(1, &["report", "run"], &["config.json cannot be used"]);
}

#[test]
fn metrics_that_are_broken_or_missing_are_left_out() {
    let dir = TestDir::new();
    dir.train_tiny("run", &["--eval-every", "5"]);
    let path = dir.path("run/metrics.jsonl");
    let mut bytes = fs::read(&path).expect("metrics");
    bytes.extend(b"\xFF\xFE not UTF-8\n{\"step\":3");
    fs::write(&path, bytes).expect("written");
    let run = dir.run(&["report", "run"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stderr.contains("2 lines of its metrics cannot be read"), "{run:?}");
    for rest in [Some("{\"step\""), Some(""), None] {
        match rest {
            Some(text) => fs::write(&path, text).expect("written"),
            None => fs::remove_file(&path).expect("removed"),
        }
        let page = report(&dir, &["run"]);
        assert!(page.contains("has not been evaluated yet"), "{rest:?}");
        assert!(page.contains("no points to draw"), "{rest:?}");
    }
    dir.train_tiny("whole", &["--val-fraction", "0", "--eval-every", "5"]);
    assert!(report(&dir, &["whole"]).contains("The run has no validation text"));
}

#[test]
fn a_run_that_trains_can_be_reported_on() {
    let dir = TestDir::new();
    dir.file("tide.txt", TIDE.repeat(30));
    let args = "train --corpus tide.txt --out run --hidden 16 --layers 1 --batch 4 --seq-len 16 \
                --steps 100000 --eval-every 5 --save-every 0s";
    let args: Vec<&str> = args.split_whitespace().collect();
    let mut child = dir.start_until(&args, "run/samples.jsonl");
    for _ in 0..20 {
        let page = report(&dir, &["run"]);
        assert!(page.contains("of 100,000 steps"), "{page}");
    }
    child.kill().expect("killed");
    child.wait().expect("it ends");
}

#[test]
fn samples_are_kept_along_the_way_and_go_with_the_run() {
    let dir = TestDir::new();
    let settings = ["--steps", "64", "--eval-every", "2"];
    dir.train_tiny("run", &settings);
    let steps = |run: &str| -> Vec<u64> {
        samples(&dir, run).iter().map(|sample| sample["step"].as_u64().expect("a step")).collect()
    };
    assert_eq!(steps("run"), [2, 4, 8, 16, 32, 64]);
    for sample in samples(&dir, "run") {
        assert_eq!(sample["text"].as_str().expect("text").chars().count(), 300);
    }
    let first = fs::read(dir.path("run/samples.jsonl")).expect("samples");
    dir.train_tiny("again", &settings);
    assert!(fs::read(dir.path("again/samples.jsonl")).expect("samples") == first);
    // A new run has its own.
    dir.train_tiny("run", &["--overwrite", "--steps", "8", "--eval-every", "4"]);
    assert_eq!(steps("run"), [4, 8]);
    // One that goes on has those before it, as far as it had come.
    dir.ok(&["train", "--resume", "run", "--steps", "32"]);
    assert_eq!(steps("run"), [4, 8, 16, 32]);
    dir.train_tiny("lines", &["--documents", "lines", "--eval-every", "30"]);
    assert!(samples(&dir, "lines")[0]["text"].as_str().expect("text").chars().count() <= 300);
    dir.train_tiny("timed", &["--steps", "100000", "--time-limit", "1s", "--eval-every", "5"]);
    let kept = steps("timed");
    assert!((2..=7).contains(&kept.len()) && kept[0] == 5, "{kept:?}");
}

/// The mean that a run goes on with is made so small that every gradient is far above it.
#[test]
fn skipped_steps_are_counted_by_the_log_the_metrics_and_the_report() {
    let dir = TestDir::new();
    let run = dir.train_tiny("run", &["--steps", "20", "--eval-every", "10"]);
    assert!(run.code == Some(0) && !run.stderr.contains("changed no weight"), "{run:?}");
    let path = dir.path("run/last/training.json");
    let mut state = json(&fs::read_to_string(&path).expect("training.json"));
    assert_eq!(state["gradient_norms"]["count"], 20);
    state["gradient_norms"]["mean"] = 1e-9.into();
    state["gradient_norms"]["count"] = 200.into();
    fs::write(&path, state.to_string()).expect("written");
    let run = dir.run(&["train", "--resume", "run", "--steps", "60"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    // A line for the first four and the eighth of ten.
    assert_eq!(run.stderr.matches("skipped: the gradient's norm is").count(), 5, "{run:?}");
    assert!(run.stderr.contains("10 steps changed no weight, because the gradient"), "{run:?}");
    let metrics = fs::read_to_string(dir.path("run/metrics.jsonl")).expect("metrics");
    let skipped = |line: &str| json(line)["skipped_steps"].as_u64().expect("a count");
    assert_eq!(metrics.lines().map(skipped).collect::<Vec<_>>(), [0, 0, 10, 10, 10, 10]);
    assert!(report(&dir, &["run"]).contains("10 steps changed no weight"));
}
