//! `chargru train`.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use crate::checkpoint::{Checkpoint, IfExists, RunFolder, ensure_space};
use crate::cli::args::wrong;
use crate::cli::checkpoint;
use crate::cli::choice;
use crate::cli::device::Target;
use crate::cli::errors::with_flags;
use crate::cli::escape;
use crate::cli::kept_samples::KeptSamples;
use crate::cli::output::{Outcome, PSEUDO_LIKELIHOOD, bits, emit_text, grouped, layers_of, log};
use crate::cli::progress::ProgressDisplay;
use crate::cli::resume;
use crate::cli::settings::Settings;
use crate::cli::signals::Signals;
use crate::cli::time::Time;
use crate::error::Error;
use crate::generate::{Request, samples};
use crate::model::Network;
use crate::text::{Documents, Tokenizer};
use crate::train::{Event, Job, StopReason, Summary, TextFacts, Trainer, choose};

#[derive(Args)]
pub(crate) struct TrainArgs {
    /// The text to learn, as --corpus takes it
    #[arg(value_name = "PATH", conflicts_with = "corpus")]
    texts: Vec<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    /// Go on with the run in this folder; only --steps, --epochs, --time-limit, --patience,
    /// --sample-every, --save-every, --threads, --device, --precision and --corpus (if the text has moved) may
    /// be given beside it
    #[arg(long, value_name = "RUN", conflicts_with_all = ["init_from", "config", "out", "overwrite"])]
    resume: Option<PathBuf>,
    /// Start from the weights and the vocabulary of this checkpoint
    #[arg(long, value_name = "RUN")]
    init_from: Option<PathBuf>,
    /// With --init-from: give characters that the checkpoint does not know rows of their own
    #[arg(long, requires = "init_from")]
    extend_vocab: bool,
    /// Take settings from a file: `name = value`, by the names of the flags; flags win
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Replace the run that is in the output folder
    #[arg(long)]
    overwrite: bool,
}

/// Characters of a sample during and after the training.
const SAMPLE_LENGTH: usize = 400;

pub(crate) fn run(mut args: TrainArgs, mut given: BTreeSet<String>) -> Result<Outcome> {
    let signals = Signals::install()?;
    if !args.texts.is_empty() {
        // As if they had been given by the flag.
        args.settings.corpus = std::mem::take(&mut args.texts);
        given.remove("texts");
        given.insert("corpus".into());
    }
    let (trainer, target) = match &args.resume {
        Some(run) => {
            let (trainer, target) = resume::resume(run, &args.settings, &given)?;
            describe(&trainer);
            resume::describe(&trainer);
            (with_save_interval(trainer, args.settings.save_every), target)
        }
        None => start(args, &given)?,
    };
    drive(trainer, &target, &signals)
}

fn with_save_interval(trainer: Trainer, interval: Option<Time>) -> Trainer {
    match interval {
        Some(time) => trainer.save_every(time.0),
        None => trainer,
    }
}

/// A new run, from initial weights or from those of a checkpoint.
fn start(args: TrainArgs, given: &BTreeSet<String>) -> Result<(Trainer, Target)> {
    let mut settings = args.settings.resolve(given, args.config.as_deref())?;
    checkpoint::threads(settings.threads)?;
    let target = Target::open(&settings.device)?;
    let device = &target.device;
    target.ensure_precision(settings.precision.unwrap_or_default())?;
    // Before the text is read, which may take minutes: with what would fit any text.
    settings.job(&choose(TextFacts::default(), settings.fixed())).validate()?;
    let corpus = settings.data().read_corpus()?;
    let out = settings
        .out
        .clone()
        .unwrap_or_else(|| Path::new(checkpoint::CHECKPOINTS).join(corpus.name()));
    let policy = if args.overwrite { IfExists::Overwrite } else { IfExists::Refuse };
    // Before the text is prepared, which may take minutes.
    RunFolder::check(&out, policy)?;
    let checkpoint = match &args.init_from {
        Some(path) => Some(Checkpoint::open(path, device)?),
        None => None,
    };
    if let Some(checkpoint) = &checkpoint {
        settings.adopt(&checkpoint.config);
    }
    let choice = choice::choose_for(&corpus, &settings, &target)?;
    let mut job = settings.job(&choice);
    choice::describe(&choice, &corpus, &settings);
    let trainer = match &checkpoint {
        None => job.start(corpus, device)?,
        Some(checkpoint) => {
            refuse_other_shape(&job, given, checkpoint)?;
            job.data.vocabulary.units = checkpoint.tokenizer.units();
            job.fine_tune(corpus, checkpoint, args.extend_vocab, device)
                .map_err(with_vocabulary_remedy)?
        }
    };
    // Nothing is written for a run that does not fit.
    ensure_space(&out, trainer.requirements().disk)?;
    let folder = RunFolder::create(&out, policy)?;
    let trainer = with_save_interval(target.trainer(trainer)?.save_in(folder), settings.save_every);
    describe(&trainer);
    Ok((trainer, target))
}

/// A text that the checkpoint has no ids for can still be trained on.
fn with_vocabulary_remedy(error: Error) -> anyhow::Error {
    let unknown = matches!(error, Error::UnknownCharacters(_));
    let error = anyhow::Error::new(error);
    if unknown {
        error.context("a model that goes on keeps its vocabulary: --extend-vocab makes it grow")
    } else {
        error
    }
}

/// Refuses flags that ask for another shape than the checkpoint's weights have.
fn refuse_other_shape(job: &Job, given: &BTreeSet<String>, checkpoint: &Checkpoint) -> Result<()> {
    let (asked, has) = (&job.model, &checkpoint.config.model);
    let units = checkpoint.tokenizer.units();
    for (id, differs) in [
        ("cell", asked.cell != has.cell),
        ("hidden", asked.hidden != has.hidden),
        ("embedding", asked.embedding != has.embedding),
        ("layers", asked.layers != has.layers),
        ("tie_weights", asked.tie_weights != has.tie_weights),
        ("bidirectional", asked.bidirectional != has.bidirectional),
        ("residual", asked.residual != has.residual),
        ("units", job.data.vocabulary.units != units),
    ] {
        if differs && given.contains(id) {
            return Err(wrong(format!(
                "--{} is another than that of {}: leave it out with --init-from",
                id.replace('_', "-"),
                checkpoint.folder.display()
            )));
        }
    }
    Ok(())
}

fn describe(trainer: &Trainer) {
    let (data, config) = (trainer.data(), trainer.config());
    let model = trainer.model();
    for note in &data.notes {
        log!("note    {}", escape::field(&with_flags(note)));
    }
    log!(
        "text    {}: {} characters, {} distinct ids; {} train, {} validate",
        escape::field(&data.record.name),
        grouped(data.record.characters as u64),
        data.tokenizer.vocab_size(),
        grouped(data.train_ids as u64),
        grouped(data.validation_ids as u64),
    );
    log!(
        "model   {}{}{}, {}, {} parameters",
        if model.bidirectional { "bidirectional " } else { "" },
        if model.residual { "residual " } else { "" },
        model.cell,
        layers_of(model.layers, model.hidden),
        grouped(model.parameter_count() as u64)
    );
    let steps_per_epoch = data.batches.steps_per_epoch() as u64;
    let ends: Vec<String> = [
        config.total_steps(steps_per_epoch).map(|steps| format!("{} steps", grouped(steps))),
        config.time_limit.map(|limit| humantime::format_duration(limit).to_string()),
    ]
    .into_iter()
    .flatten()
    .collect();
    log!(
        "train   {}, {} steps an epoch of {} streams x {} characters",
        ends.join(" or "),
        grouped(steps_per_epoch),
        config.batch,
        config.seq_len
    );
    if model.bidirectional {
        log!("loss    {PSEUDO_LIKELIHOOD}");
    }
    let needs = trainer.requirements();
    log!(
        "needs   {} MB of memory, {} MB of disk",
        grouped(needs.memory().div_ceil(1 << 20)),
        grouped(needs.disk.div_ceil(1 << 20))
    );
    if let Some(folder) = trainer.folder() {
        log!("run     {}", shown(folder.root()));
    }
}

/// Runs the training with a progress bar, then shows a sample.
fn drive(mut trainer: Trainer, target: &Target, signals: &Signals) -> Result<Outcome> {
    let mut progress = ProgressDisplay::new();
    let documents = trainer.data().record.documents;
    let mut kept_samples = KeptSamples::new(&trainer);
    let mut failed_sample = None;
    let outcome = trainer.run(|event| {
        match event {
            Event::Step(report) => progress.step(&report),
            Event::Evaluated { metrics, improved, progress: share, network, tokenizer, folder } => {
                progress.evaluated("", metrics, improved);
                let at = (metrics.step, share);
                if let Err(error) = kept_samples.evaluated(at, (network, tokenizer), folder) {
                    failed_sample = Some(error);
                }
            }
            Event::SampleDue { step, network, tokenizer } => {
                match sample(network, tokenizer, documents, step) {
                    Ok(text) => progress.line(&format!("--- step {step}\n{text}\n---")),
                    Err(error) => failed_sample = Some(error),
                }
            }
        }
        if failed_sample.is_some() || signals.received().is_some() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    progress.finish();
    let summary = outcome?;
    if let Some(error) = failed_sample {
        return Err(error);
    }
    if summary.reason != StopReason::Stopped {
        kept_samples.finished(&trainer)?;
    }
    report(&trainer, target, &summary)?;
    match (summary.reason, signals.received()) {
        (StopReason::Stopped, Some(signal)) => Ok(Outcome::Interrupted(signal)),
        _ => Ok(Outcome::Done),
    }
}

fn report(trainer: &Trainer, target: &Target, summary: &Summary) -> Result<()> {
    let Some(folder) = trainer.folder() else {
        return Ok(());
    };
    let root = shown(folder.root());
    if summary.reason == StopReason::Stopped {
        log!("stopped after {} steps; go on with: chargru train --resume {root}", summary.step);
        return Ok(());
    }
    let why = match summary.reason {
        StopReason::TimeUp => "time is up",
        StopReason::Patience => "no better for a while",
        StopReason::Finished | StopReason::Stopped => "done",
    };
    let (what, given) = match trainer.model().bidirectional {
        true => ("pseudo-likelihood", " given both sides"),
        false => ("loss", ""),
    };
    let loss = summary.best_val_loss.map_or_else(String::new, |loss| {
        let bits = bits(loss);
        format!(", best validation {what} {loss:.4} nats ({bits:.4} bits) per character{given}")
    });
    log!(
        "{why} after {} steps in {}{loss}",
        summary.step,
        humantime::format_duration(std::time::Duration::from_secs(summary.elapsed.as_secs()))
    );
    if summary.skipped_steps > 0 {
        log!(
            "{} steps changed no weight, because the gradient was far larger than usual; if they are many, \
             train with a lower --lr",
            grouped(summary.skipped_steps)
        );
    }
    // The sample comes from the checkpoint, not from the network in memory.
    let best = Checkpoint::open(folder.root(), &target.device)?;
    let text = sample(&target.network(&best)?, &best.tokenizer, best.config.corpus.documents, 0)?;
    let written = emit_text(&format!("{}\n", text.trim_end()));
    log!("the checkpoint is {root}; write more with: chargru sample --checkpoint {root}");
    if trainer.model().bidirectional {
        log!("fill gaps with: chargru fill --checkpoint {root} TEXT");
        log!("find typos with: chargru proofread --checkpoint {root} FILE");
    }
    written
}

/// A folder as the log shows it.
fn shown(folder: &Path) -> String {
    escape::field(&folder.to_string_lossy()).into_owned()
}

/// A sample of the network's text.
fn sample(
    network: &Network,
    tokenizer: &Tokenizer,
    documents: Documents,
    seed: u64,
) -> Result<String> {
    let request = Request { length: SAMPLE_LENGTH, seed, ..Request::default() };
    let count = if documents == Documents::Lines { 10 } else { 1 };
    let samples = samples(&network.pack()?, tokenizer.clone(), &request, count)?;
    let texts: Vec<String> = samples.into_iter().map(|sample| sample.text).collect();
    Ok(texts.join("\n"))
}
