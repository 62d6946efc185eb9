//! `chargru eval`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::cli::args::wrong;
use crate::cli::checkpoint;
use crate::cli::device::Machine;
use crate::cli::escape;
use crate::cli::output::{PSEUDO_LIKELIHOOD, bits, emit, emit_json, grouped};
use crate::cli::text_input::{is_pipe, read_text};
use crate::data::{DataConfig, Evaluation, Part, READING_MARGIN, READING_WINDOW, part_of_corpus};
use crate::evaluate::evaluate_any;
use crate::text::MAX_CORPUS_BYTES;

#[derive(Args)]
pub(crate) struct EvalArgs {
    /// Run, or a checkpoint in it [default: the newest run in ./checkpoints]
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Text to measure on: files, folders or - for stdin [default: the text of the training]
    #[arg(long, num_args = 1.., value_name = "PATH")]
    corpus: Vec<PathBuf>,
    /// The text to measure on, as --corpus takes it
    #[arg(value_name = "PATH", conflicts_with = "corpus")]
    texts: Vec<PathBuf>,
    /// Which part of the text
    #[arg(long, value_enum, default_value_t = WhichPart::Auto)]
    part: WhichPart,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: Machine,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WhichPart {
    /// The validation part of the text that the model was trained on, all of any other
    Auto,
    /// All of the text
    All,
    /// The part that training would read
    Train,
    /// The part that training would hold back
    Val,
}

pub(crate) fn run(args: &EvalArgs) -> Result<()> {
    let target = args.machine.open()?;
    let checkpoint = checkpoint::checkpoint(args.checkpoint.as_deref(), &target.device)?;
    let record = &checkpoint.config.corpus;
    let mut data = DataConfig::of_record(record);
    // Only one of the two can be given.
    let paths = [&args.corpus[..], &args.texts[..]].concat();
    let corpus = match &paths[..] {
        [] => data.read_corpus()?,
        // A single text may also be a pipe: a path of a checkpoint may not.
        [one] if is_pipe(one) => read_text(one, MAX_CORPUS_BYTES, &record.read)?,
        _ => {
            data.paths = paths.clone();
            data.read_corpus()?
        }
    };
    let same_text = record.is_text_of(&corpus) && record.is_cut_as(&corpus);
    if paths.is_empty() && !same_text {
        bail!(
            "the text of the training has changed since: name the text to measure on with --corpus"
        );
    }
    let part = match args.part {
        WhichPart::Auto if same_text && record.val_fraction > 0.0 => Part::Validation,
        WhichPart::Auto | WhichPart::All => Part::All,
        WhichPart::Train => Part::Train,
        WhichPart::Val => Part::Validation,
    };
    if part == Part::Validation && record.val_fraction == 0.0 {
        return Err(wrong(
            "--part val: this model was trained without validation (--val-fraction 0)",
        ));
    }
    let name = corpus.name().to_string();
    let tokenizer = &checkpoint.tokenizer;
    let text = part_of_corpus(corpus, record, tokenizer, part)?;
    let bidirectional = checkpoint.config.model.bidirectional;
    let text = if bidirectional {
        Evaluation::bidirectional(text, READING_WINDOW, READING_MARGIN)?
    } else {
        Evaluation::new(text, READING_WINDOW)?
    };
    let result = evaluate_any(&target.any_network(&checkpoint)?, &text, tokenizer)?;
    let nats = result.nats_per_id();
    if !nats.is_finite() {
        bail!("the model's loss is {nats}: its weights are unusable, train it again");
    }
    if args.json {
        let mut object = serde_json::json!({
            "corpus": name,
            "part": part,
            "ids": result.ids,
            "bytes": result.bytes,
            "loss": nats,
            "bits_per_character": bits(nats),
            "perplexity": nats.exp(),
            "bits_per_byte": result.bits_per_byte(),
        });
        if bidirectional {
            object["measure"] = "pseudo-likelihood".into();
        }
        return emit_json(&object);
    }
    let measure = match bidirectional {
        true => format!("measure             {PSEUDO_LIKELIHOOD}\n"),
        false => String::new(),
    };
    emit(&format!(
        "text                {}, {part} part, {} ids\n\
         {measure}\
         loss                {nats:.4} nats per id\n\
         bits per character  {:.4}\n\
         perplexity          {:.4}\n\
         bits per byte       {:.4}\n",
        escape::field(&name),
        grouped(result.ids),
        bits(nats),
        nats.exp(),
        result.bits_per_byte(),
    ))
}
