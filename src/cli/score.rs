//! `chargru score`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use candle_core::Tensor;
use clap::{Args, ValueEnum};

use crate::checkpoint::tensors_to_bytes;
use crate::cli::checkpoint;
use crate::cli::device::Machine;
use crate::cli::output::{bits, emit, emit_json};
use crate::cli::text_input::read_one;
use crate::evaluate::{score_both_sides, score_documents, score_text};
use crate::model::{AnyNetwork, BidirectionalNetwork, Network};
use crate::text::{Corpus, Documents, Tokenizer};

/// A paragraph is one line, which is wrapped as wide as the terminal is.
const RULES: &str = "\
The text is read as that of the training was: its encoding, its line ends, its division into documents. A \
model of --documents lines reads every line that is not empty as a document of its own, one of --documents \
files the whole text as one; the end of a document is predicted and counted too. Any other model reads the \
text from its beginning, where nothing predicts the first character.

A bidirectional model tells how likely each character is given both sides of it (pseudo-likelihood, no \
measure for a model that reads forward only). Then nothing predicts the first and the last character of a \
text, and the end of a document, known from what follows, has no line.";

#[derive(Args)]
#[command(after_help = RULES)]
pub(crate) struct ScoreArgs {
    /// Run, or a checkpoint in it [default: the newest run in ./checkpoints]
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Text to score: a file, or - for stdin
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// What a line of the output is about
    #[arg(long, value_enum, default_value_t = Per::Line)]
    per: Per,
    /// Also write the logits after each character, [N, V] float32, as `logits` in a safetensors file;
    /// those of the documents follow each other, and the end of a document has none. Of a bidirectional
    /// model: the logits of each character that is predicted
    #[arg(long, value_name = "FILE")]
    logits: Option<PathBuf>,
    /// Print JSON, one object a line; `ids` counts what was predicted
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: Machine,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Per {
    /// A character; the end of a document has a line too, in JSON with `"end_of_document": true`
    Char,
    /// A line of the text; the end of a document counts to its last line
    Line,
    /// The text as a whole, which is not repeated
    Text,
}

pub(crate) fn run(args: &ScoreArgs) -> Result<()> {
    let target = args.machine.open()?;
    let checkpoint = checkpoint::checkpoint(args.checkpoint.as_deref(), &target.device)?;
    let tokenizer = &checkpoint.tokenizer;
    let record = &checkpoint.config.corpus;
    let waiting = "waiting for the text on standard input; name a FILE to score that";
    let text = read_one(&args.file, &record.read, waiting)?;
    let keep_logits = args.logits.is_some();
    let (units, logits) = match target.any_network(&checkpoint)? {
        AnyNetwork::Forward(network) => {
            score(&network, tokenizer, &text, record.documents, keep_logits)?
        }
        AnyNetwork::Bidirectional(network) => {
            score_from_both_sides(&network, tokenizer, &text, record.documents, keep_logits)?
        }
    };
    if let (Some(path), Some(logits)) = (&args.logits, &logits) {
        let bytes = tensors_to_bytes(&[("logits".to_string(), logits.clone())])?;
        std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    for span in spans(args.per, &units) {
        span.emit(args.json)?;
    }
    Ok(())
}

/// One id of the text, or the end of a document.
struct Scored<'a> {
    /// None for the end.
    bytes: Option<&'a [u8]>,
    /// None if nothing precedes it, or where both sides are read, if one of them is empty.
    nats: Option<f32>,
    /// The last of a document whose end is not scored.
    last: bool,
}

/// The documents of a text in ids.
fn encode(tokenizer: &Tokenizer, text: &Corpus, documents: Documents) -> Result<Vec<Vec<u32>>> {
    let parts: Vec<&str> = text.documents(documents).collect();
    // All at once, so that an error names all unknown characters.
    tokenizer.encode(&parts.concat())?;
    Ok(parts.into_iter().map(|part| tokenizer.encode(part)).collect::<Result<_, _>>()?)
}

fn score<'a>(
    network: &Network,
    tokenizer: &'a Tokenizer,
    text: &Corpus,
    documents: Documents,
    keep_logits: bool,
) -> Result<(Vec<Scored<'a>>, Option<Tensor>)> {
    let parts = encode(tokenizer, text, documents)?;
    let id = |(&id, nats)| Scored { bytes: Some(tokenizer.bytes_of(id)), nats, last: false };
    if documents == Documents::Off {
        let ids = parts.concat();
        let score = score_text(network, tokenizer, &ids, keep_logits)?;
        return Ok((ids.iter().zip(score.nats).map(id).collect(), score.logits));
    }
    let score = score_documents(network, tokenizer, &parts, keep_logits)?;
    let mut scored = Vec::new();
    for (part, nats) in parts.iter().zip(&score.nats) {
        scored.extend(part.iter().zip(nats.iter().copied().map(Some)).map(id));
        scored.push(Scored { bytes: None, nats: nats.last().copied(), last: false });
    }
    Ok((scored, score.logits))
}

/// [`score`] by a bidirectional network: the ends of documents are not scored.
fn score_from_both_sides<'a>(
    network: &BidirectionalNetwork,
    tokenizer: &'a Tokenizer,
    text: &Corpus,
    documents: Documents,
    keep_logits: bool,
) -> Result<(Vec<Scored<'a>>, Option<Tensor>)> {
    let parts = encode(tokenizer, text, documents)?;
    let score = score_both_sides(network, tokenizer, &parts, keep_logits)?;
    let mut scored = Vec::new();
    for (part, nats) in parts.iter().zip(&score.nats) {
        for (&id, &nats) in part.iter().zip(nats) {
            scored.push(Scored { bytes: Some(tokenizer.bytes_of(id)), nats, last: false });
        }
        if let Some(last) = scored.last_mut() {
            last.last = documents != Documents::Off;
        }
    }
    Ok((scored, score.logits))
}

/// Consecutive ids and their negative log-likelihood.
#[derive(Default)]
struct Span {
    bytes: Vec<u8>,
    /// The end of a document and nothing else.
    end: bool,
    /// Ids and ends that were predicted.
    predicted: usize,
    nats: f64,
}

impl Span {
    fn add(&mut self, scored: &Scored) {
        self.bytes.extend_from_slice(scored.bytes.unwrap_or_default());
        if let Some(nats) = scored.nats {
            self.predicted += 1;
            self.nats += f64::from(nats);
        }
    }

    fn emit(&self, json: bool) -> Result<()> {
        let text = String::from_utf8_lossy(&self.bytes);
        let mean = if self.predicted == 0 { 0.0 } else { bits(self.nats) / self.predicted as f64 };
        if json {
            let mut object = serde_json::json!({
                "text": text,
                "ids": self.predicted,
                "nats": self.nats,
                "bits_per_character": mean,
            });
            if self.end {
                object["end_of_document"] = true.into();
            }
            return emit_json(&object);
        }
        if self.end {
            return emit(&format!("{mean:8.4}  (end of document)\n"));
        }
        // A newline or a tab would break the table.
        emit(&format!("{mean:8.4}  {}\n", text.trim_end_matches('\n').escape_debug()))
    }
}

fn spans(per: Per, scored: &[Scored]) -> Vec<Span> {
    if per == Per::Char {
        let one = |scored: &Scored| {
            let mut span = Span { end: scored.bytes.is_none(), ..Span::default() };
            span.add(scored);
            span
        };
        return scored.iter().map(one).collect();
    }
    let (mut all, mut span) = (Vec::new(), Span::default());
    for (index, one) in scored.iter().enumerate() {
        span.add(one);
        if per == Per::Text {
            span.bytes.clear();
            continue;
        }
        // A document's last newline and its end are of one line.
        let end_follows = scored.get(index + 1).is_some_and(|next| next.bytes.is_none());
        if one.last || one.bytes.is_none_or(|bytes| bytes == b"\n" && !end_follows) {
            all.push(std::mem::take(&mut span));
        }
    }
    if per == Per::Text || !span.bytes.is_empty() {
        all.push(span);
    }
    all
}
