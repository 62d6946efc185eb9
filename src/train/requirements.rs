//! How much memory and disk a training takes, from its settings alone: nothing is allocated to find out.
//!
//! What the memory is made of, in float32 numbers, with P parameters and N = T·B positions of a window:
//!
//! | part | numbers |
//! |---|---|
//! | weights and two moments; on top, while `last` is saved, 6 copies more (while a step is taken, one) | 9 P |
//! | the average of the weights; while it is saved, 2 copies more | 3 P |
//! | with weight drop: recurrent weights as a step drops them, and the masks | 5/4 of the next row |
//! | the largest tensor, while it is turned into bytes | 3 of its size (of a bidirectional network 6) |
//! | weights as the products read them | the matrices of P, but the embedding |
//! | what a layer keeps of a window: gates, saved, hidden, a gradient; with dropout, or residual | N (G + 3) H; N H |
//! | of an evaluation's window of M positions, where that is more: gates, saved | M (G + 1) H |
//! | hidden sequences of two windows of an evaluation | M 2 H a layer, of a residual network M 4 H |
//! | what the lowest layer reads, and its product | 2 V E, V G H |
//! | gradients of the logits; a block of an evaluation's | N (V + 1) |
//!
//! A bidirectional network has the layers' rows twice, where M and N are those of the larger of window and
//! margin for the stack that reads the margin, and on top
//!
//! | part | numbers |
//! |---|---|
//! | hidden sequences of a margin of K positions, and what is read of it | K (L H + E), residual K (2 L H + E) |
//! | both hidden sequences side by side, of two windows of an evaluation | M 4 H |
//! | gradients of the logits, in place of those above: of the readout of both sides twice, of each half | N (4 V + 1) |
//!
//! To all of it an eighth is added. Estimated, and measured three times (peak resident memory of `chargru
//! train` on two threads with two steps and two evaluations, and of a bidirectional network the measuring
//! of its thresholds, which works in blocks of a bounded size), in MB:
//!
//! | training | estimated | measured |
//! |---|---|---|
//! | the shipped text: GRU, H = 256, L = 2, B = 32, T = 128 | 216 | 162 to 170 |
//! | the same, residual (once) | 259 | 186 |
//! | `--preset medium` (H = 512, B = 64) | 502 | 374 |
//! | `--preset large` (H = 1024, B = 64) | 1207 | 947 |
//! | `--preset large --dropout 0 --batch 1 --seq-len 16` | 908 | 721 to 722 |
//! | LSTM, H = 512, L = 3, B = 16 | 732 | 545 to 549 |
//! | RNN, H = 512, L = 2, tied weights | 312 | 233 to 256 |
//! | minGRU, E = 512, H = 256, L = 8 | 590 | 504 |
//! | GRU, H = 128, L = 1, B = 512, T = 256 | 667 | 516 to 531 |
//! | GRU with reset after, H = 1500, L = 1, B = 8, T = 32, no validation | 425 | 389 |
//! | V = 8000: GRU, H = 64, L = 1, B = 8 | 118 | 97 |
//! | V = 8000: GRU, H = 256, L = 2, B = 32 | 459 | 357 to 365 |
//! | documents: GRU, H = 256, L = 2, B = 32 | 134 | 103 |
//! | both sides (once each): the shipped text, as above | 463 | 367 |
//! | the same, residual (once) | 557 | 436 |
//! | both sides: `--preset medium` | 1081 | 869 |
//! | both sides: `--preset large`, without thresholds of `proofread` | 2579 | 2024 to 2068 |
//! | both sides: documents, as above | 259 | 254 |
//! | both sides: GRU, H = 128, L = 2, B = 64, T = 32, a margin of 1024 | 539 | 441 |
//! | both sides: GRU with reset after, as above | 844 | 749 |
//! | both sides: LSTM, as above | 1546 | 1228 |
//! | both sides, V = 8000: GRU, H = 64, L = 1, B = 8 | 335 | 279 |
//!
//! Tensor operations in place of the kernels (on a CPU only in tests) take more.

use candle_core::Device;

use crate::checkpoint::space_needed;
use crate::error::{Error, Result, ensure};
use crate::model::ModelConfig;
use crate::train::config::TrainConfig;
use crate::train::prepare::{DataSizes, TrainingData};

/// Bytes that a training takes, by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirements {
    /// Memory for the weights, the optimizer, and the checkpoints while they are written.
    pub weights: u64,
    /// Memory for the window of a step and for those of an evaluation.
    pub windows: u64,
    /// Memory for the text, in ids.
    pub text: u64,
    /// Space on the disk for the run's checkpoints.
    pub disk: u64,
}

/// The program itself, its threads, and what the allocator holds back.
const PROGRAM: u64 = 12 << 20;
/// A block of logits of an evaluation, and its softmax.
const LOGITS_BLOCKS: u128 = 4 << 18;

impl Requirements {
    /// What a training of `model`, with its vocabulary, takes on a CPU.
    pub(super) fn new(model: &ModelConfig, train: &TrainConfig, data: DataSizes) -> Self {
        // The largest sizes that the settings admit stay far below 2^128.
        let wide = |size: usize| size as u128;
        let [v, e, h, l] = [model.vocab, model.embedding, model.hidden, model.layers].map(wide);
        let (b, t) = (wide(train.batch), wide(train.seq_len));
        let gates = wide(model.cell.gates()) * h;
        let (window, read) = (b * t, wide(data.evaluation));
        let margins = if model.bidirectional {
            [b * wide(train.margin), wide(data.evaluation_margin)]
        } else {
            [0, 0]
        };
        let margin = margins[0].max(margins[1]);
        let largest = window.max(read);
        let given = if model.dropout > 0.0 || model.residual { window * h } else { 0 };
        // Of a residual network: what its layers give, in two windows of an evaluation, and of a margin.
        let normalised = if model.residual { h } else { 0 };
        // Of a stack whose largest pass is of so many positions. Gates and saved values are shared; an
        // evaluation keeps two windows' hidden sequences.
        let stack = |largest: u128| {
            let layer =
                largest * (gates + h) + window * 2 * h + given + read * 2 * (h + normalised);
            // Where another pass is larger, a layer's old buffers are freed after the new are there.
            let outgrown = if largest > window { window * (gates + h) } else { 0 };
            // The embedding goes through the input product as a table, or its rows are looked up first.
            let input = 2 * v.min(largest) * e + if v > largest { 0 } else { v * gates };
            l * layer + outgrown + input
        };
        // Gradients of the logits, and of the hidden sequence of each direction.
        let gradients = if model.bidirectional { 4 * v + 1 + 2 * h } else { v + 1 + h };
        let readout = window * gradients + if read > 0 { LOGITS_BLOCKS } else { 0 };
        // The backward stack, what it keeps of a margin, and the hidden sequences of both sides joined, of
        // two windows of an evaluation.
        let other = if model.bidirectional {
            stack(largest.max(margin)) + margin * (l * (h + normalised) + e) + read * 4 * h
        } else {
            0
        };
        // Operands of the weights' gradients, laid out for at most 2048 rows at a time.
        let directions = if model.bidirectional { 2 } else { 1 };
        let laid_out = (directions * l + 1) * window.min(2048) * h;
        let windows = stack(largest) + readout + other + laid_out + 6 * (largest + margin);

        let tensors = model.parameters();
        let counts = || tensors.iter().map(|(_, shape)| count(shape));
        let (parameters, of_largest) = (counts().sum::<u128>(), counts().max().unwrap_or(0));
        let packed = parameters - v * e + if model.tie_weights { v * h } else { 0 };
        let averages = if train.average > 0.0 { parameters } else { 0 };
        let state = 2 * parameters + averages + l * wide(model.cell.states()) * b * h;
        // Freed tensors leave holes, and those of two stacks twice as many.
        // Recurrent weights as a step drops them, and their masks.
        let dropped = if train.weight_drop > 0.0 { 5 * packed / 4 } else { 0 };
        let weights =
            9 * parameters + 3 * averages + 3 * directions * of_largest + packed + dropped;
        let bytes = |numbers: u128| u64::try_from(4 * numbers).unwrap_or(u64::MAX);
        Self {
            weights: bytes(weights + weights / 8),
            windows: bytes(windows + windows / 8),
            text: data.text as u64,
            disk: space_needed(parameters, state),
        }
    }

    /// What several trainings take that run in turns in one process.
    pub fn together(all: impl IntoIterator<Item = Self>) -> Self {
        let none = Self { weights: 0, windows: 0, text: 0, disk: 0 };
        all.into_iter().fold(none, |sum, one| Self {
            weights: sum.weights.saturating_add(one.weights),
            windows: sum.windows.saturating_add(one.windows),
            text: sum.text.saturating_add(one.text),
            disk: sum.disk.saturating_add(one.disk),
        })
    }

    /// Memory in all.
    pub fn memory(&self) -> u64 {
        [self.weights, self.windows, self.text]
            .iter()
            .fold(PROGRAM, |sum, x| sum.saturating_add(*x))
    }

    /// Refuses a training on a CPU for which there is too little memory. The memory of other devices is not
    /// asked for.
    ///
    /// # Errors
    /// Those of [`Requirements::ensure_memory`].
    pub(super) fn check(
        model: &ModelConfig,
        train: &TrainConfig,
        data: &TrainingData,
        device: &Device,
    ) -> Result<()> {
        let available = if device.is_cpu() { available_memory() } else { None };
        Self::new(model, train, data.sizes()).ensure_memory(available, model, train)
    }

    /// Checks that the memory is there. `available` are bytes, those of the text not counted; None if
    /// nobody knows.
    ///
    /// # Errors
    /// [`Error::Setting`], of the setting that is furthest above its default among those that the larger
    /// part of the memory depends on.
    pub(super) fn ensure_memory(
        &self,
        available: Option<u64>,
        model: &ModelConfig,
        train: &TrainConfig,
    ) -> Result<()> {
        let available = available.map_or(u64::MAX, |free| free.saturating_add(self.text));
        let (name, value) = self.largest_setting(model, train);
        ensure!(
            self.memory() <= available,
            Error::setting(
                name,
                format!(
                    "the training needs {} of memory ({} for weights and optimizer, {} for windows of text) \
                     but {} are free: lower `{name}`, which is {value}",
                    readable(self.memory()),
                    readable(self.weights),
                    readable(self.windows),
                    readable(available)
                )
            )
        );
        Ok(())
    }

    /// The setting to lower: the one that is furthest above its usual value among those that the larger
    /// part of the memory grows with; and its value.
    pub(crate) fn largest_setting(
        &self,
        model: &ModelConfig,
        train: &TrainConfig,
    ) -> (&'static str, usize) {
        let (usual, usual_train) = (ModelConfig::default(), TrainConfig::default());
        let times = |value: usize, usual: usize| value as f64 / usual as f64;
        let hidden = times(model.hidden, usual.hidden);
        let layers = ("layers", model.layers, times(model.layers, usual.layers));
        let vocab = ("max_vocab", model.vocab, times(model.vocab, 256));
        let settings = if self.weights >= self.windows {
            // Tied weights have no embedding size of their own.
            let embedding = if model.tie_weights { usual.embedding } else { model.embedding };
            vec![
                // Recurrent weights grow with the square of H.
                ("hidden", model.hidden, hidden * hidden),
                ("embedding", embedding, times(embedding, usual.embedding)),
                layers,
                vocab,
            ]
        } else {
            let usual_margin = usual_train.margin;
            let margin = if model.bidirectional { train.margin } else { usual_margin };
            vec![
                ("hidden", model.hidden, hidden),
                layers,
                ("margin", margin, times(margin, usual_margin)),
                ("batch", train.batch, times(train.batch, usual_train.batch)),
                ("seq_len", train.seq_len, times(train.seq_len, usual_train.seq_len)),
                vocab,
            ]
        };
        let largest = settings.into_iter().max_by(|a, b| a.2.total_cmp(&b.2));
        largest.map_or(("hidden", model.hidden), |(name, value, _)| (name, value))
    }
}

/// The product of a tensor's dimensions.
fn count(shape: &[usize]) -> u128 {
    shape.iter().map(|&size| size as u128).product()
}

/// Bytes as a text, in MB, or from 10 GB on in GB.
pub(crate) fn readable(bytes: u64) -> String {
    match bytes >> 30 {
        ..10 => format!("{} MB", bytes.div_ceil(1 << 20)),
        gigabytes => format!("{gigabytes} GB"),
    }
}

/// Less than this is not believed: the program itself takes as much.
const BELIEVED: u64 = 16 << 20;

/// Bytes of memory that this process can still take: what the system has free or can free, and what the
/// control group of a container leaves. None if the system does not say.
pub(crate) fn available_memory() -> Option<u64> {
    if !sysinfo::IS_SUPPORTED_SYSTEM {
        return None;
    }
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let free = system.available_memory().saturating_add(system.free_swap());
    // Its `free_memory` takes cached files for used memory; the kernel gives them up when asked for more.
    let group = system
        .cgroup_limits()
        .map(|group| group.total_memory.saturating_sub(group.rss).saturating_add(group.free_swap));
    // Wine, for one, says now and then that next to nothing is free.
    Some(free.min(group.unwrap_or(u64::MAX))).filter(|&free| free >= BELIEVED)
}

#[cfg(test)]
#[path = "requirements_tests.rs"]
mod tests;
