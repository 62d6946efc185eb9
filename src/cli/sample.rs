//! `chargru sample`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::cli::args::wrong;
use crate::cli::checkpoint;
use crate::cli::device::Machine;
use crate::cli::output::{emit, emit_json, emit_text, log, with_final_newline};
use crate::cli::text_input::{read_stdin, read_text};
use crate::data::CorpusRecord;
use crate::generate::{
    FinishReason, LogProbabilities, MAX_SAMPLES, Repetition, Request, Sample, SamplingConfig,
    TextStream, samples, stream,
};
use crate::text::{Corpus, Documents, Encoding, ReadOptions, Tokenizer};

#[derive(Args)]
pub(crate) struct SampleArgs {
    /// Run, or a checkpoint in it [default: the newest run in ./checkpoints]
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Text to go on from, as --prompt takes it; - for stdin
    #[arg(value_name = "PROMPT", conflicts_with_all = ["prompt", "prompt_file"])]
    text: Option<String>,
    /// Text to go on from; without it, and with nothing on stdin, the model begins by itself
    #[arg(long, value_name = "TEXT", conflicts_with = "prompt_file")]
    prompt: Option<String>,
    /// File with the text to go on from, in the encoding of the text of the training; - for stdin
    #[arg(long, value_name = "FILE")]
    prompt_file: Option<PathBuf>,
    /// Most characters to write
    #[arg(long, default_value_t = Request::default().length, value_name = "N")]
    length: usize,
    /// How freely to choose: 0 always takes the likeliest character, 1 follows the model
    #[arg(long, default_value_t = SamplingConfig::default().temperature, value_name = "T", allow_negative_numbers = true)]
    temperature: f32,
    /// Choose among the K likeliest characters only
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Choose among the likeliest characters that together reach this probability
    #[arg(long, default_value_t = SamplingConfig::default().top_p, value_name = "P", allow_negative_numbers = true)]
    top_p: f32,
    /// Choose among the characters that are at least P times as likely as the likeliest
    #[arg(long, default_value_t = SamplingConfig::default().min_p, value_name = "P", allow_negative_numbers = true)]
    min_p: f32,
    /// Make characters less likely that stand in the last --repetition-window: 1 is none, 1.1 is usual
    #[arg(long, default_value_t = Repetition::default().penalty, value_name = "X", allow_negative_numbers = true)]
    repetition_penalty: f32,
    /// Characters that --repetition-penalty looks back
    #[arg(long, default_value_t = Repetition::default().window, value_name = "N")]
    repetition_window: usize,
    /// Text at which to stop, without it; may be given several times. \n is a line's end
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stop: Vec<String>,
    /// The same seed gives the same text; drawn anew if not given
    #[arg(long)]
    seed: Option<u64>,
    /// Texts to write side by side
    #[arg(long, default_value_t = 1, value_name = "N")]
    num: usize,
    /// What to do with a character of the prompt that the model never saw
    #[arg(long, value_enum, default_value_t = Unknown::Error)]
    unknown: Unknown,
    /// Leave the prompt out of what is printed
    #[arg(long)]
    no_prompt: bool,
    /// Print one JSON object a text
    #[arg(long)]
    json: bool,
    /// With --json, the log-probability of each character in nats, and of the N likeliest in its place
    #[arg(long, value_name = "N", requires = "json")]
    logprobs: Option<usize>,
    #[command(flatten)]
    machine: Machine,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Unknown {
    /// Refuse, and name the characters
    Error,
    /// Leave them out
    Skip,
}

impl SampleArgs {
    /// What is asked for, without the prompt.
    fn request(&self) -> Request {
        let stop = self.stop.iter().map(|stop| stop.replace("\\n", "\n"));
        Request {
            prompt: Vec::new(),
            length: self.length,
            sampling: SamplingConfig {
                temperature: self.temperature,
                top_k: self.top_k,
                top_p: self.top_p,
                min_p: self.min_p,
            },
            repetition: Repetition {
                penalty: self.repetition_penalty,
                window: self.repetition_window,
            },
            stop: stop.collect(),
            log_probabilities: self.logprobs,
            seed: self.seed.unwrap_or_else(rand_seed),
            ..Request::default()
        }
    }
}

pub(crate) fn run(args: &SampleArgs) -> Result<()> {
    let mut request = args.request();
    request.validate(usize::MAX)?;
    if !(1..=MAX_SAMPLES).contains(&args.num) {
        return Err(wrong(format!("--num is {}: give a number from 1 to {MAX_SAMPLES}", args.num)));
    }
    let target = args.machine.open()?;
    let checkpoint = checkpoint::checkpoint(args.checkpoint.as_deref(), &target.device)?;
    if checkpoint.config.model.bidirectional {
        log!("writing with the half of this bidirectional model that reads forward");
    }
    let tokenizer = &checkpoint.tokenizer;
    let prompt = read_prompt(args, &checkpoint.config.corpus)?;
    let ids = match args.unknown {
        Unknown::Skip => tokenizer.encode_skipping_unknown(&prompt),
        Unknown::Error => tokenizer
            .encode_known(&prompt)
            .context("the prompt cannot be read; --unknown skip leaves such characters out")?,
    };
    // What is printed is what the model read.
    let prompt = tokenizer.decode(&ids)?;
    request.prompt = ids;
    let network = target.network(&checkpoint)?.pack()?;
    let shown = if args.no_prompt { "" } else { prompt.as_str() };
    if args.num == 1 && !args.json {
        return print_as_it_comes(stream(&network, tokenizer.clone(), &request)?, shown);
    }
    let samples = samples(&network, tokenizer.clone(), &request, args.num)?;
    if args.json {
        return print_json(&samples, tokenizer, &prompt, &request);
    }
    // Single lines need nothing between them; longer texts are told apart by a rule.
    let between = match checkpoint.config.corpus.documents {
        Documents::Lines => "",
        Documents::Off | Documents::Files => "----\n",
    };
    let texts: Vec<String> = samples
        .iter()
        .map(|sample| with_final_newline(format!("{shown}{}", sample.text)))
        .collect();
    emit_text(&texts.join(between))
}

fn print_as_it_comes(stream: TextStream, prompt: &str) -> Result<()> {
    let mut last = prompt.chars().last();
    emit_text(prompt)?;
    for text in stream {
        let text = text?;
        last = text.chars().last().or(last);
        emit_text(&text)?;
    }
    if last != Some('\n') {
        emit("\n")?;
    }
    Ok(())
}

fn print_json(
    samples: &[Sample],
    tokenizer: &Tokenizer,
    prompt: &str,
    request: &Request,
) -> Result<()> {
    let alternatives = request.log_probabilities.is_some_and(|count| count > 0);
    for (index, sample) in samples.iter().enumerate() {
        let mut object = serde_json::json!({
            "prompt": prompt,
            "text": sample.text,
            "sample": index,
            "seed": request.seed,
            "ended": sample.finish == FinishReason::EndOfDocument,
            "stopped": sample.finish == FinishReason::Stop,
        });
        if let Some(tokens) = &sample.tokens {
            // Offsets in `text`.
            let columns = LogProbabilities::new(tokens, tokenizer, 0, alternatives);
            object["logprobs"] = serde_json::to_value(columns)?;
        }
        emit_json(&object)?;
    }
    Ok(())
}

/// Longest prompt, in bytes. A model forgets all but the end of a text long before.
const MAX_PROMPT_BYTES: u64 = 64 << 20;

/// The prompt that is given, or what is piped in, read as the text of the training was.
fn read_prompt(args: &SampleArgs, record: &CorpusRecord) -> Result<String> {
    let from_stdin = || {
        let waiting =
            "waiting for the prompt on standard input; give --prompt TEXT, or < /dev/null";
        read_stdin(MAX_PROMPT_BYTES, &record.read, waiting)
    };
    let text = match (args.text.as_deref(), args.prompt.as_deref(), args.prompt_file.as_deref()) {
        (Some("-"), ..) => from_stdin()?,
        (Some(prompt), ..) | (_, Some(prompt), _) => {
            // An argument is in UTF-8, whatever the files are in.
            let options = ReadOptions { encoding: Encoding::Utf8, ..record.read };
            Corpus::from_reader("the prompt", prompt.as_bytes(), MAX_PROMPT_BYTES, &options)?
        }
        (.., Some(path)) if path == Path::new("-") => from_stdin()?,
        (.., Some(path)) => read_text(path, MAX_PROMPT_BYTES, &record.read)
            .with_context(|| format!("the prompt {} cannot be read", path.display()))?,
        // A pipe or a file was connected on purpose; a terminal waits for nothing.
        _ if !std::io::stdin().is_terminal() => from_stdin()?,
        _ => return Ok(String::new()),
    };
    Ok(record.prompt(text)?)
}

/// A seed nobody chose: the clock's finest digits and the process's number.
pub(crate) fn rand_seed() -> u64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |time| u64::from(time.subsec_nanos()) << 20 ^ time.as_secs());
    now ^ u64::from(std::process::id()) << 40
}
