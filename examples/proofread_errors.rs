//! Measures how well a bidirectional checkpoint finds errors: puts some into the last tenth of a text, one in
//! a hundred characters replaced, deleted, doubled or swapped with the next, and looks for them.
//!
//!     chargru train --bidirectional --out checkpoints/both
//!     cargo run --release --example proofread_errors -- --checkpoint checkpoints/both
//!     cargo run --release --example proofread_errors -- --checkpoint checkpoints/both --text book.txt
//!
//! The text is the one of the training, or the one that ships with the library. An error is found where
//! something is reported within one character of it.

use std::path::PathBuf;
use std::time::Instant;

use chargru::Device;
use chargru::checkpoint::Checkpoint;
use chargru::data::EncodedText;
use chargru::proofread::{FALSE_ALARMS, Finding, Kind, Proofreader};
use chargru::text::{Corpus, Documents};
use rand::{Rng, SeedableRng};

type Failure = Box<dyn std::error::Error>;

const KINDS: [Kind; 4] = [Kind::Replacement, Kind::Insertion, Kind::Deletion, Kind::Transposition];

/// An error that was put in.
struct Planted {
    /// Characters of the text before it.
    place: usize,
    /// What undoes it, and what that puts in.
    kind: Kind,
    repair: String,
}

fn main() -> Result<(), Failure> {
    chargru::runtime::prepare_process();
    let (mut checkpoint, mut text, mut rate) = (PathBuf::from("checkpoints"), None, FALSE_ALARMS);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        match &name[..] {
            "--checkpoint" => checkpoint = value.into(),
            "--text" => text = Some(PathBuf::from(value)),
            "--false-alarms" => rate = value.parse()?,
            _ => return Err(format!("{name} is not --checkpoint, --text or --false-alarms").into()),
        }
    }
    let checkpoint = Checkpoint::open(&checkpoint, &Device::Cpu)?;
    let network = checkpoint.bidirectional(&Device::Cpu)?;
    let tokenizer = &checkpoint.tokenizer;
    let corpus = match text {
        Some(path) => Corpus::read(&[path], &checkpoint.config.corpus.read)?,
        None => Corpus::shipped(),
    };
    let characters: Vec<char> = corpus.text().chars().collect();
    let clean = &characters[characters.len() - characters.len() / 10..];
    let thresholds = match &checkpoint.config.proofread {
        Some(thresholds) => thresholds.clone(),
        None => {
            let text = Corpus::from_text("clean", clean.iter().collect::<String>());
            let text = EncodedText::new(text, tokenizer, Documents::Off)?;
            Proofreader::measure(&network, tokenizer, &text)?
        }
    };
    let threshold = thresholds.threshold(rate)?;
    let proofreader = Proofreader::new(&network, tokenizer, Documents::Off, threshold)?;
    let (noisy, planted) = with_errors(clean);

    let begun = Instant::now();
    let found = proofreader.check(&noisy)?;
    let seconds = begun.elapsed().as_secs_f64();
    let alarms = proofreader.check(&clean.iter().collect::<String>())?.len();
    println!("threshold {threshold:.2} nats, for {rate} false alarms in 10,000 characters");
    println!(
        "clean text: {} characters, {alarms} false alarms, {:.1} in 10,000",
        clean.len(),
        1e4 * alarms as f64 / clean.len() as f64
    );
    println!("{:.0} characters a second", noisy.chars().count() as f64 / seconds);
    report(&noisy, &planted, &found);
    Ok(())
}

/// The text with errors, of each kind about a quarter.
fn with_errors(clean: &[char]) -> (String, Vec<Planted>) {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let (mut noisy, mut planted): (Vec<char>, Vec<Planted>) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < clean.len() {
        let (own, next) = (clean[at], clean.get(at + 1).copied());
        let place = noisy.len();
        let mut plant = |kind, repair: &[char]| {
            planted.push(Planted { place, kind, repair: repair.iter().collect() });
        };
        let which = if rng.random::<f64>() < 0.01 { rng.random_range(0..4) } else { 4 };
        let other = clean[rng.random_range(0..clean.len())];
        match (which, next) {
            (0, _) if other != own => {
                plant(Kind::Replacement, &[own]);
                noisy.push(other);
            }
            (1, _) => plant(Kind::Insertion, &[own]),
            (2, _) => {
                plant(Kind::Deletion, &[]);
                noisy.extend([own, own]);
            }
            (3, Some(next)) if next != own => {
                plant(Kind::Transposition, &[own, next]);
                noisy.extend([next, own]);
                at += 1;
            }
            _ => noisy.push(own),
        }
        at += 1;
    }
    (noisy.iter().collect(), planted)
}

fn report(noisy: &str, all: &[Planted], found: &[Finding]) {
    // Of a finding, how many characters are before it.
    let mut line_starts = vec![0];
    line_starts.extend((1..).zip(noisy.chars()).filter(|(_, c)| *c == '\n').map(|(at, _)| at));
    let place = |f: &Finding| line_starts[f.line as usize - 1] + f.column as usize - 1;
    let near = |f: &Finding, p: &Planted| place(f).abs_diff(p.place) <= 1;
    let undone =
        |f: &Finding, p: &Planted| f.kind == p.kind && f.suggestion.as_ref() == Some(&p.repair);
    println!("              planted  found  recall  reported  precision     F1  suggestion right");
    let line = |name: &str, kind: Option<Kind>| {
        let planted: Vec<_> = all.iter().filter(|p| kind.is_none_or(|k| p.kind == k)).collect();
        let reported: Vec<_> = found.iter().filter(|f| kind.is_none_or(|k| f.kind == k)).collect();
        let seen = planted.iter().filter(|p| found.iter().any(|f| near(f, p))).count();
        let right =
            planted.iter().filter(|p| found.iter().any(|f| near(f, p) && undone(f, p))).count();
        let true_ones = reported.iter().filter(|f| all.iter().any(|p| near(f, p))).count();
        let recall = seen as f64 / planted.len().max(1) as f64;
        let precision = true_ones as f64 / reported.len().max(1) as f64;
        let f1 = 2.0 * recall * precision / (recall + precision).max(1e-9);
        println!(
            "{name:14}{:7}{seen:7}{recall:8.3}{:10}{precision:11.3}{f1:7.3}{:18.3}",
            planted.len(),
            reported.len(),
            right as f64 / seen.max(1) as f64
        );
    };
    for kind in KINDS {
        line(kind.name(), Some(kind));
    }
    line("all", None);
}
