//! `chargru compare`.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Command};

use crate::checkpoint::IfExists;
use crate::cli::args::wrong;
use crate::cli::checkpoint;
use crate::cli::choice::choose_for;
use crate::cli::compare_progress::CompareProgress;
use crate::cli::compare_table::table;
use crate::cli::count::Count;
use crate::cli::device::Target;
use crate::cli::errors::with_flags;
use crate::cli::escape;
use crate::cli::output::{Outcome, emit, emit_json, grouped, layers_of, log};
use crate::cli::settings::Settings;
use crate::cli::signals::Signals;
use crate::cli::time::Time;
use crate::compare::{Comparison, Plan, Results, SavedComparison, State, check_folder};
use crate::model::Cell;
use crate::train::{Choice, TextFacts, choose};

#[derive(Args)]
#[command(after_help = RULES)]
pub(crate) struct CompareArgs {
    /// The text to learn, as --corpus takes it
    #[arg(value_name = "PATH", conflicts_with = "corpus")]
    texts: Vec<PathBuf>,
    /// Cells to compare, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Cell::ALL, value_name = "CELL")]
    cells: Vec<Cell>,
    /// Train each cell for this time (90s, 5m, 1h) [default: 5m if neither --steps nor --epochs is given]
    #[arg(long, value_name = "TIME", conflicts_with_all = ["steps", "epochs"])]
    budget: Option<Time>,
    /// Give each network about so many parameters (500k, 1M) by its hidden size, instead of the same sizes
    #[arg(long, value_name = "N", conflicts_with = "hidden")]
    parameters: Option<Count>,
    /// Tell the times to these validation losses, nats per character (2.0,1.8,1.6) [default: chosen from
    /// the results]
    #[arg(long, value_delimiter = ',', value_name = "NATS")]
    losses: Vec<f64>,
    #[command(flatten)]
    settings: Settings,
    /// Go on with the comparison in this folder; only --losses, --json, --threads, --device and --corpus (if
    /// the text has moved) may be given beside it
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "out", "overwrite"])]
    resume: Option<PathBuf>,
    /// Take settings from a file: `name = value`, by the names of the flags of `train`; flags win
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Replace the comparison that is in the output folder
    #[arg(long)]
    overwrite: bool,
    /// Print one JSON object, that of compare.json, instead of the table
    #[arg(long)]
    json: bool,
}

const RULES: &str = "\
The cells train in turns of about two seconds: always the one that has spent the smallest share of its budget \
goes on, so that a busy machine slows all of them down alike. The time of a cell is that of its training steps; \
evaluations, saves and the turns of the others do not count. A time to a loss is read off the curve, along the \
line between two evaluations.

All settings are the same for each cell. What suits one may not suit another, the learning rate above all: a cell \
that does badly may do better with another --lr. And it is one seed: repeat with another --seed before you believe \
a small difference.

The folder holds a run of each cell, as `train` makes them (for `sample`, `eval`, `train --resume`), compare.json \
with all figures and curves, and compare.svg.

Examples:
  chargru compare poems.txt
  chargru compare poems.txt --cells gru,lstm --parameters 1M --budget 10m
  chargru compare poems.txt --steps 2000 --losses 2.0,1.8,1.6
  chargru compare --resume checkpoints/poems-compare";

/// Flags of `train` without a meaning here, and what is said of them.
const REFUSED: [(&str, &str); 6] = [
    ("cell", "give the cells to compare with --cells"),
    ("bidirectional", "only networks that read forward are compared"),
    ("margin", "it belongs to --bidirectional, and only networks that read forward are compared"),
    ("time_limit", "give the time of each cell with --budget"),
    ("sample_every", "write with one of the runs afterwards: chargru sample --checkpoint"),
    ("save_every", "the runs are saved as often as `train` does without it"),
];

/// Flags that may be given with --resume.
const CHANGEABLE: [&str; 6] = ["corpus", "losses", "json", "threads", "device", "resume"];

/// Time for each cell where no budget is given.
const USUAL_BUDGET: Duration = Duration::from_secs(300);

/// The command with the flags of `train` as they are meant here.
pub(crate) fn adapt(command: Command) -> Command {
    REFUSED
        .iter()
        .fold(command, |command, (id, _)| command.mut_arg(id, |arg| arg.hide(true)))
        .mut_arg("out", |arg| {
            arg.help("Folder of the comparison [default: checkpoints/<name of the corpus>-compare]")
        })
        .mut_arg("steps", |arg| {
            arg.help("Train each cell for this many steps, instead of --budget")
        })
        .mut_arg("epochs", |arg| {
            arg.help("Train each cell for this many readings of the text, instead of --budget")
        })
}

pub(crate) fn run(mut args: CompareArgs, mut given: BTreeSet<String>) -> Result<Outcome> {
    let signals = Signals::install()?;
    if !args.texts.is_empty() {
        // As if they had been given by the flag.
        args.settings.corpus = std::mem::take(&mut args.texts);
        given.remove("texts");
        given.insert("corpus".into());
    }
    if let Some((id, remedy)) = REFUSED.iter().find(|(id, _)| given.contains(*id)) {
        let flag = id.replace('_', "-");
        return Err(wrong(format!("--{flag} cannot be given to `compare`: {remedy}")));
    }
    let json = args.json;
    let (comparison, target) = match args.resume.take() {
        Some(root) => resume(&root, &args, &given)?,
        None => start(args, &given)?,
    };
    drive(target.comparison(comparison)?, json, &signals)
}

/// A new comparison, saved in its folder.
fn start(mut args: CompareArgs, given: &BTreeSet<String>) -> Result<(Comparison, Target)> {
    let config = args.config.take();
    let settings = args.settings.clone().resolve(given, config.as_deref())?;
    checkpoint::threads(settings.threads)?;
    let target = Target::open(&settings.device)?;
    target.ensure_precision(settings.precision.unwrap_or_default())?;
    if settings.time_limit.is_some() {
        return Err(wrong("time-limit of --config: give the time of each cell with --budget"));
    }
    // Before the text is read, which may take minutes: with what would fit any text.
    plan(&args, &settings, &choose(TextFacts::default(), settings.fixed()))?.validate()?;
    let corpus = settings.data().read_corpus()?;
    let choice = choose_for(&corpus, &settings, &target)?;
    let plan = plan(&args, &settings, &choice)?;
    let out = settings.out.clone().unwrap_or_else(|| {
        Path::new(checkpoint::CHECKPOINTS).join(format!("{}-compare", corpus.name()))
    });
    let policy = if args.overwrite { IfExists::Overwrite } else { IfExists::Refuse };
    // Before the text is prepared, which may take minutes.
    check_folder(&out, &plan.cells, policy)?;
    let comparison = Comparison::start(&plan, &corpus, &target.device)?.save_in(&out, policy)?;
    describe(&comparison);
    Ok((comparison, target))
}

/// What is compared. Every cell has the settings that `choice` finds for a GRU, and ends as all others do.
fn plan(args: &CompareArgs, settings: &Settings, choice: &Choice) -> Result<Plan> {
    let mut job = settings.job(choice);
    job.train.sample_every = None;
    job.train.patience = settings.patience;
    (job.train.steps, job.train.epochs) = (settings.steps, settings.epochs);
    job.train.time_limit = match (args.budget, job.train.steps, job.train.epochs) {
        (Some(Time(Duration::ZERO)), ..) => {
            return Err(wrong("--budget is 0: give a time such as 5m"));
        }
        (Some(Time(budget)), ..) => {
            (job.train.steps, job.train.epochs) = (None, None);
            Some(budget)
        }
        (None, None, None) => Some(USUAL_BUDGET),
        _ => None,
    };
    let parameters = args.parameters.map(|count| count.0);
    Ok(Plan { job, cells: args.cells.clone(), parameters, losses: args.losses.clone() })
}

/// The comparison in the folder `root`.
fn resume(
    root: &Path,
    args: &CompareArgs,
    given: &BTreeSet<String>,
) -> Result<(Comparison, Target)> {
    if let Some(fixed) = given.iter().find(|id| !CHANGEABLE.contains(&id.as_str())) {
        return Err(wrong(format!(
            "--{} cannot change in a comparison that is resumed: leave it out, or begin another one in \
             another folder",
            fixed.replace('_', "-")
        )));
    }
    let settings = &args.settings;
    checkpoint::threads(settings.threads)?;
    let target = Target::open(&settings.device)?;
    let mut saved = SavedComparison::open(root)?;
    target.ensure_precision(saved.train().precision)?;
    if !settings.corpus.is_empty() {
        saved.data.paths = settings.corpus.clone();
    }
    let corpus = saved.data.read_corpus().context(
        "the text of the comparison cannot be read: name it with --corpus if it has moved",
    )?;
    let mut comparison = saved.resume(&corpus, &target.device)?;
    if !args.losses.is_empty() {
        comparison = comparison.with_losses(&args.losses)?;
    }
    describe(&comparison);
    for cell in &comparison.results().cells {
        log!("resume  {} after {} steps", cell.cell, grouped(cell.step));
    }
    Ok((comparison, target))
}

fn describe(comparison: &Comparison) {
    let results = comparison.results();
    for note in comparison.notes() {
        log!("note    {}", escape::field(&with_flags(note)));
    }
    log!(
        "text    {}: {} characters; {} train, {} validate",
        escape::field(&results.corpus.name),
        grouped(results.corpus.characters as u64),
        grouped(results.train_ids as u64),
        grouped(results.validation_ids as u64),
    );
    for cell in &results.cells {
        log!(
            "model   {}, {}, {} parameters",
            cell.cell,
            layers_of(cell.layers, cell.hidden),
            grouped(cell.parameters)
        );
    }
    log!("train   {}", budget(results));
    let needs = comparison.requirements();
    log!(
        "needs   {} MB of memory, {} MB of disk",
        grouped(needs.memory().div_ceil(1 << 20)),
        grouped(needs.disk.div_ceil(1 << 20))
    );
    if let Some(root) = comparison.root() {
        log!("folder  {}", shown(root));
    }
}

/// The budget in words.
fn budget(results: &Results) -> String {
    let (config, count) = (&results.training, results.cells.len());
    let ends = [
        config.epochs.map(|epochs| format!("{} epochs", grouped(epochs))),
        config.steps.map(|steps| format!("{} steps", grouped(steps))),
        config.time_limit.map(|time| {
            let all = time.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
            let [each, all] = [time, all].map(|time| humantime::format_duration(time).to_string());
            format!("{each} of steps ({all} in all, and the evaluations)")
        }),
    ];
    let ends: Vec<String> = ends.into_iter().flatten().collect();
    format!(
        "each cell {}, in turns; {} streams x {} characters",
        ends.join(" or "),
        config.batch,
        config.seq_len
    )
}

/// Trains to the end or to a signal, then prints the figures.
fn drive(mut comparison: Comparison, json: bool, signals: &Signals) -> Result<Outcome> {
    let mut progress = CompareProgress::of(&comparison);
    let outcome = comparison.run(|update| {
        progress.update(&update);
        if progress.has_failed() || signals.received().is_some() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    progress.finish()?;
    let whole = outcome?;
    let results = comparison.results();
    if json {
        emit_json(&serde_json::to_value(results)?)?;
    } else {
        emit(&table(results))?;
    }
    if let Some(root) = comparison.root() {
        let root = shown(root);
        log!("the figures are in {root}/compare.json, the curves in {root}/compare.svg");
        if !whole {
            log!("stopped; go on with: chargru compare --resume {root}");
        }
    }
    if results.cells.iter().all(|cell| cell.state == State::Diverged) {
        bail!("every cell diverged: compare with a lower --lr or a lower --clip");
    }
    Ok(signals.received().filter(|_| !whole).map_or(Outcome::Done, Outcome::Interrupted))
}

/// A folder as the log shows it.
fn shown(folder: &Path) -> String {
    escape::field(&folder.to_string_lossy()).into_owned()
}
