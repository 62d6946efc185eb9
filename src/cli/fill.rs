//! `chargru fill`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use crate::cli::checkpoint;
use crate::cli::device::Machine;
use crate::cli::escape;
use crate::cli::output::{emit, emit_json, emit_text, log, with_final_newline};
use crate::cli::sample::rand_seed;
use crate::cli::text_input::{read_stdin, read_text};
use crate::error::Error;
use crate::fill::{FillOptions, Filler, Filling};
use crate::text::{Corpus, Documents, Encoding, MAX_CORPUS_BYTES, ReadOptions};

/// A paragraph is one line, which is wrapped as wide as the terminal is.
const RULES: &str = "\
In the text, each _ is a missing character, and a * stands for some or none, up to --max-gap; gaps that touch \
are one, so that _* is at least one character. A gap is filled as a whole by what stands on both sides of it. \
In a model of --units bytes each _ is a byte: one for a letter of English, two for most other letters.

Texts are read as that of the training was: their encoding, their line ends, their division into documents. A \
model of --documents lines fills every line that has a gap as a text of its own; a line without one is printed \
as it is, and with --num or --json left out. Where no document ends, a text that begins or ends with a gap is \
taken to begin or to end a line.

A probability is the share among the fillings that were weighed; where gaps are far apart, the product of \
those of each given the best filling of the others. It is no probability that the text was so.

Examples:
  chargru fill \"The l____rn is out.\"
  chargru fill \"The * is out.\" --num 5
  chargru fill --file damaged.txt > whole.txt";

#[derive(Args)]
#[command(after_help = RULES)]
pub(crate) struct FillArgs {
    /// Run of a bidirectional model, or a checkpoint in it [default: the newest such run in ./checkpoints]
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Text with gaps; - or nothing for stdin
    #[arg(value_name = "TEXT", conflicts_with = "file")]
    text: Option<String>,
    /// Files with gaps, each a text; - for stdin
    #[arg(long, value_name = "FILE", num_args = 1..)]
    file: Vec<PathBuf>,
    /// Stands for one missing character; everywhere in the text, so choose one that the text lacks
    #[arg(long, value_name = "CHAR", value_parser = one_character, default_value_t = FillOptions::default().gap)]
    gap: char,
    /// Most characters that a * stands for; with 0 a * is text
    #[arg(long, value_name = "N", default_value_t = FillOptions::default().max_gap)]
    max_gap: usize,
    /// Draw N different fillings and print each with its probability, the likeliest first [default: the
    /// likeliest alone]
    #[arg(long, value_name = "N")]
    num: Option<usize>,
    /// How freely to draw with --num: 0 takes the likeliest, 1 follows their probabilities
    #[arg(long, value_name = "T", default_value_t = FillOptions::default().temperature, allow_negative_numbers = true)]
    temperature: f64,
    /// The same seed draws the same fillings; drawn anew if not given
    #[arg(long)]
    seed: Option<u64>,
    /// Print one JSON object a filled text; `forward` and `backward` are log-likelihoods in nats of the gaps and
    /// what is next to them, read from the left and from the right
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: Machine,
}

fn one_character(text: &str) -> Result<char, String> {
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(one), None) => Ok(one),
        _ => Err("give one character, such as _ or #".into()),
    }
}

pub(crate) fn run(args: &FillArgs) -> Result<()> {
    let options = FillOptions {
        gap: args.gap,
        max_gap: args.max_gap,
        num: args.num,
        temperature: args.temperature,
        seed: args.seed.unwrap_or_else(rand_seed),
    };
    options.validate()?;
    let target = args.machine.open()?;
    let checkpoint = checkpoint::bidirectional(args.checkpoint.as_deref(), &target.device)?;
    let network = target.bidirectional(&checkpoint)?;
    let record = &checkpoint.config.corpus;
    let texts = read(args, &record.read)?;
    let filler = Filler::new(&network, checkpoint.tokenizer)?;
    let lines = record.documents == Documents::Lines;
    let printer = Printer { args, options: &options };
    if !texts.iter().any(|text| options.has_gap(text.text())) {
        // Says what is missing.
        let whole: String = texts.iter().map(Corpus::text).collect();
        filler.fill(&whole, &options).with_context(|| match args.text.as_deref() {
            Some(text) if Path::new(text).is_file() => format!(
                "{0} is taken as the text; to fill the file, give --file {0}",
                escape::field(text)
            ),
            _ => "nothing can be filled".to_string(),
        })?;
    }
    for text in &texts {
        // An empty text has no line, and nothing is printed of it.
        let parts = match text.text() {
            "" => Vec::new(),
            text if lines => text.lines().collect(),
            text => vec![text],
        };
        for (index, part) in parts.into_iter().enumerate() {
            if !options.has_gap(part) {
                printer.without_gap(part)?;
                continue;
            }
            let fillings = filler.fill(part, &options).map_err(|error| match error {
                Error::UnknownCharacters(_) => anyhow::Error::new(error).context(
                    "the text cannot be read; put a gap in the place of such characters, or leave them out",
                ),
                error => error.into(),
            });
            let place = || match lines {
                true => format!("{}, line {}", escape::field(text.name()), index + 1),
                false => escape::field(text.name()).into_owned(),
            };
            let of_many = lines || texts.len() > 1;
            let fillings = if of_many { fillings.with_context(place)? } else { fillings? };
            printer.fillings(&fillings, text.name(), lines.then_some(index + 1))?;
        }
    }
    Ok(())
}

/// The text that is given, the files, or what is piped in, read as the text of the training was.
fn read(args: &FillArgs, options: &ReadOptions) -> Result<Vec<Corpus>> {
    let from_stdin = || {
        let waiting = "waiting for the text on standard input; give TEXT, or --file FILE";
        read_stdin(MAX_CORPUS_BYTES, options, waiting)
    };
    match &args.text {
        Some(text) if text != "-" => {
            // An argument is in UTF-8, whatever the files are in.
            let options = ReadOptions { encoding: Encoding::Utf8, ..*options };
            Ok(vec![Corpus::from_reader("the text", text.as_bytes(), MAX_CORPUS_BYTES, &options)?])
        }
        None if !args.file.is_empty() => {
            let of = |path: &PathBuf| match path == Path::new("-") {
                true => from_stdin(),
                false => read_text(path, MAX_CORPUS_BYTES, options),
            };
            args.file.iter().map(of).collect()
        }
        _ => Ok(vec![from_stdin()?]),
    }
}

/// Prints filled texts as the arguments say.
struct Printer<'a> {
    args: &'a FillArgs,
    options: &'a FillOptions,
}

impl Printer<'_> {
    /// A text without a gap stands between filled ones only where these are printed alone.
    fn without_gap(&self, text: &str) -> Result<()> {
        if self.args.json || self.options.num.is_some() {
            return Ok(());
        }
        emit(&with_final_newline(text.into()))
    }

    fn fillings(&self, fillings: &[Filling], source: &str, line: Option<usize>) -> Result<()> {
        if let Some(num) = self.options.num
            && fillings.len() < num
        {
            log!("{num} fillings were asked for, but only {} were likely enough", fillings.len());
        }
        for (index, filling) in fillings.iter().enumerate() {
            if self.args.json {
                self.json(filling, source, line, index)?;
                continue;
            }
            let text = with_final_newline(filling.text.clone());
            match self.options.num {
                None => emit_text(&text)?,
                Some(_) if text.lines().count() == 1 => {
                    emit_text(&format!("{:.4}  {text}", filling.probability))?;
                }
                // Texts of several lines are told apart by a rule.
                Some(_) => emit_text(&format!("---- {:.4}\n{text}", filling.probability))?,
            }
        }
        Ok(())
    }

    fn json(
        &self,
        filling: &Filling,
        source: &str,
        line: Option<usize>,
        index: usize,
    ) -> Result<()> {
        let mut object = serde_json::json!({
            "text": filling.text,
            "gaps": filling.gaps,
            "probability": filling.probability,
            "forward": filling.forward,
            "backward": filling.backward,
        });
        if !self.args.file.is_empty() {
            object["file"] = source.into();
        }
        if let Some(line) = line {
            object["line"] = line.into();
        }
        if self.options.num.is_some() {
            object["filling"] = index.into();
            object["seed"] = self.options.seed.into();
        }
        emit_json(&object)
    }
}
