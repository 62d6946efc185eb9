//! `chargru train --resume`.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};

use crate::checkpoint::RunFolder;
use crate::cli::args::wrong;
use crate::cli::checkpoint;
use crate::cli::device::Target;
use crate::cli::output::log;
use crate::cli::settings::Settings;
use crate::train::{SavedRun, StopReason, Trainer};

/// Flags that may be given with --resume.
const CHANGEABLE: [&str; 11] = [
    "corpus",
    "steps",
    "epochs",
    "time_limit",
    "patience",
    "sample_every",
    "save_every",
    "threads",
    "device",
    "precision",
    "resume",
];

/// The run in the folder `run`, with the end and the other settings that are `given`.
pub(crate) fn resume(
    run: &Path,
    settings: &Settings,
    given: &BTreeSet<String>,
) -> Result<(Trainer, Target)> {
    if let Some(fixed) = given.iter().find(|id| !CHANGEABLE.contains(&id.as_str())) {
        return Err(wrong(format!(
            "--{} cannot change in a run that is resumed: leave it out, or start another run with --init-from",
            fixed.replace('_', "-")
        )));
    }
    checkpoint::threads(settings.threads)?;
    let target = Target::open(&settings.device)?;
    let mut run = SavedRun::open(RunFolder::resume(run)?, &target.device)?;
    run.train.precision = settings.precision.unwrap_or(run.train.precision);
    target.ensure_precision(run.train.precision)?;
    if settings.has_end() {
        run.train.steps = settings.steps;
        run.train.epochs = settings.epochs;
        run.train.time_limit = settings.time_limit.map(|time| time.0);
    }
    run.train.patience = settings.patience.or(run.train.patience);
    run.train.sample_every = settings.sample_every.or(run.train.sample_every);
    if !settings.corpus.is_empty() {
        run.data.paths = settings.corpus.clone();
    }
    let corpus = run
        .data
        .read_corpus()
        .context("the text of the run cannot be read: name it with --corpus if it has moved")?;
    Ok((target.trainer(run.resume(corpus)?)?, target))
}

/// Says from where a run goes on.
pub(crate) fn describe(trainer: &Trainer) {
    log!("resume  after {} steps", trainer.step());
    if let Some((step, loss)) = trainer.newer_best() {
        log!(
            "note    best/ was saved later, at step {step} with validation loss {loss:.4}: it stays until \
             this run reaches that loss again"
        );
    }
    if let Some(reason) = trainer.over() {
        log!("note    {}", why_over(trainer, reason));
    }
}

/// Why a run that is resumed takes no further step, and what makes it go on.
fn why_over(trainer: &Trainer, reason: StopReason) -> String {
    let (step, config) = (trainer.step(), trainer.config());
    match reason {
        StopReason::TimeUp => format!(
            "the run is over: it has taken its time of {}; a longer --time-limit makes it go on",
            humantime::format_duration(config.time_limit.unwrap_or_default())
        ),
        StopReason::Patience => format!(
            "the run is over: its validation loss has not fallen for {} evaluations (--patience); \
             another --steps, --epochs, --time-limit or --patience makes it go on",
            config.patience.unwrap_or_default()
        ),
        StopReason::Finished | StopReason::Stopped => {
            let end = config.total_steps(trainer.data().batches.steps_per_epoch() as u64);
            format!(
                "the run is over: it was to end after {} steps and has taken {step}; --steps above \
                 {step} makes it go on",
                end.unwrap_or(step)
            )
        }
    }
}
