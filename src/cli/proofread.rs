//! `chargru proofread`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::Args;

use crate::checkpoint::Checkpoint;
use crate::cli::args::wrong;
use crate::cli::checkpoint;
use crate::cli::device::Machine;
use crate::cli::escape;
use crate::cli::output::{Outcome, emit, emit_json, emit_text, grouped, log};
use crate::cli::text_input::watched_stdin;
use crate::data::{DataConfig, Part, part_of_corpus};
use crate::error::Error;
use crate::model::BidirectionalNetwork;
use crate::proofread::{FALSE_ALARMS, Finding, Proofreader, Thresholds};
use crate::text::TextBlocks;

/// A paragraph is one line, which is wrapped as wide as the terminal is.
const RULES: &str = "\
Needs a model that was trained with --bidirectional. A text is read as that of the training was: its \
encoding, its line ends, its division into documents; --apply writes it in UTF-8 with the line ends that the \
model knows. A character that the model's vocabulary lacks is reported without a suggestion and left as it is. \
The first and the last character of a text that is not divided into documents are not judged.

Exit code: 0 if nothing was found, 1 if something was, 2 for an error. With --apply 0 also if all that was \
found is corrected.";

#[derive(Args)]
#[command(after_help = RULES)]
pub(crate) struct ProofreadArgs {
    /// Run of a bidirectional model, or a checkpoint in it [default: the newest such run in ./checkpoints]
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Texts of any length: files, or - for stdin
    #[arg(value_name = "FILE", default_value = "-")]
    files: Vec<PathBuf>,
    /// False alarms to accept in 10,000 characters of text without errors, from 1 to 100
    #[arg(long, default_value_t = FALSE_ALARMS, value_name = "R", allow_negative_numbers = true)]
    false_alarms: f64,
    /// Report what makes the text likelier by more than so many nats, whatever the false alarms
    #[arg(
        long,
        value_name = "NATS",
        conflicts_with = "false_alarms",
        allow_negative_numbers = true
    )]
    threshold: Option<f64>,
    /// Write the corrected text, of one file, and nothing else
    #[arg(long, conflicts_with = "json")]
    apply: bool,
    /// Print JSON, one object a finding
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: Machine,
}

pub(crate) fn run(args: &ProofreadArgs) -> Result<Outcome> {
    if args.apply && args.files.len() > 1 {
        return Err(wrong(format!(
            "--apply writes one corrected text, and {} files are named: name one",
            args.files.len()
        )));
    }
    let target = args.machine.open()?;
    let checkpoint = checkpoint::bidirectional(args.checkpoint.as_deref(), &target.device)?;
    let network = target.bidirectional(&checkpoint)?;
    let threshold = match args.threshold {
        Some(threshold) => threshold,
        None => thresholds(&checkpoint, &network)?.threshold(args.false_alarms)?,
    };
    let record = &checkpoint.config.corpus;
    let proofreader =
        Proofreader::new(&network, &checkpoint.tokenizer, record.documents, threshold)?;
    let mut counts = Counts::default();
    for path in &args.files {
        let name =
            if path == Path::new("-") { "standard input".into() } else { path.to_string_lossy() };
        let file: Box<dyn Read> = if path == Path::new("-") {
            Box::new(watched_stdin(
                "waiting for the text on standard input; name a FILE to read that",
            ))
        } else {
            Box::new(File::open(path).map_err(Error::io("read", path))?)
        };
        let blocks = TextBlocks::new(&*name, file, record.read).refuse_binary();
        for checked in proofreader.read(blocks) {
            let checked = checked?;
            counts.characters += checked.text.chars().count() as u64;
            for finding in &checked.findings {
                counts.found += 1;
                counts.left += u64::from(finding.suggestion.is_none());
                if args.json {
                    emit_json(&object(&path.to_string_lossy(), finding))?;
                } else if !args.apply {
                    emit(&line(&path.to_string_lossy(), finding))?;
                }
            }
            if args.apply {
                emit_text(&checked.corrected())?;
            }
        }
    }
    log!("{}", counts.summary(threshold));
    let remaining = if args.apply { counts.left } else { counts.found };
    Ok(if remaining > 0 { Outcome::Found } else { Outcome::Done })
}

/// Those of the checkpoint; of a run that has not ended, measured now.
fn thresholds(checkpoint: &Checkpoint, network: &BidirectionalNetwork) -> Result<Thresholds> {
    let config = &checkpoint.config;
    if let Some(thresholds) = &config.proofread {
        return Ok(thresholds.clone());
    }
    let none = |why: &str| {
        anyhow!(
            "the checkpoint has no threshold, as its run has not ended or has no validation text, and none can \
             be measured: {why}; give --threshold NATS (5 is a usual one: fewer nats find more and are wrong \
             more often)"
        )
    };
    let record = &config.corpus;
    if record.val_fraction == 0.0 {
        return Err(none("the model was trained without validation"));
    }
    if record.paths.iter().any(|path| path == Path::new("-")) {
        return Err(none("the text of the training came from standard input"));
    }
    let corpus = DataConfig::of_record(record)
        .read_corpus()
        .map_err(|error| none("the text of the training cannot be read").context(error))?;
    if !record.is_text_of(&corpus) || !record.is_cut_as(&corpus) {
        return Err(none("the text of the training has changed since"));
    }
    log!("the checkpoint has no threshold: measuring one on the validation text");
    let text = part_of_corpus(corpus, record, &checkpoint.tokenizer, Part::Validation)?;
    Proofreader::measure(network, &checkpoint.tokenizer, &text)
        .context("no threshold can be measured")
}

#[derive(Default)]
struct Counts {
    characters: u64,
    found: u64,
    /// Those without a suggestion.
    left: u64,
}

impl Counts {
    fn summary(&self, threshold: f64) -> String {
        let plural = |count| if count == 1 { "" } else { "s" };
        let unknown = match self.left {
            0 => String::new(),
            1 if self.found == 1 => ", of a character that the model does not know".into(),
            1 => ", one of them a character that the model does not know".into(),
            left => format!(", {} of them characters that the model does not know", grouped(left)),
        };
        format!(
            "{} finding{} in {} character{}{unknown}; the threshold is {threshold:.2} nats",
            grouped(self.found),
            plural(self.found),
            grouped(self.characters),
            plural(self.characters)
        )
    }
}

/// `play.txt:3:17: replacement "x" by "n", 1,100 times likelier: The la[x]tern`
fn line(file: &str, finding: &Finding) -> String {
    let Finding { line, column, kind, found, before, after, .. } = finding;
    let shown = |text: &str| escape::field(&text.escape_debug().to_string()).into_owned();
    let quoted = |text: &str| format!("\"{}\"", shown(text));
    let change = match &finding.suggestion {
        None => quoted(found),
        Some(new) if found.is_empty() => quoted(new),
        Some(new) if new.is_empty() => quoted(found),
        Some(new) => format!("{} by {}", quoted(found), quoted(new)),
    };
    let ratio = match finding.gain_nats {
        None => "not in the vocabulary".into(),
        Some(gain) if gain.exp() < 1e6 => format!("{} times likelier", grouped(gain.exp() as u64)),
        Some(gain) => format!("{:.0e} times likelier", gain.exp()),
    };
    format!(
        "{}:{line}:{column}: {kind} {change}, {ratio}: {}[{}]{}\n",
        escape::field(file),
        escape::field(before),
        shown(found),
        escape::field(after)
    )
}

fn object(file: &str, finding: &Finding) -> serde_json::Value {
    serde_json::json!({
        "file": file,
        "line": finding.line,
        "column": finding.column,
        "kind": finding.kind,
        "found": finding.found,
        "suggestion": finding.suggestion,
        "gain_nats": finding.gain_nats,
        "ratio": finding.gain_nats.map(f64::exp),
        "before": finding.before,
        "after": finding.after,
    })
}
