//! Arguments in, text out: the only place that prints. Stdout carries the product (generated text,
//! JSON), stderr the log.

mod args;
mod atomic_file;
mod checkpoint;
mod choice;
mod compare;
mod compare_progress;
mod compare_table;
mod count;
mod device;
mod errors;
mod escape;
mod eval;
mod fill;
mod html;
mod info;
mod inspect;
mod kept_samples;
mod output;
mod preset;
mod progress;
mod proofread;
mod report;
mod resume;
mod sample;
mod score;
#[cfg(feature = "serve")]
mod serve;
mod settings;
mod signals;
mod text_input;
mod time;
mod train;
mod values;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::cli::output::{Outcome, log};
use crate::cli::settings::Settings;
use crate::train::{Job, TextFacts, choose};

/// Learns to write like a text it is shown, one character at a time.
#[derive(Parser)]
#[command(version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  chargru train                                    on the play that ships with the program
  chargru train poems.txt                          on your own text
  chargru train names.txt --documents lines
  chargru sample \"MAREN:\"                          with the newest model
  chargru sample --checkpoint checkpoints/poems --temperature 0.6 --length 1000
  chargru fill \"The l____rn is out.\"              with a model of `train --bidirectional`";

#[derive(Subcommand)]
enum Command {
    /// Train a model on a text
    Train(Box<train::TrainArgs>),
    /// Train several cells on a text under the same budget, and compare them
    Compare(Box<compare::CompareArgs>),
    /// Write text with a trained model
    Sample(sample::SampleArgs),
    /// Measure how well a model predicts a text
    Eval(eval::EvalArgs),
    /// Fill the gaps of a text with a bidirectional model
    Fill(fill::FillArgs),
    /// Tell how likely a model finds a text, line by line or character by character
    Score(score::ScoreArgs),
    /// Look inside a model: what its gates and units do over a text, and which units follow what
    Inspect(inspect::InspectArgs),
    /// Find what both sides of a text find unlikely in it, and say what would be likelier
    Proofread(proofread::ProofreadArgs),
    /// Write a web page of one run or several: curves, samples, settings
    Report(report::ReportArgs),
    /// Serve models over HTTP, with a page to write, read and look inside
    #[cfg(feature = "serve")]
    Serve(serve::ServeArgs),
    /// Show a checkpoint's settings, parameters, corpus and losses
    Info(info::InfoArgs),
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    crate::runtime::prepare_process();
    output::to_terminal();
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return print(&error),
    };
    match run(&matches) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Found) => ExitCode::from(1),
        Ok(Outcome::Interrupted(signal)) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(1)),
        Err(error) if output::is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            log!("error: {}", errors::line(&error));
            // There 1 says that something was found.
            let is_proofread = matches.subcommand_name() == Some("proofread");
            ExitCode::from(if is_proofread { 2 } else { errors::exit_code(&error) })
        }
    }
}

/// The program's arguments.
fn command() -> clap::Command {
    Cli::command().mut_subcommand("compare", compare::adapt)
}

/// Help and version go to stdout with 0, wrong arguments to stderr with 2.
fn print(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let written = error.print();
        let full = written.is_err_and(|error| error.kind() != std::io::ErrorKind::BrokenPipe);
        return ExitCode::from(u8::from(full));
    }
    let nasty = |argument: std::ffi::OsString| {
        let argument = argument.to_string_lossy();
        escape::field(&argument) != argument
    };
    if std::env::args_os().any(nasty) {
        log!("{}", error.to_string().trim_end());
    } else {
        // With colours on a terminal. As with the log, it does not matter if nobody can read it.
        let _ = error.print();
    }
    ExitCode::from(2)
}

/// What `train --config path` would train, not yet checked. For the tests that read broken files.
#[doc(hidden)]
pub fn job_of_settings_file(path: &Path) -> Result<Job> {
    #[derive(Parser)]
    struct Defaults {
        #[command(flatten)]
        settings: Settings,
    }
    let Defaults { settings } = Defaults::try_parse_from(["train"])?;
    let settings = settings.resolve(&BTreeSet::new(), Some(path))?;
    Ok(settings.job(&choose(TextFacts::default(), settings.fixed())))
}

/// The ids of the subcommand's arguments that the user wrote.
fn given(matches: &ArgMatches) -> BTreeSet<String> {
    let command = Cli::command();
    let subcommand = matches.subcommand();
    subcommand
        .and_then(|(name, matches)| Some((command.find_subcommand(name)?, matches)))
        .map(|(command, matches)| args::given_on_command_line(command, matches))
        .unwrap_or_default()
}

fn run(matches: &ArgMatches) -> Result<Outcome> {
    match Cli::from_arg_matches(matches)?.command {
        Command::Train(train) => train::run(*train, given(matches)),
        Command::Compare(compare) => compare::run(*compare, given(matches)),
        Command::Sample(sample) => sample::run(&sample).map(|()| Outcome::Done),
        Command::Eval(eval) => eval::run(&eval).map(|()| Outcome::Done),
        Command::Fill(fill) => fill::run(&fill).map(|()| Outcome::Done),
        Command::Score(score) => score::run(&score).map(|()| Outcome::Done),
        Command::Inspect(inspect) => inspect::run(&inspect).map(|()| Outcome::Done),
        Command::Proofread(proofread) => proofread::run(&proofread),
        Command::Report(report) => report::run(&report).map(|()| Outcome::Done),
        #[cfg(feature = "serve")]
        Command::Serve(serve) => serve::run(&serve).map(|()| Outcome::Done),
        Command::Info(info) => info::run(&info).map(|()| Outcome::Done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }
}
