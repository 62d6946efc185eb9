//! Reads a checkpoint folder. The files are not trusted: whatever they hold, the result is a checked
//! checkpoint or an error that names the file.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};
use safetensors::{Dtype, SafeTensors};

use crate::checkpoint::atomic::existing;
use crate::checkpoint::format::{
    CONFIG, Config, TOKENIZER, TRAINING, TRAINING_TENSORS, TrainingRecord, TrainingState, WEIGHTS,
};
use crate::error::{Cause, Error, Result, ensure};
use crate::model::{Network, var_map};
use crate::text::Tokenizer;

/// Largest JSON file that is read.
const MAX_TEXT_FILE: u64 = 256 << 20;

/// A checkpoint, read and checked.
pub struct Checkpoint {
    /// The folder it came from.
    pub folder: PathBuf,
    /// The shape of the network, the text and the settings.
    pub config: Config,
    /// Text to ids and back.
    pub tokenizer: Tokenizer,
    weights: HashMap<String, Tensor>,
}

impl Checkpoint {
    /// Opens `path`: a run (then its `best`, or `last` if nothing was evaluated yet) or a folder inside it.
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`] if nothing is at `path`; [`Error::Io`] for a file that is missing;
    /// [`Error::Checkpoint`] for one that is broken, of another version, or does not fit the others.
    pub fn open(path: &Path, device: &Device) -> Result<Self> {
        let folder = resolve(path)?;
        let path = folder.join(CONFIG);
        let config = Config::from_json(&read_text_file(&path)?)
            .map_err(|cause| Error::broken(&path, cause))?;
        let path = folder.join(TOKENIZER);
        let tokenizer = Tokenizer::from_json(&read_text_file(&path)?)
            .map_err(|cause| Error::broken(&path, cause))?;
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
        let path = folder.join(WEIGHTS);
        let weights = read_tensors(&path, device)?;
        check_weights(&config, &weights).map_err(|cause| Error::broken(&path, cause))?;
        Ok(Self { folder, config, tokenizer, weights })
    }

    /// The network with these weights.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the device has no memory.
    pub fn network(&self, device: &Device) -> Result<Network> {
        let vb = VarBuilder::from_tensors(self.weights.clone(), DType::F32, device);
        Ok(Network::new(&self.config.model, vb)?)
    }

    /// The weights as variables, to be trained.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the device has no memory.
    pub fn var_map(&self) -> Result<VarMap> {
        var_map(self.weights.clone())
    }

    /// The weights by name.
    pub fn weights(&self) -> &HashMap<String, Tensor> {
        &self.weights
    }

    /// The training state. Only the `last` checkpoint of a run has one.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that is missing; [`Error::Checkpoint`] for one that is broken.
    pub fn training(&self, device: &Device) -> Result<TrainingState> {
        let path = self.folder.join(TRAINING);
        let record: TrainingRecord = serde_json::from_slice(&read_text_file(&path)?)
            .map_err(|cause| Error::broken(&path, cause))?;
        let tensors = read_tensors(&self.folder.join(TRAINING_TENSORS), device)?;
        Ok(TrainingState { record, tensors: tensors.into_iter().collect() })
    }
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

fn read_text_file(path: &Path) -> Result<Vec<u8>> {
    read_file(path, MAX_TEXT_FILE)
}

/// The bytes of a regular file of at most `most` bytes. Reading anything else, a pipe or a terminal,
/// might never end.
fn read_file(path: &Path, most: u64) -> Result<Vec<u8>> {
    let file = fs::metadata(path).map_err(Error::io("read", path))?;
    let wrong = if !file.is_file() {
        format!("cannot read {}: it is not a regular file", path.display())
    } else if file.len() > most {
        format!("{} has {} bytes, more than any checkpoint's ({most})", path.display(), file.len())
    } else {
        return fs::read(path).map_err(Error::io("read", path));
    };
    Err(Error::checkpoint(path, wrong))
}

fn read_tensors(path: &Path, device: &Device) -> Result<HashMap<String, Tensor>> {
    let bytes = read_file(path, u64::MAX)?;
    let read = || -> Result<HashMap<String, Tensor>, Cause> {
        ensure!(!bytes.is_empty(), Cause::from("it is empty"));
        let tensors = SafeTensors::deserialize(&bytes)
            .map_err(|error| Cause::from(format!("no whole safetensors file: {error}")))?;
        tensors
            .iter()
            .map(|(name, view)| {
                ensure!(
                    view.dtype() == Dtype::F32,
                    Cause::from(format!("{name} is {:?}, but chargru keeps float32", view.dtype()))
                );
                let values: Vec<f32> = view
                    .data()
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                    .collect();
                ensure!(
                    values.iter().all(|v| v.is_finite()),
                    Cause::from(format!("{name} holds a NaN or an infinity"))
                );
                let tensor = Tensor::from_vec(values, view.shape(), device)?;
                Ok((name.to_string(), tensor))
            })
            .collect()
    };
    read().map_err(|cause| Error::broken(path, cause))
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
