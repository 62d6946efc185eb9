//! What is compared, and under which budget.

use candle_core::Device;

use crate::compare::sizes::hidden_for;
use crate::error::{Error, Result, ensure};
use crate::model::{Cell, ModelConfig};
use crate::text::Corpus;
use crate::train::{Job, Requirements, Trainer, TrainingData, available_memory, readable};

/// A comparison of cells. `steps`, `epochs` and `time_limit` of the job are each cell's budget; a time
/// counts the steps of that cell alone, not its evaluations and not the turns of the others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What is the same for all: text, sizes and settings of the training. Its cell is ignored.
    pub job: Job,
    /// The cells, in the order of the results.
    pub cells: Vec<Cell>,
    /// Trained numbers that each network has about, by its hidden size; None for the job's hidden size.
    pub parameters: Option<u64>,
    /// Validation losses to tell the times of, nats per id; empty for some that the results choose.
    pub losses: Vec<f64>,
}

/// The losses, the highest first, each once.
///
/// # Errors
/// [`Error::Setting`] for one that is not above zero.
pub(super) fn falling(losses: &[f64]) -> Result<Vec<f64>> {
    if let Some(&wrong) = losses.iter().find(|loss| !(loss.is_finite() && **loss > 0.0)) {
        return Err(Error::out_of_range(
            "losses",
            wrong,
            "give numbers above 0, nats per character",
        ));
    }
    let mut falling = losses.to_vec();
    falling.sort_by(|a, b| b.total_cmp(a));
    falling.dedup();
    Ok(falling)
}

impl Plan {
    /// Checks every setting against its range. [`Comparison::start`](crate::compare::Comparison::start)
    /// does so too.
    ///
    /// # Errors
    /// [`Error::Setting`] for the first setting outside its range; for no cells, or one twice; for a
    /// bidirectional network, whose loss is no measure of how well a cell predicts.
    pub fn validate(&self) -> Result<()> {
        ensure!(
            !self.cells.is_empty(),
            Error::setting("cells", "`cells` is empty: give at least one")
        );
        for (index, cell) in self.cells.iter().enumerate() {
            ensure!(
                !self.cells[..index].contains(cell),
                Error::setting("cells", format!("`cells` has {cell} twice: give each once"))
            );
        }
        ensure!(
            !self.job.model.bidirectional,
            Error::setting(
                "bidirectional",
                "a comparison trains networks that read forward: leave `bidirectional` out"
            )
        );
        ensure!(
            self.parameters != Some(0),
            Error::out_of_range("parameters", 0, "give a number such as 1000000")
        );
        falling(&self.losses)?;
        self.job.validate()
    }

    /// The job of each cell, for a text with so many ids.
    ///
    /// # Errors
    /// Those of [`hidden_for`].
    pub fn jobs(&self, vocab: usize) -> Result<Vec<Job>> {
        let sized = |&cell: &Cell| -> Result<Job> {
            let model = ModelConfig { cell, vocab, ..self.job.model.clone() };
            let model = match self.parameters {
                Some(parameters) => hidden_for(&model, parameters)?,
                None => model,
            };
            Ok(Job { model, ..self.job.clone() })
        };
        self.cells.iter().map(sized).collect()
    }

    /// A trainer of each cell, at its first step; each is the one that [`Job::start`] gives.
    ///
    /// # Errors
    /// Those of [`Job::start`], the memory asked for all at once; [`Error::Setting`] for a text without a
    /// validation part.
    pub(super) fn start(&self, corpus: &Corpus, device: &Device) -> Result<Vec<Trainer>> {
        self.validate()?;
        let Job { data, train, model } = &self.job;
        // Encoded once more, for the size of the vocabulary: nothing else is kept of it.
        let (probe, train) =
            TrainingData::prepare(corpus.clone(), data, None, train, model.bidirectional)?;
        ensure!(
            probe.validation.is_some(),
            Error::setting(
                "val_fraction",
                "`val_fraction` is 0, but cells are compared by their loss on a validation text: give \
                 more, or leave it out"
            )
        );
        let jobs = self.jobs(probe.tokenizer.vocab_size())?;
        if device.is_cpu() {
            let lowered = |job: &Job| Job { train: train.clone(), ..job.clone() };
            let needs =
                jobs.iter().map(|job| lowered(job).requirements(&probe)).collect::<Vec<_>>();
            self.ensure_memory(&jobs, &needs, available_memory())?;
        }
        drop(probe);
        jobs.iter().map(|job| Ok(job.start(corpus.clone(), device)?.count_steps_only())).collect()
    }

    /// Checks that the memory for all networks is there. `available` are bytes; None if nobody knows.
    fn ensure_memory(
        &self,
        jobs: &[Job],
        needs: &[Requirements],
        available: Option<u64>,
    ) -> Result<()> {
        let all = Requirements::together(needs.iter().copied());
        let free = available.unwrap_or(u64::MAX);
        let Some((job, largest)) = jobs.iter().zip(needs).max_by_key(|(_, need)| need.memory())
        else {
            return Ok(());
        };
        let (name, value) = match self.parameters {
            Some(parameters) => ("parameters", parameters),
            None => {
                let (name, value) = largest.largest_setting(&job.model, &job.train);
                (name, value as u64)
            }
        };
        ensure!(
            all.memory() <= free,
            Error::setting(
                name,
                format!(
                    "the {} networks need {} of memory together ({} alone {}) but {} are free: lower \
                     `{name}`, which is {value}, or give fewer `cells`",
                    jobs.len(),
                    readable(all.memory()),
                    job.model.cell,
                    readable(largest.memory()),
                    readable(free)
                )
            )
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(cells: &[Cell]) -> Plan {
        Plan { job: Job::small(), cells: cells.to_vec(), ..Plan::default() }
    }

    #[test]
    fn cells_are_compared_that_are_there_once() {
        let says = |cells: &[Cell]| plan(cells).validate().unwrap_err().to_string();
        assert_eq!(says(&[]), "`cells` is empty: give at least one");
        assert_eq!(
            says(&[Cell::Gru, Cell::Lstm, Cell::Gru]),
            "`cells` has gru twice: give each once"
        );
        plan(&Cell::ALL).validate().unwrap();
    }

    #[test]
    fn networks_that_fit_alone_and_not_together_are_refused() {
        let corpus =
            Corpus::from_text("tide", "The tide comes in, the tide goes out.\n".repeat(40));
        // minGRU has no recurrent matrix: it would need a far longer hidden vector.
        let cells = [Cell::Gru, Cell::GruResetAfter, Cell::Lstm, Cell::Rnn];
        let plan = Plan { parameters: Some(1_000_000), ..plan(&cells) };
        let Job { data, train, .. } = &plan.job;
        let (data, _) = TrainingData::prepare(corpus, data, None, train, false).unwrap();
        let jobs = plan.jobs(data.tokenizer.vocab_size()).unwrap();
        let needs: Vec<_> = jobs.iter().map(|job| job.requirements(&data)).collect();
        let one = needs.iter().map(Requirements::memory).max().unwrap();
        let all = Requirements::together(needs.iter().copied()).memory();
        assert!(all > 3 * one, "{all} {one}");
        plan.ensure_memory(&jobs, &needs, Some(all)).unwrap();
        plan.ensure_memory(&jobs, &needs, None).unwrap();
        let refused = plan.ensure_memory(&jobs, &needs, Some(2 * one)).unwrap_err().to_string();
        assert!(refused.starts_with("the 4 networks need "), "{refused}");
        let remedy = "lower `parameters`, which is 1000000, or give fewer `cells`";
        assert!(refused.ends_with(remedy), "{refused}");
    }
}
