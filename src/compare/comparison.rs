//! The networks trained in turns.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use candle_core::Device;

use crate::checkpoint::{IfExists, RunFolder, ensure_space};
use crate::compare::conclusion::update;
use crate::compare::folder::{check_folder, write};
use crate::compare::plan::{Plan, falling};
use crate::compare::results::{Results, State};
use crate::error::{Error, Result};
use crate::model::Cell;
use crate::text::Corpus;
use crate::train::{Event, Requirements, StopReason, Trainer};

/// Time that a network trains before it is the next one's turn: long beside a step, so that each finds the
/// processor's caches its own, and short beside what else a machine does.
const TURN: Duration = Duration::from_secs(2);

/// Networks that differ in their cell only and train in turns: always the one that has spent the smallest
/// share of its budget goes on. So what slows the machine down for a while slows all of them down.
///
/// ```
/// use std::ops::ControlFlow;
///
/// use chargru::compare::{Comparison, Plan};
/// use chargru::model::Cell;
/// use chargru::text::Corpus;
/// use chargru::train::Job;
///
/// # fn main() -> chargru::Result<()> {
/// let corpus = Corpus::from_text("tide", "The tide comes in, the tide goes out.\n".repeat(40));
/// let mut job = Job::small();
/// job.train.steps = Some(20);
/// let plan = Plan { job, cells: vec![Cell::Gru, Cell::Lstm], ..Plan::default() };
/// let mut comparison = Comparison::start(&plan, &corpus, &chargru::Device::Cpu)?;
/// comparison.run(|_update| ControlFlow::Continue(()))?;
/// for cell in &comparison.results().cells {
///     println!("{} {:?}", cell.cell, cell.best.map(|best| best.val_loss));
/// }
/// # assert!(comparison.results().cells.iter().all(|cell| cell.best.is_some()));
/// # Ok(())
/// # }
/// ```
pub struct Comparison {
    results: Results,
    /// In the order of the results; None for a network that is not trained any more.
    trainers: Vec<Option<Trainer>>,
    /// Where it is saved.
    root: Option<PathBuf>,
    turn: Duration,
}

/// What happened in a comparison.
pub struct Update<'a> {
    /// To this cell.
    pub cell: Cell,
    /// This.
    pub what: What<'a>,
    /// Share of the whole comparison that is done, in [0, 1].
    pub progress: f64,
    /// Time to the end of the whole, at the pace so far.
    pub remaining: Option<Duration>,
}

/// What happened to a cell.
#[non_exhaustive]
pub enum What<'a> {
    /// Its training reported this.
    Event(Event<'a>),
    /// Its training ended.
    Ended {
        /// Why.
        reason: StopReason,
        /// The trainer, which goes now.
        trainer: &'a Trainer,
    },
    /// A figure of its training became infinite or NaN. The others go on.
    Diverged(&'a Error),
}

impl Comparison {
    /// A comparison on `corpus`, at its first step. It is not saved: see [`Comparison::save_in`].
    ///
    /// # Errors
    /// [`Error::Setting`] for a setting outside its range, a text without a validation part, and for networks
    /// that do not fit into memory together; [`Error::Text`] for a text that is too short or has nothing to
    /// learn.
    pub fn start(plan: &Plan, corpus: &Corpus, device: &Device) -> Result<Self> {
        let trainers = plan.start(corpus, device)?;
        let all: Vec<&Trainer> = trainers.iter().collect();
        let results = Results::of(&all, plan.parameters, falling(&plan.losses)?)
            .ok_or_else(|| Error::setting("cells", "`cells` is empty: give at least one"))?;
        Ok(Self::of(results, trainers.into_iter().map(Some).collect()))
    }

    pub(super) fn of(results: Results, trainers: Vec<Option<Trainer>>) -> Self {
        // A short budget has several turns, too.
        let turn = results.training.time_limit.map_or(TURN, |limit| TURN.min(limit / 10));
        Self { results, trainers, root: None, turn }
    }

    /// The comparison with times told for other losses: see [`Plan::losses`].
    ///
    /// # Errors
    /// [`Error::Setting`] for one that is not above zero.
    pub fn with_losses(mut self, losses: &[f64]) -> Result<Self> {
        self.results.losses = falling(losses)?;
        self.results.losses_given = !losses.is_empty();
        update(&mut self.results);
        Ok(self)
    }

    /// The comparison with so much time for a turn; [`Duration::ZERO`] for one step.
    #[must_use]
    pub fn with_turn(self, turn: Duration) -> Self {
        Self { turn, ..self }
    }

    /// The comparison by tensor operations in place of the kernels, as [`Trainer::with_reference`].
    ///
    /// # Errors
    /// Those of [`Trainer::with_reference`].
    pub fn with_reference(mut self) -> Result<Self> {
        self.trainers = self
            .trainers
            .into_iter()
            .map(|trainer| trainer.map(Trainer::with_reference).transpose())
            .collect::<Result<_>>()?;
        Ok(self)
    }

    /// Saves the comparison in the folder `root`: a run of each cell in a folder of its name, and beside them
    /// `compare.json` and, with the feature `cli`, `compare.svg`, which are replaced after evaluations.
    ///
    /// # Errors
    /// Those of [`check_folder`] and [`RunFolder::create`].
    pub fn save_in(self, root: &Path, policy: IfExists) -> Result<Self> {
        let cells: Vec<Cell> = self.results.cells.iter().map(|cell| cell.cell).collect();
        check_folder(root, &cells, policy)?;
        ensure_space(root, self.requirements().disk)?;
        let mut saved = Self::of(self.results, Vec::new());
        for (cell, trainer) in cells.iter().zip(self.trainers) {
            let folder = RunFolder::create(&root.join(cell.name()), policy)?;
            saved.trainers.push(trainer.map(|trainer| trainer.save_in(folder)));
        }
        Ok(Self { root: Some(root.to_path_buf()), turn: self.turn, ..saved })
    }

    /// The comparison whose runs are saved in `root` already.
    pub(super) fn saved_in(self, root: &Path) -> Self {
        Self { root: Some(root.to_path_buf()), ..self }
    }

    /// The figures as they are now.
    pub fn results(&self) -> &Results {
        &self.results
    }

    /// Where it is saved.
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// The memory and the disk that the networks take together.
    pub fn requirements(&self) -> Requirements {
        Requirements::together(self.trainers().map(Trainer::requirements))
    }

    /// What the user should know of the text: see [`TrainingData`](crate::train::TrainingData).
    pub fn notes(&self) -> &[String] {
        self.trainers().next().map_or(&[], |trainer| &trainer.data().notes)
    }

    /// The trainers of the cells that have not ended.
    pub fn trainers(&self) -> impl Iterator<Item = &Trainer> {
        self.trainers.iter().flatten()
    }

    /// Trains every cell to the end of its budget, and tells `observe` what happens. A callback that returns
    /// [`ControlFlow::Break`] stops the comparison and saves all runs. Returns whether it came to its end.
    ///
    /// # Errors
    /// Those of [`Trainer::run`] but a divergence, which ends its cell alone; [`Error::Io`] if compare.json
    /// or compare.svg cannot be written.
    pub fn run(&mut self, mut observe: impl FnMut(Update) -> ControlFlow<()>) -> Result<bool> {
        self.trainers.iter_mut().flatten().try_for_each(Trainer::begin)?;
        self.write()?;
        let pace = Pace::at(self.progress());
        let mut stopped = false;
        while !stopped && let Some(next) = self.furthest_behind() {
            let evaluations = self.results.cells[next].curve.len();
            stopped = self.take_turn(next, &pace, &mut observe)?;
            if self.results.cells[next].curve.len() > evaluations || self.trainers[next].is_none() {
                self.write()?;
            }
        }
        let whole = self.trainers().next().is_none();
        for trainer in self.trainers.iter_mut().flatten() {
            trainer.stop()?;
        }
        self.write()?;
        Ok(whole)
    }

    /// The cell that has spent the smallest share of its budget.
    fn furthest_behind(&self) -> Option<usize> {
        let share = |(index, trainer): (usize, &Option<Trainer>)| {
            trainer.as_ref().map(|trainer| (trainer.progress(), index))
        };
        let shares = self.trainers.iter().enumerate().filter_map(share);
        shares.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, index)| index)
    }

    /// Share of the whole that is done.
    fn progress(&self) -> f64 {
        let share = |trainer: &Option<Trainer>| trainer.as_ref().map_or(1.0, Trainer::progress);
        self.trainers.iter().map(share).sum::<f64>() / self.trainers.len() as f64
    }

    /// Trains one cell for a while. Returns whether the callback stopped the comparison.
    fn take_turn(
        &mut self,
        index: usize,
        pace: &Pace,
        observe: &mut impl FnMut(Update) -> ControlFlow<()>,
    ) -> Result<bool> {
        let (turn, begun) = (self.turn, Instant::now());
        let (whole, count) = (self.progress(), self.trainers.len() as f64);
        let result = &mut self.results.cells[index];
        let Some(trainer) = &mut self.trainers[index] else { return Ok(false) };
        let (cell, config, before) = (result.cell, trainer.config().clone(), trainer.progress());
        let mut progress = whole;
        let mut stopped = false;
        let outcome = trainer.advance(|event| {
            match &event {
                Event::Step(report) => progress = whole + (report.progress - before) / count,
                Event::Evaluated { metrics, .. } => result.add(metrics, &config),
                Event::SampleDue { .. } => {}
            }
            stopped |= observe(pace.update(cell, What::Event(event), progress)).is_break();
            if stopped || begun.elapsed() >= turn {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        result.take_over(trainer);
        let what = match &outcome {
            Ok(None) => return Ok(stopped),
            Ok(Some(summary)) => {
                result.end(summary.reason);
                What::Ended { reason: summary.reason, trainer }
            }
            Err(error @ Error::Diverged { .. }) => {
                result.state = State::Diverged;
                result.note = Some(error.to_string().replace('`', ""));
                What::Diverged(error)
            }
            Err(_) => return outcome.map(|_| stopped),
        };
        progress = whole + (1.0 - before) / count;
        stopped |= observe(pace.update(cell, what, progress)).is_break();
        // Its memory and its folder's lock go.
        self.trainers[index] = None;
        Ok(stopped)
    }

    /// Draws what follows from the figures, and replaces the files.
    fn write(&mut self) -> Result<()> {
        update(&mut self.results);
        match &self.root {
            Some(root) => write(root, &self.results),
            None => Ok(()),
        }
    }
}

/// How fast a comparison goes on.
struct Pace {
    begun: Instant,
    /// Share that was done then.
    from: f64,
}

impl Pace {
    fn at(progress: f64) -> Self {
        Self { begun: Instant::now(), from: progress }
    }

    fn update<'a>(&self, cell: Cell, what: What<'a>, progress: f64) -> Update<'a> {
        Update { cell, what, progress, remaining: self.remaining(progress) }
    }

    /// Time to the end when the share `progress` is done; None while nobody knows.
    fn remaining(&self, progress: f64) -> Option<Duration> {
        let done = progress - self.from;
        let seconds = self.begun.elapsed().as_secs_f64() * (1.0 - progress) / done;
        Duration::try_from_secs_f64(seconds).ok().filter(|_| done > 0.0)
    }
}
