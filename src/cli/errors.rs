//! An error as a line for a terminal: the fields of the library's settings become flags, and what to do
//! about an error becomes a command.

use std::path::Path;

use crate::cli::args::WrongArgument;
use crate::cli::escape;
use crate::error::{Error, RunProblem};

/// Fields that a flag of another name sets.
const RENAMED: [(&str, &str); 2] = [("paths", "corpus"), ("samples", "num")];

/// The error and its causes, each after the one that it led to. What the library says of a file or a
/// path is on one line, whatever their names hold; the log escapes the rest.
pub(crate) fn line(error: &anyhow::Error) -> String {
    let mut in_checkpoint = false;
    let parts: Vec<String> = error
        .chain()
        .map(|cause| match cause.downcast_ref::<Error>() {
            // A field of config.json, which no flag sets.
            Some(Error::Setting { message, .. }) if in_checkpoint => message.replace('`', ""),
            Some(error) => {
                in_checkpoint |= matches!(error, Error::Checkpoint { .. });
                describe(error)
            }
            None => cause.to_string(),
        })
        .collect();
    parts.join(": ")
}

/// 2 for an error in the arguments, like clap's; 1 for any other.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    let setting = matches!(error.downcast_ref::<Error>(), Some(Error::Setting { .. }));
    if setting || error.is::<WrongArgument>() { 2 } else { 1 }
}

fn describe(error: &Error) -> String {
    match error {
        Error::Run { path, problem } => run_problem(path, problem),
        Error::NoCheckpoint(path) => format!(
            "there is no checkpoint {}: give the folder that `chargru train` named at its end",
            escape::field(&path.to_string_lossy())
        ),
        // Of several lines where it has a backtrace.
        Error::Tensor(error) => error.to_string(),
        error => escape::field(&with_flags(&error.to_string())).into_owned(),
    }
}

fn run_problem(path: &Path, problem: &RunProblem) -> String {
    let run = escape::field(&path.to_string_lossy()).into_owned();
    match problem {
        RunProblem::Exists => format!(
            "{run} holds a run already: continue it with --resume {run}, choose another folder with \
             --out, or replace it with --overwrite"
        ),
        RunProblem::Missing => {
            format!("{run} holds no run to resume: --resume takes the folder that holds last/")
        }
        RunProblem::Locked => format!(
            "another process is training in {run}: wait for it, or choose another folder with --out"
        ),
        RunProblem::Checkpoint => format!(
            "{run} is a checkpoint within a run: give --out the run's own folder, or another one"
        ),
        RunProblem::Foreign { .. } | RunProblem::DiskFull { .. } => {
            format!("{run} {problem} with --out")
        }
        RunProblem::OtherFiles => "the text is the one that the run was trained on, but divided into other \
             files, each of which is a document: name the files as they were with --corpus, or train a \
             copy on the new ones with --init-from"
            .into(),
        RunProblem::OtherText { characters, sha256 } => format!(
            "the text is not the one that the run was trained on ({characters} characters, sha256 \
             {sha256}): name that one with --corpus, or train a copy on the new one with --init-from"
        ),
    }
}

/// A message of the library with every field in backquotes written as the flag that sets it.
pub(crate) fn with_flags(message: &str) -> String {
    let is_field =
        |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let mut rest = message;
    let mut out = String::with_capacity(message.len());
    while let Some((before, quoted)) = rest.split_once('`') {
        out.push_str(before);
        match quoted.split_once('`') {
            Some((field, after)) if is_field(field) => {
                out.push_str(&flag(field));
                rest = after;
            }
            _ => {
                out.push('`');
                rest = quoted;
            }
        }
    }
    out.push_str(rest);
    out
}

/// `--seq-len` for `seq_len`.
fn flag(field: &str) -> String {
    let renamed = RENAMED.iter().find(|(known, _)| *known == field);
    format!("--{}", renamed.map_or(field, |(_, flag)| flag).replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use clap::Args;

    use super::*;
    use crate::cli::settings::Settings;
    use crate::train::Job;

    #[test]
    fn fields_in_backquotes_become_flags_and_nothing_else_does() {
        for (message, line) in [
            ("`seq_len` is 0", "--seq-len is 0"),
            ("lower `batch` or `samples`", "lower --batch or --num"),
            ("`-` is named twice", "`-` is named twice"),
            ("run `chargru train` with `lr` 1", "run `chargru train` with --lr 1"),
            ("an odd ` and `clip`", "an odd ` and --clip"),
            ("", ""),
        ] {
            assert_eq!(with_flags(message), line);
        }
    }

    #[test]
    fn every_setting_that_an_error_names_is_a_flag() {
        type Spoil = fn(&mut Job);
        let bad: [(&str, Spoil); 17] = [
            ("hidden", |job| job.model.hidden = 0),
            ("embedding", |job| job.model.embedding = 0),
            ("layers", |job| job.model.layers = 0),
            ("dropout", |job| job.model.dropout = 1.0),
            ("tie-weights", |job| job.model.tie_weights = true),
            ("val-fraction", |job| job.data.val_fraction = Some(1.0)),
            ("max-vocab", |job| job.data.vocabulary.max_vocab = 0),
            ("batch", |job| job.train.batch = 0),
            ("seq-len", |job| job.train.seq_len = 0),
            ("steps", |job| job.train.steps = Some(0)),
            ("epochs", |job| job.train.epochs = Some(0)),
            ("eval-every", |job| job.train.eval_every = Some(0)),
            ("patience", |job| job.train.patience = Some(0)),
            ("time-limit", |job| job.train.time_limit = Some(std::time::Duration::ZERO)),
            ("lr", |job| job.train.lr = f64::NAN),
            ("weight-decay", |job| job.train.weight_decay = -1.0),
            ("clip", |job| job.train.clip = -1.0),
        ];
        let command = Settings::augment_args(clap::Command::new("train"));
        for (name, spoil) in bad {
            let mut job = Job::default();
            spoil(&mut job);
            let error = anyhow::Error::new(job.validate().unwrap_err());
            let line = line(&error);
            assert!(line.starts_with(&format!("--{name} ")), "{line}");
            assert_eq!(exit_code(&error), 2);
            for flag in line.split([' ', ':']).filter_map(|word| word.strip_prefix("--")) {
                assert!(command.get_arguments().any(|arg| arg.get_long() == Some(flag)), "{line}");
            }
        }
    }

    #[test]
    fn a_chain_is_one_line_and_a_checkpoint_s_fields_are_no_flags() {
        let setting = Error::out_of_range("hidden", 0, "give a number from 1");
        let broken = Error::broken("run/config.json".as_ref(), setting);
        let error = Err::<(), _>(broken).context("the model cannot be read").unwrap_err();
        assert_eq!(
            line(&error),
            "the model cannot be read: run/config.json cannot be used: restore it from a copy, or \
             train again: hidden is 0: give a number from 1"
        );
        assert_eq!(exit_code(&error), 1);
    }

    #[test]
    fn a_run_s_problem_ends_in_a_command() {
        let of = |problem| line(&Error::Run { path: "runs/a".into(), problem }.into());
        assert!(of(RunProblem::Exists).contains("continue it with --resume runs/a, choose"));
        assert!(of(RunProblem::Missing).contains("runs/a holds no run to resume: --resume takes"));
        assert!(of(RunProblem::Locked).contains("training in runs/a: wait for it"));
        let full = of(RunProblem::DiskFull { free_mb: 1, needed_mb: 2 });
        assert!(full.starts_with("runs/a has 1 MB free") && full.ends_with("with --out"), "{full}");
        let other = of(RunProblem::OtherText { characters: 3, sha256: "0af".into() });
        assert!(other.contains("(3 characters, sha256 0af): name that one with --corpus"));
    }
}
