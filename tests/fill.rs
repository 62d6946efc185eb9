//! `chargru fill`: what it prints, and what is wrong use.

use crate::support::{Start, TIDE, TestDir, json};

/// A folder with a bidirectional model of the tide in `both`.
fn trained(more: &[&str]) -> TestDir {
    let dir = TestDir::new();
    let settings = ["--bidirectional", "--steps", "150", "--lr", "0.01", "--hidden", "32"];
    let plain = ["--dropout", "0.25", "--weight-drop", "0", "--weight-decay", "0.01"];
    let run = dir.train_tiny("both", &[&settings[..], &plain, more].concat());
    assert_eq!(run.code, Some(0), "{run:?}");
    dir
}

const FILL: [&str; 3] = ["fill", "--checkpoint", "both"];

#[test]
fn gaps_of_known_and_of_unknown_length_are_filled() {
    let dir = trained(&[]);
    let fill = |args: &[&str]| dir.ok(&[&FILL[..], args].concat());
    assert_eq!(fill(&["The t_de comes in, the"]), "The tide comes in, the\n");
    assert_eq!(
        fill(&["The ____ comes in, the * goes out."]),
        "The tide comes in, the tide goes out.\n"
    );
    // Near gaps are filled together; the text's own newline stays.
    assert_eq!(fill(&["Nob_dy a_k_ it why.\n"]), "Nobody asks it why.\n");
    // Nothing is missing.
    assert_eq!(fill(&["Nobody* asks it why.\n"]), "Nobody asks it why.\n");
    assert_eq!(fill(&["The ti#e", "--gap", "#", "--max-gap", "0"]), "The tide\n");
    // A gap at either end, and nothing but a gap.
    assert_eq!(fill(&["_he tide comes in"]), "The tide comes in\n");
    assert_eq!(fill(&["___"]).chars().count(), 4);
}

#[test]
fn files_and_standard_input_are_filled_as_wholes() {
    let dir = trained(&[]);
    dir.file("a.txt", TIDE.replace("tide", "t__e"));
    dir.file("b.txt", "Nobody asks * why.\n");
    let fill = |args: &[&str]| dir.ok(&[&FILL[..], args].concat());
    assert_eq!(fill(&["--file", "a.txt"]), TIDE);
    assert_eq!(fill(&["--file", "a.txt", "b.txt"]), format!("{TIDE}Nobody asks it why.\n"));
    for more in [&[][..], &["-"], &["--file", "-"]] {
        let mut command = dir.command(&[&FILL[..], more].concat());
        let output =
            command.stdin(std::fs::File::open(dir.path("a.txt")).unwrap()).start_and_wait();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), TIDE, "{more:?}");
    }
}

#[test]
fn an_empty_file_among_others_is_printed_as_nothing() {
    let dir = trained(&[]);
    dir.file("a.txt", "Nobody asks * why.\n");
    dir.file("empty.txt", "");
    let filled = dir.ok(&[&FILL[..], &["--file", "empty.txt", "a.txt", "empty.txt"]].concat());
    assert_eq!(filled, "Nobody asks it why.\n");
}

#[test]
fn fillings_are_drawn_by_seed_and_come_with_their_probabilities() {
    let dir = trained(&[]);
    let fill = |args: &[&str]| dir.ok(&[&FILL[..], args].concat());
    let drawn = ["The ____ comes in, the * goes out.", "--num", "5", "--seed", "3"];
    let first = fill(&drawn);
    assert_eq!(first, fill(&drawn));
    assert_eq!(first, fill(&[&drawn[..], &["--threads", "1"]].concat()));
    let lines: Vec<(f64, &str)> = first
        .lines()
        .map(|line| line.split_once("  ").map(|(p, text)| (p.parse().unwrap(), text)).unwrap())
        .collect();
    assert_eq!(lines.len(), 5);
    assert!(
        lines.windows(2).all(|pair| pair[0].0 >= pair[1].0 && pair[0].1 != pair[1].1),
        "{first}"
    );
    let hot = ["--num", "5", "--seed", "3", "--temperature", "100"];
    assert_ne!(first, fill(&[&drawn[..1], &hot].concat()));

    let best = fill(&[&drawn[..1], &["--json"]].concat());
    let best = json(&best);
    assert_eq!(best["text"], "The tide comes in, the tide goes out.");
    assert_eq!(best["gaps"], serde_json::json!(["tide", "tide"]));
    let probability = best["probability"].as_f64().unwrap();
    assert!(probability > 0.5 && probability <= 1.0, "{best}");
    assert!(best["forward"].as_f64().unwrap() < 0.0 && best["backward"].as_f64().unwrap() < 0.0);
    let likeliest = fill(&[&drawn[..1], &["--num", "2", "--temperature", "0", "--json"]].concat());
    let likeliest: Vec<_> = likeliest.lines().map(json).collect();
    assert_eq!(likeliest.len(), 2);
    assert_eq!((&likeliest[0]["text"], &likeliest[0]["filling"]), (&best["text"], &0.into()));
    assert_eq!(likeliest[0]["probability"], best["probability"]);
    // A text of several lines is told apart by a rule.
    let two = fill(&["in\n_", "--num", "2"]);
    assert_eq!(two.lines().filter(|line| line.starts_with("---- 0.")).count(), 2, "{two}");
}

#[test]
fn lines_are_documents_of_their_own() {
    let dir = trained(&["--documents", "lines"]);
    dir.file("lines.txt", "The tide comes in, the t_de goes out.\n\nplain\nNobody * it why.\n");
    let fill = |args: &[&str]| dir.run(&[&FILL[..], args].concat());
    // A line without a gap is not read: its characters may be outside the vocabulary.
    assert_eq!(
        fill(&["--file", "lines.txt"]).stdout,
        "The tide comes in, the tide goes out.\n\nplain\nNobody asks it why.\n"
    );
    let objects = fill(&["--file", "lines.txt", "--json"]).stdout;
    let lines: Vec<_> = objects.lines().map(|line| json(line)["line"].clone()).collect();
    assert_eq!(lines, [1, 4]);
    // A gap of a whole line.
    assert_eq!(fill(&["___________________"]).stdout, "Nobody asks it why.\n");
}

#[test]
fn a_gap_in_bytes_holds_whole_characters() {
    let dir = TestDir::new();
    dir.file("sea.txt", "La marée monte, la marée descend.\n".repeat(40));
    let settings = ["--bidirectional", "--units", "bytes", "--corpus", "sea.txt"];
    let more = ["--steps", "150", "--lr", "0.01", "--hidden", "32"];
    let run = dir.train_tiny("both", &[&settings[..], &more].concat());
    assert_eq!(run.code, Some(0), "{run:?}");
    let fill = |text: &str| dir.ok(&[&FILL[..], &[text]].concat());
    // é is two bytes.
    assert_eq!(fill("La mar__e monte, la"), "La marée monte, la\n");
    assert_eq!(fill("La mar* monte, la"), "La marée monte, la\n");
    let one = fill("La mar_e monte, la");
    assert!(!one.contains('\u{FFFD}') && one.chars().count() == 19, "{one}");
}

#[test]
fn characters_that_share_the_unknown_id_stay_in_the_text() {
    let dir = TestDir::new();
    dir.file("rare.txt", format!("{}éöø", TIDE.repeat(30)));
    let settings = ["--bidirectional", "--corpus", "rare.txt", "--max-vocab", "24"];
    let run = dir.train_tiny("both", &settings);
    assert_eq!(run.code, Some(0), "{run:?}");
    let filled = dir.ok(&[&FILL[..], &["The ö_é t"]].concat());
    assert!(filled.starts_with("The ö") && filled.ends_with("é t\n"), "{filled}");
}

#[test]
fn weights_so_large_that_no_number_comes_out_are_an_error() {
    let dir = trained(&[]);
    let weights = dir.path("both/best/model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for value in bytes[8 + header..].chunks_exact_mut(4) {
        value.copy_from_slice(&3e38f32.to_le_bytes());
    }
    std::fs::write(&weights, bytes).unwrap();
    dir.fails(1, &[&FILL[..], &["The t_d* in"]].concat(), &["weights are unusable"]);
}

#[test]
fn wrong_use_says_what_to_do() {
    let dir = trained(&[]);
    dir.train_tiny("forward", &[]);
    dir.file("empty.txt", "");
    let fails = |code, args: &[&str], says: &[&str]| {
        dir.fails(code, &[&FILL[..], args].concat(), says);
    };
    dir.fails(
        1,
        &["fill", "--checkpoint", "forward", "a_"],
        &["forward", "reads from left to right only", "--bidirectional"],
    );
    fails(1, &["The tide"], &["no gap", "'_'", "'*' for up to 12", "--gap"]);
    fails(1, &["a*", "--max-gap", "0"], &["no gap"]);
    fails(1, &[&"_".repeat(65)], &["character 65", "at most 64"]);
    fails(1, &["t_de €☃"], &["'☃' U+2603", "'€' U+20AC", "put a gap in the place"]);
    fails(1, &["--file", "empty.txt"], &["empty"]);
    fails(1, &[], &["empty"]);
    // A file that was meant.
    fails(1, &["tide.txt"], &["to fill the file, give --file tide.txt", "no gap"]);
    fails(1, &["--file", "missing.txt"], &["missing.txt"]);
    fails(2, &["a_", "--gap", "ab"], &["--gap", "give one character"]);
    fails(2, &["a_", "--gap", "*"], &["--gap is '*'", "--max-gap 0"]);
    fails(2, &["a_", "--gap", "\n"], &["--gap is a line's end"]);
    fails(2, &["a_", "--max-gap", "65"], &["--max-gap is 65", "to 64"]);
    fails(2, &["a_", "--num", "0"], &["--num is 0"]);
    fails(2, &["a_", "--temperature", "-1"], &["--temperature is -1"]);
    fails(2, &["a_", "--temperature", "nan"], &["--temperature is NaN"]);
    fails(2, &["a_", "--file", "empty.txt"], &["--file"]);
}
