//! `chargru score`.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::checkpoint::tensors_to_bytes;
use crate::cli::checkpoint;
use crate::cli::device::Machine;
use crate::cli::output::{bits, emit};
use crate::evaluate::{TextScore, score_text};
use crate::text::Corpus;

#[derive(Args)]
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
    /// Also write the logits after each character, [N, V] float32, as `logits` in a safetensors file
    #[arg(long, value_name = "FILE")]
    logits: Option<PathBuf>,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: Machine,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Per {
    Char,
    Line,
    /// The text as a whole, which is not repeated
    Text,
}

pub(crate) fn run(args: &ScoreArgs) -> Result<()> {
    let target = args.machine.open()?;
    let checkpoint = checkpoint::checkpoint(args.checkpoint.as_deref(), &target.device)?;
    let tokenizer = &checkpoint.tokenizer;
    let text = read(&args.file, &checkpoint.config.corpus.read)?;
    let ids = tokenizer.encode(&text)?;
    let network = target.network(&checkpoint)?;
    let score = score_text(&network, tokenizer, &ids, args.logits.is_some())?;
    if let (Some(path), Some(logits)) = (&args.logits, &score.logits) {
        let bytes = tensors_to_bytes(&[("logits".to_string(), logits.clone())])?;
        std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    for span in spans(args.per, &ids, &score, |id| tokenizer.bytes_of(id)) {
        emit(&span.render(args.json))?;
    }
    Ok(())
}

/// Consecutive ids and their negative log-likelihood.
#[derive(Default)]
struct Span {
    bytes: Vec<u8>,
    /// Ids that were predicted: all but the first, if nothing precedes it.
    predicted: usize,
    nats: f64,
}

impl Span {
    fn render(&self, json: bool) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let mean = if self.predicted == 0 { 0.0 } else { bits(self.nats) / self.predicted as f64 };
        if json {
            let object = serde_json::json!({
                "text": text,
                "ids": self.predicted,
                "nats": self.nats,
                "bits_per_character": mean,
            });
            return format!("{object}\n");
        }
        // A newline or a tab would break the table.
        format!("{mean:8.4}  {}\n", text.trim_end_matches('\n').escape_debug())
    }
}

fn spans<'a>(
    per: Per,
    ids: &[u32],
    score: &TextScore,
    bytes_of: impl Fn(u32) -> &'a [u8],
) -> Vec<Span> {
    let mut all = Vec::new();
    let mut span = Span::default();
    for (&id, nats) in ids.iter().zip(&score.nats) {
        let bytes = bytes_of(id);
        span.bytes.extend_from_slice(bytes);
        if let Some(nats) = nats {
            span.predicted += 1;
            span.nats += f64::from(*nats);
        }
        if per == Per::Text {
            span.bytes.clear();
        }
        if per == Per::Char || per == Per::Line && bytes == b"\n" {
            all.push(std::mem::take(&mut span));
        }
    }
    if per == Per::Text || !span.bytes.is_empty() {
        all.push(span);
    }
    all
}

fn read(path: &Path, options: &crate::text::ReadOptions) -> Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read the text from stdin")?;
        return Ok(text);
    }
    Ok(Corpus::read(&[path.to_path_buf()], options)?.into_text())
}
