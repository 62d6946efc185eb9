//! `chargru sample`.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::cli::args::wrong;
use crate::cli::checkpoint;
use crate::cli::device::Machine;
use crate::cli::output::emit;
use crate::generate::{FinishReason, Request, Sample, SamplingConfig, TextStream, samples, stream};
use crate::text::{Documents, Tokenizer, UnknownCharacters};

#[derive(Args)]
pub(crate) struct SampleArgs {
    /// Run, or a checkpoint in it [default: the newest run in ./checkpoints]
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Text to go on from; without it, and with nothing on stdin, the model begins by itself
    #[arg(long, value_name = "TEXT", conflicts_with = "prompt_file")]
    prompt: Option<String>,
    /// File with the text to go on from; - for stdin
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

pub(crate) fn run(args: &SampleArgs) -> Result<()> {
    let sampling =
        SamplingConfig { temperature: args.temperature, top_k: args.top_k, top_p: args.top_p };
    sampling.validate()?;
    if args.num == 0 {
        return Err(wrong("--num is 0: give a number from 1"));
    }
    let target = args.machine.open()?;
    let checkpoint = checkpoint::checkpoint(args.checkpoint.as_deref(), &target.device)?;
    let tokenizer = &checkpoint.tokenizer;
    let prompt = read_prompt(args)?;
    let ids = match args.unknown {
        Unknown::Skip => tokenizer.encode_skipping_unknown(&prompt),
        Unknown::Error => encode_known(tokenizer, &prompt)
            .context("the prompt cannot be read; --unknown skip leaves such characters out")?,
    };
    // What is printed is what the model read.
    let prompt = tokenizer.decode(&ids)?;
    let seed = args.seed.unwrap_or_else(rand_seed);
    let request = Request { prompt: ids, length: args.length, sampling, seed, stream: 0 };
    let network = target.network(&checkpoint)?.pack()?;
    let shown = if args.no_prompt { "" } else { prompt.as_str() };
    if args.num == 1 && !args.json {
        return print_as_it_comes(stream(&network, checkpoint.tokenizer, &request)?, shown);
    }
    let samples = samples(&network, checkpoint.tokenizer, &request, args.num)?;
    if args.json {
        return print_json(&samples, &prompt, seed);
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
    emit(&texts.join(between))
}

/// The prompt's ids; a character that only the unknown id could stand for is an error too.
fn encode_known(tokenizer: &Tokenizer, prompt: &str) -> Result<Vec<u32>> {
    let ids = tokenizer.encode(prompt)?;
    if let Some(unknown) = tokenizer.unknown()
        && ids.contains(&unknown)
    {
        let mut characters: Vec<char> = prompt
            .chars()
            .zip(&ids)
            .filter(|(_, id)| **id == unknown)
            .map(|(character, _)| character)
            .collect();
        characters.sort_unstable();
        characters.dedup();
        return Err(UnknownCharacters { characters }.into());
    }
    Ok(ids)
}

fn print_as_it_comes(stream: TextStream, prompt: &str) -> Result<()> {
    let mut last = prompt.chars().last();
    emit(prompt)?;
    for text in stream {
        let text = text?;
        last = text.chars().last().or(last);
        emit(&text)?;
    }
    if last != Some('\n') {
        emit("\n")?;
    }
    Ok(())
}

fn print_json(samples: &[Sample], prompt: &str, seed: u64) -> Result<()> {
    for (index, sample) in samples.iter().enumerate() {
        let line = serde_json::json!({
            "prompt": prompt,
            "text": sample.text,
            "sample": index,
            "seed": seed,
            "ended": sample.finish == FinishReason::EndOfDocument,
        });
        emit(&format!("{line}\n"))?;
    }
    Ok(())
}

fn with_final_newline(mut text: String) -> String {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// `--prompt`, `--prompt-file`, or what is piped in.
fn read_prompt(args: &SampleArgs) -> Result<String> {
    if let Some(prompt) = &args.prompt {
        return Ok(prompt.clone());
    }
    let from_stdin = || -> Result<String> {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read the prompt from stdin")?;
        Ok(text)
    };
    match &args.prompt_file {
        Some(path) if path == Path::new("-") => from_stdin(),
        Some(path) => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the prompt {}", path.display())),
        // A pipe or a file was connected on purpose; a terminal waits for nothing.
        None if !std::io::stdin().is_terminal() => from_stdin(),
        None => Ok(String::new()),
    }
}

/// A seed nobody chose: the clock's finest digits and the process's number.
fn rand_seed() -> u64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |time| u64::from(time.subsec_nanos()) << 20 ^ time.as_secs());
    now ^ u64::from(std::process::id()) << 40
}
