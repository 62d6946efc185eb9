//! The settings of `train`. A flag wins over the file, the file over the preset, the preset over the
//! defaults.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::checkpoint::Config;
use crate::cli::args::wrong;
use crate::cli::preset::Preset;
use crate::cli::time::Time;
use crate::data::DataConfig;
use crate::model::{Cell, ModelConfig, Precision};
use crate::text::{
    Documents, Encoding, Newlines, ReadOptions, Units, VocabularyOptions, read_regular_file,
};
use crate::train::{Choice, Fixed, Job, Schedule, TrainConfig};

/// Everything that can be set by a flag or, under the same name, in a `--config` file.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Settings {
    /// Text to learn: files, folders (their *.txt, recursively), or - for stdin.
    /// Without it: the play that ships with the program
    #[arg(long, num_args = 1.., value_name = "PATH")]
    #[serde(with = "crate::data::paths")]
    pub corpus: Vec<PathBuf>,
    /// Folder of the run [default: checkpoints/<name of the corpus>]
    #[arg(long, value_name = "DIR")]
    #[serde(with = "crate::data::paths::optional")]
    pub out: Option<PathBuf>,
    /// Sizes that go together [default: what fits the text, and --time-limit]
    #[arg(long, value_enum)]
    pub preset: Option<Preset>,

    /// Recurrence of the layers
    #[arg(long, value_enum, default_value_t = Cell::Gru, help_heading = MODEL)]
    pub cell: Cell,
    /// Size of a layer's hidden vector (H) [default: by the text]
    #[arg(long, help_heading = MODEL, value_name = "H")]
    pub hidden: Option<usize>,
    /// Size of a character's embedding (E); with --tie-weights it is H [default: by H]
    #[arg(long, help_heading = MODEL, value_name = "E")]
    pub embedding: Option<usize>,
    /// Recurrent layers (L) [default: by the text]
    #[arg(long, help_heading = MODEL, value_name = "L")]
    pub layers: Option<usize>,
    /// Probability of zeroing a hidden value between layers and before the readout, the same values in
    /// a whole window [default: by the text and the sizes]
    #[arg(long, value_parser = finite, help_heading = MODEL, value_name = "P")]
    pub dropout: Option<f64>,
    /// Use the embedding table as the readout's weight
    #[arg(long, help_heading = MODEL)]
    pub tie_weights: bool,
    /// Read from both sides: for `fill` and `proofread`; the half that reads forward serves `sample`
    #[arg(long, help_heading = MODEL)]
    pub bidirectional: bool,
    /// Normalise what a layer gives and add what it read; `--residual=false` gives layers that PyTorch's nn.GRU
    /// and nn.LSTM take as they are [default: true]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = MODEL, value_name = "BOOL")]
    pub residual: Option<bool>,

    /// Streams of text trained side by side (B) [default: by the text]
    #[arg(long, help_heading = TRAINING, value_name = "B")]
    pub batch: Option<usize>,
    /// Characters in one window of truncated backpropagation (T) [default: by the text]
    #[arg(long, help_heading = TRAINING, value_name = "T")]
    pub seq_len: Option<usize>,
    /// With --bidirectional: characters to the right of a window that are read and not predicted
    #[arg(long, default_value_t = TrainConfig::default().margin, help_heading = TRAINING, value_name = "M")]
    pub margin: usize,
    /// End after this many steps
    #[arg(long, help_heading = TRAINING, value_name = "N")]
    pub steps: Option<u64>,
    /// End after this many readings of the text [default: what the text needs, where no end is given]
    #[arg(long, help_heading = TRAINING, value_name = "N")]
    pub epochs: Option<u64>,
    /// End after this time (90s, 10m, 1h30m); the sizes are what this machine can train in it, and the
    /// learning rate falls to its end by then
    #[arg(long, help_heading = TRAINING, value_name = "TIME")]
    pub time_limit: Option<Time>,
    /// Peak of the learning rate [default: by H]
    #[arg(long, value_parser = finite, help_heading = TRAINING)]
    pub lr: Option<f64>,
    /// Decoupled weight decay (AdamW), on weight matrices only [default: by the text and the sizes]
    #[arg(long, value_parser = finite, help_heading = TRAINING, value_name = "W")]
    pub weight_decay: Option<f64>,
    /// Probability of zeroing a recurrent weight for a step [default: by the text and the sizes]
    #[arg(long, value_parser = finite, help_heading = TRAINING, value_name = "P")]
    pub weight_drop: Option<f64>,
    /// Largest decay of the average of the weights that is evaluated and kept as the best; 0: the weights
    /// themselves are
    #[arg(long, value_parser = finite, default_value_t = TrainConfig::default().average, help_heading = TRAINING, value_name = "D")]
    pub average: f64,
    /// Largest global norm of the gradient; 0 for no clipping
    #[arg(long, value_parser = finite, default_value_t = TrainConfig::default().clip, help_heading = TRAINING, value_name = "NORM")]
    pub clip: f64,
    /// Steps over which the learning rate rises [default: 100, at most a tenth of the run]
    #[arg(long, help_heading = TRAINING, value_name = "N")]
    pub warmup: Option<u64>,
    /// How the learning rate falls after that
    #[arg(long, value_enum, default_value_t, help_heading = TRAINING)]
    pub schedule: Schedule,
    /// Share of the text, at its end, that validates [default: 0.1, at most two million characters]
    #[arg(long, value_parser = finite, help_heading = TRAINING, value_name = "F")]
    pub val_fraction: Option<f64>,
    /// Steps between two evaluations; with --time-limit one that would take more than a tenth of the time left is
    /// left out [default: an epoch, within 25 to 1,000 steps]
    #[arg(long, help_heading = TRAINING, value_name = "N")]
    pub eval_every: Option<u64>,
    /// End after this many evaluations without a better validation loss [default: 6 where no end is
    /// given]
    #[arg(long, help_heading = TRAINING, value_name = "N")]
    pub patience: Option<u64>,
    /// Show what the model writes every N steps
    #[arg(long, help_heading = TRAINING, value_name = "N")]
    pub sample_every: Option<u64>,
    /// Save the run once so much time has passed since the save before [default: 5m, and 10s after an
    /// evaluation]
    #[arg(long, help_heading = TRAINING, value_name = "TIME")]
    pub save_every: Option<Time>,
    /// Seed of everything drawn at random
    #[arg(long, default_value_t = TrainConfig::default().seed, help_heading = TRAINING)]
    pub seed: u64,

    /// What one step predicts
    #[arg(long, value_enum, default_value_t, help_heading = TEXT)]
    pub units: Units,
    /// Learn separate examples, each ended by the model itself [default: lines for a list of short
    /// entries such as names, else off]
    #[arg(long, value_enum, help_heading = TEXT)]
    pub documents: Option<Documents>,
    /// How to read bytes as text
    #[arg(long, value_enum, default_value_t, help_heading = TEXT)]
    pub encoding: Encoding,
    /// Turn CRLF and CR into LF, or keep them
    #[arg(long, value_enum, default_value_t, help_heading = TEXT)]
    pub newlines: Newlines,
    /// Most distinct characters; rarer ones become one unknown id
    #[arg(long, default_value_t = VocabularyOptions::default().max_vocab, help_heading = TEXT, value_name = "V")]
    pub max_vocab: usize,

    /// Threads to compute with, one a processor at most [default: as many]; the result is the same for any
    /// number
    #[arg(long, help_heading = MACHINE, value_name = "N")]
    pub threads: Option<usize>,
    /// cpu, cuda, cuda:N or metal
    #[arg(long, default_value = "cpu", help_heading = MACHINE)]
    pub device: String,
    /// Precision of the matrix products; bf16 needs a processor with AVX512_BF16 [default: f32; with --time-limit
    /// bf16, if the processor has it]
    #[arg(long, value_enum, help_heading = MACHINE)]
    pub precision: Option<Precision>,
}

const MODEL: &str = "Model";
const TRAINING: &str = "Training";
const TEXT: &str = "Text";
const MACHINE: &str = "Machine";

impl Settings {
    /// These settings; those that were not `given` as flags are taken from `file`, then from the preset.
    pub(crate) fn resolve(self, given: &BTreeSet<String>, file: Option<&Path>) -> Result<Self> {
        let mut given: BTreeSet<String> = given.iter().map(|id| id.replace('_', "-")).collect();
        let Value::Object(mut settings) = serde_json::to_value(&self)? else {
            return Ok(self);
        };
        if let Some(path) = file {
            let table = read_file(path)?;
            apply(&mut settings, table, &mut given)
                .with_context(|| format!("in {}", path.display()))?;
        }
        let named = |error: String| match file {
            Some(path) => wrong(format!("{}: {error}", path.display())),
            None => wrong(error),
        };
        let preset: Option<Preset> = serde_json::from_value(settings["preset"].clone())
            .map_err(|error| named(format!("preset: {error}")))?;
        if let Some(Value::Object(table)) = preset.map(Preset::settings) {
            apply(&mut settings, table, &mut given)?;
        }
        serde_json::from_value(Value::Object(settings)).map_err(|error| named(error.to_string()))
    }

    /// How the text is read; whether it has documents may be still to be decided.
    pub(crate) fn data(&self) -> DataConfig {
        DataConfig {
            paths: self.corpus.clone(),
            read: ReadOptions { encoding: self.encoding, newlines: self.newlines },
            vocabulary: VocabularyOptions {
                units: self.units,
                max_vocab: self.max_vocab,
                documents: self.documents.unwrap_or_default(),
            },
            val_fraction: self.val_fraction,
            split_seed: self.seed,
        }
    }

    /// What is decided already of what a text decides.
    pub(crate) fn fixed(&self) -> Fixed {
        Fixed {
            cell: self.cell,
            hidden: self.hidden,
            layers: self.layers,
            batch: self.batch,
            seq_len: self.seq_len,
            steps: self.steps,
            epochs: self.epochs,
            ..Fixed::default()
        }
    }

    /// Takes the sizes and the documents of a checkpoint that a run starts from, where nothing else is asked for.
    pub(crate) fn adopt(&mut self, config: &Config) {
        self.hidden.get_or_insert(config.model.hidden);
        self.layers.get_or_insert(config.model.layers);
        self.embedding.get_or_insert(config.model.embedding);
        self.residual.get_or_insert(config.model.residual);
        self.documents.get_or_insert(config.corpus.documents);
    }

    /// Whether the settings say where the run ends.
    pub(crate) fn has_end(&self) -> bool {
        self.steps.is_some() || self.epochs.is_some() || self.time_limit.is_some()
    }

    /// What the library trains by these settings, and by `choice` where they say nothing.
    pub(crate) fn job(&self, choice: &Choice) -> Job {
        let hidden = self.hidden.unwrap_or(choice.hidden);
        let embedding = self.embedding.unwrap_or(choice.embedding);
        let mut data = self.data();
        data.vocabulary.documents = self.documents.unwrap_or(choice.documents);
        let chosen_end = !self.has_end();
        Job {
            model: ModelConfig {
                cell: self.cell,
                embedding: if self.tie_weights { hidden } else { embedding },
                hidden,
                layers: self.layers.unwrap_or(choice.layers),
                dropout: self.dropout.unwrap_or(choice.dropout),
                tie_weights: self.tie_weights,
                bidirectional: self.bidirectional,
                residual: self.residual.unwrap_or(choice.residual),
                ..ModelConfig::default()
            },
            data,
            train: TrainConfig {
                batch: self.batch.unwrap_or(choice.batch),
                seq_len: self.seq_len.unwrap_or(choice.seq_len),
                margin: self.margin,
                steps: self.steps.or(chosen_end.then_some(choice.steps)),
                epochs: self.epochs,
                time_limit: self.time_limit.map(|time| time.0),
                lr: self.lr.unwrap_or(choice.lr),
                weight_decay: self.weight_decay.unwrap_or(choice.weight_decay),
                weight_drop: self.weight_drop.unwrap_or(choice.weight_drop),
                average: self.average,
                clip: self.clip,
                warmup: self.warmup,
                schedule: self.schedule,
                eval_every: self.eval_every.or(choice.eval_every),
                patience: self.patience.or(chosen_end.then_some(choice.patience)),
                sample_every: self.sample_every,
                seed: self.seed,
                precision: self.precision.unwrap_or(choice.precision),
            },
        }
    }
}

/// Takes the values of `table` for the settings that are not `given` yet, and adds them to `given`.
fn apply(
    settings: &mut Map<String, Value>,
    table: Map<String, Value>,
    given: &mut BTreeSet<String>,
) -> Result<()> {
    for (name, value) in table {
        let Some(setting) = settings.get_mut(&name) else {
            let known: Vec<&str> = settings.keys().map(String::as_str).collect();
            return Err(wrong(format!(
                "there is no setting '{name}': the settings are {}",
                known.join(", ")
            )));
        };
        if given.insert(name) {
            // A single path may be written without a list.
            *setting = match (&*setting, value) {
                (Value::Array(_), Value::String(one)) => json!([one]),
                (_, value) => value,
            };
        }
    }
    Ok(())
}

/// Largest `--config` file. A whole one has about a kilobyte.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

fn read_file(path: &Path) -> Result<Map<String, Value>> {
    let unreadable = |error: &dyn fmt::Display| {
        wrong(format!("cannot read --config {}: {error}", path.display()))
    };
    let bytes = read_regular_file(path, MAX_CONFIG_BYTES).map_err(|error| unreadable(&error))?;
    let text = String::from_utf8(bytes).map_err(|error| unreadable(&error))?;
    let table: toml::Table = toml::from_str(&text)
        .map_err(|error| wrong(format!("--config {}: {error}", path.display())))?;
    match serde_json::to_value(table)? {
        Value::Object(map) => Ok(map),
        _ => Ok(Map::new()),
    }
}

/// Parses a finite number.
fn finite(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if f64::is_finite(number) => Ok(number),
        _ => Err("give a number".to_string()),
    }
}
