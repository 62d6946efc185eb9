//! Reads a checkpoint folder. The files are not trusted: whatever they hold, the result is a checked
//! checkpoint or an error that names the file.

use std::collections::HashMap;
use std::fs;
#[cfg(unix)]
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};

use crate::checkpoint::atomic::existing;
use crate::checkpoint::format::{
    CONFIG, Config, TOKENIZER, TRAINING, TRAINING_TENSORS, TrainingRecord, TrainingState, WEIGHTS,
};
use crate::checkpoint::read::{file_size, read_tensors, read_text_file};
use crate::error::{Cause, Error, Result, ensure};
use crate::model::{AnyNetwork, BidirectionalNetwork, ModelConfig, Network, var_map};
use crate::text::Tokenizer;

/// A checkpoint, read and checked.
pub struct Checkpoint {
    /// The folder it came from.
    pub folder: PathBuf,
    /// The shape of the network, the text and the settings.
    pub config: Config,
    /// Text to ids and back.
    pub tokenizer: Tokenizer,
    weights: HashMap<String, Tensor>,
    fingerprint: String,
    /// Its files name the save that they belong to. Those of older versions do not.
    has_fingerprint: bool,
}

/// How often a checkpoint is read that is replaced meanwhile.
const ATTEMPTS: u32 = 100;
/// How often one is looked for before it counts as missing.
const LOOKS: u32 = 20;

impl Checkpoint {
    /// Opens `path`: a run (then its `best`, or `last` if nothing was evaluated yet) or a folder inside it.
    /// It may be replaced meanwhile, by a run that trains there: all files are then of the same save.
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`] if nothing is at `path`; [`Error::Io`] for a file that is missing;
    /// [`Error::Checkpoint`] for one that is broken, of another version, or does not fit the others.
    pub fn open(path: &Path, device: &Device) -> Result<Self> {
        let (mut attempt, mut looks) = (1, LOOKS);
        loop {
            let folder = match resolve(path) {
                // It may have been looked at in the middle of a swap.
                Err(_) if attempt < looks => {
                    std::thread::sleep(Duration::from_millis(1));
                    attempt += 1;
                    continue;
                }
                folder => folder?,
            };
            // It is there: from now on it is only being replaced.
            looks = ATTEMPTS;
            let watch = Watch::new(&folder);
            let read = Self::read(folder.clone(), device);
            // Without a fingerprint, only a folder that stayed in its place is known to be of one save.
            let known = matches!(&read, Ok(checkpoint) if checkpoint.has_fingerprint);
            // A folder that was moved aside loses its files one by one while it keeps its number.
            let stayed = || resolve(path).is_ok_and(|now| now == folder) && watch.is_unchanged();
            if known || attempt >= ATTEMPTS || stayed() {
                return read;
            }
            std::thread::sleep(Duration::from_millis(u64::from(attempt.min(10))));
            attempt += 1;
        }
    }

    fn read(folder: PathBuf, device: &Device) -> Result<Self> {
        let path = folder.join(CONFIG);
        let config = Config::from_json(&read_text_file(&path)?)
            .map_err(|cause| Error::broken(&path, cause))?;
        let path = folder.join(TOKENIZER);
        let json = read_text_file(&path)?;
        let tokenizer = Tokenizer::from_json(&json).map_err(|cause| Error::broken(&path, cause))?;
        ensure!(
            tokenizer.vocab_size() == config.model.vocab,
            Error::checkpoint(
                &folder,
                format!(
                    "{} has {} ids but {} says that the model has {}: the two are of different runs",
                    folder.join(TOKENIZER).display(),
                    tokenizer.vocab_size(),
                    folder.join(CONFIG).display(),
                    config.model.vocab
                )
            )
        );
        let fingerprint = config.fingerprint(&json);
        let path = folder.join(WEIGHTS);
        let (weights, of) = read_tensors(&path, weights_size(&config.model), device)?;
        check_weights(&config, &weights).map_err(|cause| Error::broken(&path, cause))?;
        ensure!(
            of.as_ref().is_none_or(|of| *of == fingerprint),
            Error::checkpoint(&path, mixed(&path))
        );
        let has_fingerprint = of.is_some();
        Ok(Self { folder, config, tokenizer, weights, fingerprint, has_fingerprint })
    }

    /// The network with these weights; of a bidirectional one the forward half, which is a language model of
    /// its own.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the device has no memory.
    pub fn network(&self, device: &Device) -> Result<Network> {
        Ok(self.any_network(device)?.forward_half().clone())
    }

    /// The bidirectional network with these weights.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] for a network of one direction; [`Error::Tensor`] if the device has no memory.
    pub fn bidirectional(&self, device: &Device) -> Result<BidirectionalNetwork> {
        let network = self.any_network(device)?;
        network.bidirectional().cloned().ok_or_else(|| {
            let message = format!(
                "{} reads from left to right only, and this needs a model that reads both sides: train one \
                 with `bidirectional`",
                self.folder.display()
            );
            Error::checkpoint(&self.folder, message)
        })
    }

    /// The network with these weights, of one direction or of both.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the device has no memory.
    pub fn any_network(&self, device: &Device) -> Result<AnyNetwork> {
        let vb = VarBuilder::from_tensors(self.weights.clone(), DType::F32, device);
        Ok(AnyNetwork::new(&self.config.model, vb)?)
    }

    /// The weights as variables, to be trained.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the device has no memory.
    pub fn var_map(&self) -> Result<VarMap> {
        var_map(self.weights.clone())
    }

    /// Names the save: SHA-256 of the tokenizer, the network's shape, text and step.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The weights by name.
    pub fn weights(&self) -> &HashMap<String, Tensor> {
        &self.weights
    }

    /// The training state. Only the `last` checkpoint of a run has one.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that is missing; [`Error::Checkpoint`] for one that is broken or of
    /// another save.
    pub fn training(&self, device: &Device) -> Result<TrainingState> {
        let path = self.folder.join(TRAINING);
        let record: TrainingRecord = serde_json::from_slice(&read_text_file(&path)?)
            .map_err(|cause| Error::broken(&path, cause))?;
        let is_of_this = |of: &str| !self.has_fingerprint || of == self.fingerprint;
        ensure!(is_of_this(&record.fingerprint), Error::checkpoint(&path, mixed(&path)));
        let path = self.folder.join(TRAINING_TENSORS);
        let (tensors, of) = read_tensors(&path, training_size(&self.config.model), device)?;
        ensure!(is_of_this(&of.unwrap_or_default()), Error::checkpoint(&path, mixed(&path)));
        Ok(TrainingState { record, tensors: tensors.into_iter().collect() })
    }
}

fn mixed(path: &Path) -> String {
    format!(
        "{} belongs to another save than the {CONFIG} and the {TOKENIZER} beside it: copy all files of \
         one checkpoint together",
        path.display()
    )
}

/// Notices that a folder was replaced by another one.
struct Watch {
    folder: PathBuf,
    /// While it is open, no other folder can have its number. (On Windows it could not be renamed.)
    #[cfg(unix)]
    _open: Option<File>,
    was: Option<Identity>,
}

/// Device and number of the folder.
#[cfg(unix)]
type Identity = (u64, u64);
/// When the folder was created and when a file was last added to it.
#[cfg(not(unix))]
type Identity = (std::time::SystemTime, std::time::SystemTime);

impl Watch {
    fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_path_buf(),
            #[cfg(unix)]
            _open: File::open(folder).ok(),
            was: identity(folder),
        }
    }

    fn is_unchanged(&self) -> bool {
        self.was.is_some() && self.was == identity(&self.folder)
    }
}

#[cfg(unix)]
fn identity(folder: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(folder).ok().map(|found| (found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn identity(folder: &Path) -> Option<Identity> {
    let found = fs::metadata(folder).ok()?;
    found.created().ok().zip(found.modified().ok())
}

/// Most bytes that the weights of `model` take.
fn weights_size(model: &ModelConfig) -> u64 {
    file_size(model.parameter_count() as u64, model.parameters().len() as u64)
}

/// Most bytes that its training state takes: two moments of each weight, and the state of every layer for the
/// largest batch.
fn training_size(model: &ModelConfig) -> u64 {
    const LARGEST_BATCH: u64 = 1 << 16;
    let (layers, hidden) = (model.layers as u64, model.hidden as u64);
    let states = (2 * LARGEST_BATCH).saturating_mul(layers).saturating_mul(hidden);
    let moments = (model.parameter_count() as u64).saturating_mul(2);
    file_size(moments.saturating_add(states), 2 * model.parameters().len() as u64 + layers)
}

/// The checkpoint folder for `path`: itself, or `best` or `last` in it.
fn resolve(path: &Path) -> Result<PathBuf> {
    for candidate in [path.to_path_buf(), path.join("best"), path.join("last")] {
        if let Some(folder) = existing(&candidate)
            && folder.join(CONFIG).is_file()
        {
            return Ok(folder);
        }
    }
    ensure!(path.exists(), Error::NoCheckpoint(path.to_path_buf()));
    let holds_none = format!(
        "{} is no checkpoint: it holds no {CONFIG}, and neither does a best/ or last/ in it",
        path.display()
    );
    Err(Error::checkpoint(path, holds_none))
}

/// Checks that `weights` are the tensors that the configuration names, in its shapes, and no others.
fn check_weights(config: &Config, weights: &HashMap<String, Tensor>) -> Result<(), Cause> {
    let expected = config.model.parameters();
    for (name, shape) in &expected {
        match weights.get(name) {
            None => {
                return Err(Cause::from(format!(
                    "it lacks the tensor {name} {shape:?} that {CONFIG} asks for"
                )));
            }
            Some(tensor) if tensor.dims() != shape => {
                return Err(Cause::from(format!(
                    "{name} has shape {:?} but {CONFIG} asks for {shape:?}",
                    tensor.dims()
                )));
            }
            Some(_) => {}
        }
    }
    if let Some(extra) =
        weights.keys().filter(|name| !expected.iter().any(|(known, _)| known == *name)).min()
    {
        return Err(Cause::from(format!("it has a tensor {extra} that {CONFIG} knows nothing of")));
    }
    Ok(())
}
