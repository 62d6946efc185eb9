//! A saved run, to go on.

use std::path::Path;

use candle_core::Device;

use crate::checkpoint::{Checkpoint, Config, RunFolder, TrainingState};
use crate::data::DataConfig;
use crate::error::{Cause, Error, Result, RunProblem, ensure};
use crate::text::Corpus;
use crate::train::config::TrainConfig;
use crate::train::prepare::TrainingData;
use crate::train::requirements::Requirements;
use crate::train::trainer::Trainer;

/// A run as its last checkpoint left it. Resumed with its settings and its text, it ends with the weights,
/// to the bit, that it would have had without the interruption.
///
/// ```no_run
/// # use chargru::checkpoint::RunFolder;
/// # use chargru::train::SavedRun;
/// # fn main() -> chargru::Result<()> {
/// let folder = RunFolder::resume("checkpoints/poems".as_ref())?;
/// let mut run = SavedRun::open(folder, &chargru::Device::Cpu)?;
/// run.train.steps = Some(5000);
/// let corpus = run.data.read_corpus()?;
/// let trainer = run.resume(corpus)?;
/// # Ok(())
/// # }
/// ```
pub struct SavedRun {
    /// The settings of the training. Only those that do not alter what a step does may change: where
    /// the run ends, `patience`, `sample_every`. A run that its `patience` ended goes on only with another
    /// end or another patience, and then waits that long for a better validation loss.
    pub train: TrainConfig,
    /// Where the text was read from, and how.
    pub data: DataConfig,
    /// The settings that the run was saved with.
    saved: TrainConfig,
    checkpoint: Checkpoint,
    state: TrainingState,
    folder: RunFolder,
    device: Device,
}

impl SavedRun {
    /// Reads the last checkpoint of the run in `folder`.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Checkpoint`] for a file that is missing or broken.
    pub fn open(folder: RunFolder, device: &Device) -> Result<Self> {
        let checkpoint = Checkpoint::open(&folder.last(), device)?;
        let state = checkpoint.training(device)?;
        let saved: TrainConfig = serde_json::from_value(checkpoint.config.training.clone())
            .map_err(|cause| not_resumable(&checkpoint.folder, cause))?;
        let data = DataConfig::of_record(&checkpoint.config.corpus);
        let (train, device) = (saved.clone(), device.clone());
        Ok(Self { train, data, saved, checkpoint, state, folder, device })
    }

    /// A trainer that goes on with the run on `corpus` and saves into its folder.
    ///
    /// # Errors
    /// [`Error::Setting`] for a setting outside its range; [`Error::Run`] for another text than the
    /// run was trained on; [`Error::Checkpoint`] for a training state that does not fit.
    pub fn resume(self, corpus: Corpus) -> Result<Trainer> {
        let Self { train, data, saved, checkpoint, mut state, folder, device } = self;
        train.validate()?;
        let waited = &mut state.record.evaluations_since_best;
        if saved.patience.is_some_and(|patience| *waited >= patience) && goes_on(&saved, &train) {
            *waited = 0;
        }
        let record = &checkpoint.config.corpus;
        let problem = |problem| Error::Run { path: folder.root().to_path_buf(), problem };
        ensure!(
            record.is_text_of(&corpus),
            problem(RunProblem::OtherText {
                characters: record.characters,
                sha256: record.sha256.clone(),
            })
        );
        ensure!(record.is_cut_as(&corpus), problem(RunProblem::OtherFiles));
        let weights = checkpoint.var_map()?;
        let tokenizer = checkpoint.tokenizer.clone();
        let (data, train) = TrainingData::prepare(
            corpus,
            &data,
            Some(tokenizer),
            &train,
            checkpoint.config.model.bidirectional,
        )?;
        Requirements::check(&checkpoint.config.model, &train, &data, &device)?;
        let mut trainer = Trainer::new(&checkpoint.config.model, &weights, data, train, &device)?;
        trainer.restore(state).map_err(|cause| not_resumable(folder.root(), cause))?;
        trainer.recall(&checkpoint.config.progress);
        folder.rewind(trainer.step())?;
        if let Some(best) = folder.best_config() {
            if trainer.step() == 0 && !is_same_run(&best, &checkpoint.config) {
                // A crash stopped a new run that was about to remove the best of an older one.
                folder.remove_best()?;
            } else if best.progress.step > trainer.step() {
                trainer.newer_best = best.progress.val_loss.map(|loss| (best.progress.step, loss));
            }
        }
        Ok(trainer.save_in(folder))
    }
}

/// Whether two checkpoints are of runs that give the same weights, whatever their end.
fn is_same_run(a: &Config, b: &Config) -> bool {
    let settings = |config: &Config| -> Option<TrainConfig> {
        let train: TrainConfig = serde_json::from_value(config.training.clone()).ok()?;
        let (steps, epochs, time_limit, patience, sample_every) = Default::default();
        Some(TrainConfig { steps, epochs, time_limit, patience, sample_every, ..train })
    };
    let text =
        |config: &Config| DataConfig { paths: Vec::new(), ..DataConfig::of_record(&config.corpus) };
    a.model == b.model
        && a.corpus.sha256 == b.corpus.sha256
        && text(a) == text(b)
        && settings(a) == settings(b)
}

/// Whether `train` ends a run otherwise than `saved`.
fn goes_on(saved: &TrainConfig, train: &TrainConfig) -> bool {
    let ends = |c: &TrainConfig| (c.steps, c.epochs, c.time_limit, c.patience);
    ends(saved) != ends(train)
}

fn not_resumable(folder: &Path, cause: impl Into<Cause>) -> Error {
    Error::Checkpoint {
        path: folder.to_path_buf(),
        message: format!("{} cannot be resumed", folder.display()),
        source: Some(cause.into()),
    }
}
