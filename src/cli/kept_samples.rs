//! What the network writes at a few moments of a training, kept in the run's folder for `chargru report`. A
//! sample is drawn from a copy of the weights and from a random stream of its own, so the training is the same
//! with and without it.

use anyhow::Result;

use crate::checkpoint::{KeptSample, RunFolder, read_samples};
use crate::generate::{Request, samples};
use crate::model::Network;
use crate::text::{Documents, Tokenizer};
use crate::train::Trainer;

/// Characters of a sample.
const LENGTH: usize = 300;
/// Of documents that are lines, so many are written, each of at most so many characters.
const LINES: (usize, usize) = (10, 100);
/// A network of so many parameters writes six samples in a fraction of a second; a larger one writes less, but
/// at least a quarter.
const PARAMETERS: usize = 4_000_000;
/// From this share of the run on, there is a sample each time the share has doubled.
const FIRST_SHARE: f64 = 1.0 / 16.0;

/// The last sample: its step, and the share of the run that was done, if this process kept it.
#[derive(Clone, Copy)]
struct Last {
    step: u64,
    share: Option<f64>,
}

pub(crate) struct KeptSamples {
    last: Option<Last>,
    /// An evaluation of this process.
    has_evaluated: bool,
    documents: Documents,
    length: usize,
    seed: u64,
}

impl KeptSamples {
    /// For a run that begins or goes on.
    pub(crate) fn new(trainer: &Trainer) -> Self {
        let kept = trainer.folder().and_then(|folder| read_samples(folder.root()).ok());
        let parameters = trainer.model().parameter_count().max(1);
        Self {
            // What an older run has left there is removed when this one begins.
            last: kept
                .filter(|_| trainer.step() > 0)
                .and_then(|kept| Some(Last { step: kept.last()?.step, share: None })),
            has_evaluated: false,
            documents: trainer.data().record.documents,
            length: (LENGTH.saturating_mul(PARAMETERS) / parameters).clamp(LENGTH / 4, LENGTH),
            seed: trainer.config().seed,
        }
    }

    /// After an evaluation, when this share of the run is done: keeps a sample if it is time for one.
    pub(crate) fn evaluated(
        &mut self,
        (step, share): (u64, f64),
        (network, tokenizer): (&Network, &Tokenizer),
        folder: Option<&RunFolder>,
    ) -> Result<()> {
        self.has_evaluated = true;
        let Some(folder) = folder.filter(|_| is_due(self.last, step, share)) else {
            return Ok(());
        };
        self.keep(step, (network, tokenizer), folder)?;
        self.last = Some(Last { step, share: Some(share) });
        Ok(())
    }

    /// At the end of a run: keeps a last sample, if the last evaluation kept none.
    pub(crate) fn finished(&self, trainer: &Trainer) -> Result<()> {
        let folder = trainer.folder().filter(|_| self.has_evaluated);
        let Some(folder) =
            folder.filter(|_| self.last.is_none_or(|last| last.step != trainer.step()))
        else {
            return Ok(());
        };
        self.keep(trainer.step(), (trainer.network(), &trainer.data().tokenizer), folder)
    }

    fn keep(
        &self,
        step: u64,
        (network, tokenizer): (&Network, &Tokenizer),
        folder: &RunFolder,
    ) -> Result<()> {
        let (count, length) = match self.documents {
            Documents::Lines => (LINES.0, LINES.1.min(self.length)),
            _ => (1, self.length),
        };
        let request = Request { length, seed: self.seed, ..Request::default() };
        let written = samples(&network.pack()?, tokenizer.clone(), &request, count)?;
        let texts: Vec<String> = written.into_iter().map(|sample| sample.text).collect();
        let text = texts.join("\n").chars().take(LENGTH).collect();
        Ok(folder.append_sample(&KeptSample { step, text })?)
    }
}

/// Whether a sample is due at `step`, when this share of the run is done: the first one, and one each time the
/// share has passed 1/16, 1/8, 1/4, 1/2 and 1 since the last. Where the share at the last one is not known, as a
/// process before this one kept it, it follows from the steps, so that a run of so many steps that was resumed
/// keeps the samples of one that was not.
fn is_due(last: Option<Last>, step: u64, share: f64) -> bool {
    let doublings = |share: f64| (share * (1.0 + 1e-9) / FIRST_SHARE).max(0.5).log2().floor();
    last.is_none_or(|last| {
        let then = last.share.unwrap_or(share * last.step as f64 / step.max(1) as f64);
        doublings(share) > doublings(then)
    })
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::Device;
    use crate::checkpoint::IfExists;
    use crate::text::Corpus;
    use crate::train::{Event, Job};

    #[test]
    fn samples_along_the_way_change_no_bit_of_the_training() {
        let temp = tempfile::tempdir().unwrap();
        let train = |name: &str, keeps: bool| {
            let mut job = Job::small();
            (job.model.hidden, job.train.steps, job.train.eval_every) = (16, Some(40), Some(5));
            job.model.dropout = 0.2;
            let corpus = Corpus::from_text("tide", "The tide comes in, it goes out.\n".repeat(50));
            let root = temp.path().join(name);
            let folder = RunFolder::create(&root, IfExists::Refuse).unwrap();
            let mut trainer = job.start(corpus, &Device::Cpu).unwrap().save_in(folder);
            let mut kept = KeptSamples::new(&trainer);
            let observe = |event: Event| {
                if let Event::Evaluated { metrics, progress, network, tokenizer, folder, .. } =
                    event
                    && keeps
                {
                    let at = (metrics.step, progress);
                    kept.evaluated(at, (network, tokenizer), folder).unwrap();
                }
                ControlFlow::Continue(())
            };
            trainer.run(observe).unwrap();
            let files = ["last/model.safetensors", "last/training.safetensors"];
            let steps =
                read_samples(&root).unwrap().into_iter().map(|s| s.step).collect::<Vec<_>>();
            (files.map(|file| std::fs::read(root.join(file)).unwrap()), steps)
        };
        let (with, without) = (train("with", true), train("without", false));
        assert!(with.0 == without.0);
        assert_eq!((with.1, without.1), (vec![5, 10, 20, 40], vec![]));
    }

    #[test]
    fn samples_are_kept_at_the_first_evaluation_and_each_time_the_share_has_doubled() {
        for (total, every) in [(1000, 10), (1020, 60), (100, 1), (7, 1), (30, 7)] {
            let (mut last, mut kept) = (None, Vec::new());
            for step in (1..=total).filter(|step| step % every == 0 || *step == total) {
                let share = step as f64 / total as f64;
                let due = is_due(last, step, share);
                // As after a resume.
                let again = last.map(|last: Last| Last { share: None, ..last });
                assert_eq!(is_due(again, step, share), due, "{total} {every} {step}");
                if due {
                    last = Some(Last { step, share: Some(share) });
                    kept.push(step);
                }
            }
            assert!(kept.len() <= 6 && kept[0] == every, "{total} {every}: {kept:?}");
            assert_eq!(kept.last(), Some(&total), "{total} {every}: {kept:?}");
            if (total, every) == (1000, 10) {
                assert_eq!(kept, [10, 70, 130, 250, 500, 1000]);
            }
        }
    }
}
