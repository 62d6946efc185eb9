//! Settings that fit a text: sizes, regularisation, the end of the run. docs/settings.md has the rules as a
//! table, docs/results.md the measurements that they come from.

use std::time::Duration;

use crate::model::{Cell, Precision};
use crate::text::{Corpus, Documents, Units, is_list};
use crate::train::config::TrainConfig;

/// What the settings are chosen by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextFacts {
    /// Ids of the whole text: characters, or bytes.
    pub length: usize,
    /// It is a list of short entries, such as names ([`is_list`]).
    pub list: bool,
}

/// Those of a text of a million characters.
impl Default for TextFacts {
    fn default() -> Self {
        Self { length: 1_000_000, list: false }
    }
}

impl TextFacts {
    /// Those of `corpus`, read as `units`.
    pub fn of(corpus: &Corpus, units: Units) -> Self {
        let length = match units {
            Units::Chars => corpus.characters(),
            Units::Bytes => corpus.text().len(),
        };
        Self { length, list: is_list(corpus.text()) }
    }
}

/// What is already decided, and what else follows from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fixed {
    /// Which recurrence the layers compute.
    pub cell: Cell,
    /// H
    pub hidden: Option<usize>,
    /// L
    pub layers: Option<usize>,
    /// B
    pub batch: Option<usize>,
    /// T
    pub seq_len: Option<usize>,
    /// Steps after which the run ends.
    pub steps: Option<u64>,
    /// Readings of the text after which the run ends.
    pub epochs: Option<u64>,
    /// In which this machine takes most steps in a given time.
    pub fastest: Precision,
}

/// Settings that fit a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// How the text is divided.
    pub documents: Documents,
    /// H
    pub hidden: usize,
    /// L
    pub layers: usize,
    /// E
    pub embedding: usize,
    /// [`ModelConfig::residual`](crate::model::ModelConfig::residual)
    pub residual: bool,
    /// [`ModelConfig::dropout`](crate::model::ModelConfig::dropout)
    pub dropout: f64,
    /// [`TrainConfig::weight_drop`](crate::train::TrainConfig::weight_drop)
    pub weight_drop: f64,
    /// [`AdamWConfig::weight_decay`](crate::train::AdamWConfig::weight_decay)
    pub weight_decay: f64,
    /// B
    pub batch: usize,
    /// T
    pub seq_len: usize,
    /// Peak of the learning rate.
    pub lr: f64,
    /// Precision of the matrix products.
    pub precision: Precision,
    /// Steps after which the run ends: those of an end that is given, about.
    pub steps: u64,
    /// Steps between two evaluations, where the usual
    /// ([`TrainConfig::evaluation_interval`](crate::train::TrainConfig::evaluation_interval)) are too few.
    pub eval_every: Option<u64>,
    /// Evaluations without a better one after which such a run ends.
    pub patience: u64,
    /// Parameters of the network for each id that is trained on.
    pub parameters_per_id: f64,
    /// Ids that are trained on.
    train_length: f64,
}

impl Choice {
    /// Readings of the text in [`Choice::steps`].
    pub fn readings(&self) -> f64 {
        self.steps as f64 * self.batch as f64 * self.seq_len as f64 / self.train_length
    }
}

/// H and L, from the smallest network to the largest.
const SIZES: [(usize, usize); 9] =
    [(64, 1), (128, 1), (128, 2), (192, 2), (256, 2), (384, 2), (512, 2), (768, 2), (1024, 2)];

/// Where the ids are many and the time is not, a network is worth its size if it gets through so many ids for
/// each of its parameters.
const IDS_WANTED: f64 = 20.0;

/// Ids for each of its parameters that a network is trained on without a time, if the text has as many.
const IDS_PER_PARAMETER: f64 = 30.0;

/// Ids that a network of a usual size is trained on in a quarter of an hour on two cores.
const ENOUGH: f64 = 45e6;

/// Ids from which on windows of 128 are as good as twice as many of 64.
const LONG_RUN: f64 = 16e6;

/// A short text: one or two pages.
const SHORT: usize = 6_000;

/// Peak of the learning rate at H = 256.
const LR: f64 = 0.006;

/// Steps in which even the shortest text is learnt.
const FEWEST_STEPS: u64 = 300;

/// Chooses the settings for a text.
pub fn choose(text: TextFacts, fixed: Fixed) -> Choice {
    let usual = match text.length {
        ..SHORT => (64, 1),
        SHORT..60_000 => (128, 2),
        60_000..3_000_000 => (256, 2),
        _ => (384, 2),
    };
    with_sizes(text, fixed, usual, None)
}

/// Chooses the settings for a text and a time: the largest network that gets through enough of the text. `speed`
/// measures how many ids a second a network is trained on; it is asked for ever larger networks, and once where the
/// sizes are fixed, as the regularisation follows from the readings.
///
/// # Errors
/// Those of `speed`.
pub fn choose_within<E>(
    text: TextFacts,
    fixed: Fixed,
    limit: Duration,
    mut speed: impl FnMut(&Choice) -> Result<f64, E>,
) -> Result<Choice, E> {
    let largest = match text.length {
        ..SHORT => (64, 1),
        SHORT..60_000 => (128, 2),
        60_000..600_000 => (384, 2),
        _ => (1024, 2),
    };
    let timed = |sizes, ids| Choice {
        // The result depends on the machine in any case.
        precision: fixed.fastest,
        ..with_sizes(text, fixed, sizes, ids)
    };
    let mut trained = |sizes| {
        let choice = timed(sizes, None);
        let ids = speed(&choice)? * limit.as_secs_f64();
        let is_enough = ids >= wanted(text, parameters(fixed.cell, &choice));
        Ok((timed(sizes, Some(ids)), is_enough))
    };
    let (mut best, _) = trained(SIZES[0])?;
    if fixed.hidden.is_some() && fixed.layers.is_some() {
        return Ok(best);
    }
    for sizes in SIZES.into_iter().skip(1).filter(|sizes| *sizes <= largest) {
        let (choice, is_enough) = trained(sizes)?;
        if !is_enough {
            break;
        }
        best = choice;
    }
    Ok(best)
}

/// Ids that a network of so many parameters must get through in its time to be worth its size.
fn wanted(text: TextFacts, parameters: f64) -> f64 {
    all_readings(text, parameters).min(IDS_WANTED * parameters)
}

/// Ids that a network of so many parameters is trained on without a time: a long text is not read to the end of
/// what could be learnt.
fn trained_on(text: TextFacts, parameters: f64) -> f64 {
    all_readings(text, parameters).min(ENOUGH.max(IDS_PER_PARAMETER * parameters))
}

fn all_readings(text: TextFacts, parameters: f64) -> f64 {
    epochs(parameters / train_length(text)) * train_length(text)
}

/// Ids that are trained on: nine tenths.
fn train_length(text: TextFacts) -> f64 {
    (0.9 * text.length as f64).max(1.0)
}

/// Readings of the text, for a network of so many parameters for each of its ids: a large network on a short
/// text is regularised more, and learns more slowly.
fn epochs(ratio: f64) -> f64 {
    if ratio < 5.0 { 30.0 } else { 40.0 }
}

/// The settings for a text and a network of sizes `usual`, where they are not fixed, that gets through `ids` ids
/// in its time.
fn with_sizes(text: TextFacts, fixed: Fixed, usual: (usize, usize), ids: Option<f64>) -> Choice {
    let (hidden, layers) = (fixed.hidden.unwrap_or(usual.0), fixed.layers.unwrap_or(usual.1));
    let mut choice = Choice {
        documents: if text.list { Documents::Lines } else { Documents::Off },
        hidden,
        layers,
        embedding: if hidden < 512 { 64 } else { 128 },
        // Normalised layers learn a text of a page by heart before they learn from it.
        residual: text.length >= SHORT,
        dropout: 0.0,
        weight_drop: 0.0,
        weight_decay: 0.0,
        batch: 0,
        seq_len: 0,
        // Larger networks diverge at a rate that smaller ones bear.
        lr: LR * (256.0 / hidden.max(128) as f64).sqrt(),
        precision: Precision::F32,
        steps: 0,
        eval_every: None,
        patience: 6,
        parameters_per_id: 0.0,
        train_length: train_length(text),
    };
    let parameters = parameters(fixed.cell, &choice);
    choice.parameters_per_id = parameters / train_length(text);
    let ends = [fixed.epochs.map(|epochs| epochs as f64 * train_length(text)), ids];
    let given = ends.into_iter().flatten().reduce(f64::min);
    let is_long = fixed.steps.is_some() || given.is_none_or(|ids| ids >= LONG_RUN);
    let (batch, seq_len) = windows(text, is_long);
    choice.batch = fixed.batch.unwrap_or(batch);
    choice.seq_len = fixed.seq_len.unwrap_or(seq_len);
    let window = choice.batch.max(1) as f64 * choice.seq_len.max(1) as f64;
    let by_steps = fixed.steps.map(|steps| steps as f64 * window);
    let trained = [given, by_steps].into_iter().flatten().reduce(f64::min);
    let usual = trained_on(text, parameters).max(FEWEST_STEPS as f64 * window);
    let trained = trained.unwrap_or(usual);
    choice.steps = (trained / window) as u64;
    // The more parameters for each id, and the more often it is read, the easier the text is learnt by heart.
    let parameters_and_readings = choice.parameters_per_id * trained / train_length(text);
    (choice.dropout, choice.weight_drop, choice.weight_decay) =
        regularisation(text, parameters_and_readings);
    // Reading the part that validates takes a third of the time of training on it: a tenth of the time at most.
    let validated = 0.1 * text.length as f64;
    let interval = (10.0 / 3.0 * validated.min(2e6) / window) as u64;
    choice.eval_every = Some(interval).filter(|&interval| interval > TrainConfig::LONGEST_INTERVAL);
    choice
}

/// B and T. Short texts need many steps, and so do short runs.
fn windows(text: TextFacts, is_long: bool) -> (usize, usize) {
    match text.length {
        ..SHORT => (8, 32),
        SHORT..60_000 => (8, 64),
        60_000..600_000 => (16, 64),
        _ if is_long => (32, 128),
        _ => (32, 64),
    }
}

/// Dropout, weight drop, weight decay.
fn regularisation(text: TextFacts, parameters_and_readings: f64) -> (f64, f64, f64) {
    match parameters_and_readings {
        ..3.0 => (0.0, 0.0, 0.1),
        3.0..8.0 => (0.05, 0.0, 0.1),
        8.0..45.0 => (0.1, 0.1, 0.3),
        45.0..150.0 => (0.25, 0.2, 0.3),
        _ if text.length < SHORT => (0.5, 0.4, 0.3),
        _ => (0.3, 0.4, 0.3),
    }
}

/// Parameters of a network with a usual alphabet, about. The sizes may still be impossible ones.
fn parameters(cell: Cell, choice: &Choice) -> f64 {
    const VOCABULARY: f64 = 80.0;
    let [h, e, l] = [choice.hidden, choice.embedding, choice.layers].map(|size| size as f64);
    let inputs = e + (l - 1.0).max(0.0) * h;
    let recurrent = if cell.has_weight_hh() { l * h } else { 0.0 };
    cell.gates() as f64 * h * (inputs + recurrent + 2.0 * l) + VOCABULARY * (e + h)
}

#[cfg(test)]
#[path = "choice_tests.rs"]
mod tests;
