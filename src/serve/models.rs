//! The models that are served.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::checkpoint::{Checkpoint, Config};
use crate::error::{Error, Result, ensure};
use crate::fill::Filler;
use crate::model::{BidirectionalNetwork, Gate, Network, PackedNetwork};
use crate::serve::admission::Admission;
use crate::serve::config::Limits;
use crate::serve::engine::Engines;
use crate::serve::problem::Problem;
use crate::text::{Corpus, Encoding, ReadOptions, Tokenizer};

/// A model to serve.
pub struct Model {
    /// The name by which it is asked for.
    pub id: String,
    pub(super) config: Config,
    /// The beginning of the checkpoint's.
    pub(super) fingerprint: String,
    pub(super) tokenizer: Arc<Tokenizer>,
    pub(super) network: Network,
    pub(super) packed: PackedNetwork,
    pub(super) bidirectional: Option<BidirectionalNetwork>,
}

impl Model {
    /// The model of `checkpoint`: `network` writes, and `bidirectional`, if there is one, fills and proofreads.
    ///
    /// # Errors
    /// [`Error::Setting`] for an id that is empty or longer than 100 characters; [`Error::Tensor`] for an
    /// instruction set, named by `CHARGRU_SIMD`, that this processor does not have.
    pub fn new(
        id: impl Into<String>,
        checkpoint: Checkpoint,
        network: Network,
        bidirectional: Option<BidirectionalNetwork>,
    ) -> Result<Self> {
        let id = id.into();
        ensure!(
            (1..=100).contains(&id.chars().count()),
            Error::setting(
                "id",
                format!("the `id` of a model is {id:?}: give one of 1 to 100 characters")
            )
        );
        Ok(Self {
            id,
            fingerprint: checkpoint.fingerprint().chars().take(16).collect(),
            packed: network.pack()?,
            tokenizer: Arc::new(checkpoint.tokenizer),
            config: checkpoint.config,
            network,
            bidirectional,
        })
    }

    /// A name for the model of a checkpoint's folder: that of its run.
    pub fn id_of(folder: &Path) -> String {
        let is_inside = |name: &&str| !["best", "last"].contains(name);
        let names = folder.iter().rev().filter_map(|name| name.to_str());
        names.into_iter().find(is_inside).unwrap_or("model").to_string()
    }

    /// A text, read as that of the training was.
    pub(super) fn read_text(
        &self,
        name: &'static str,
        text: &str,
        most: usize,
    ) -> Result<Corpus, Problem> {
        let characters = text.chars().count();
        if characters > most {
            let message = format!("`{name}` has {characters} characters: give {most} at most");
            return Err(Problem::field(name, message));
        }
        let options = ReadOptions { encoding: Encoding::Utf8, ..self.config.corpus.read };
        let read = Corpus::from_reader(name, text.as_bytes(), text.len() as u64, &options);
        read.map_err(|error| Problem::of(error, name))
    }

    /// A prompt as it is read, and its ids.
    pub(super) fn read_prompt(
        &self,
        text: &str,
        most: usize,
    ) -> Result<(String, Vec<u32>), Problem> {
        let problem = |error| Problem::of(error, "prompt");
        let text = self.read_text("prompt", text, most)?;
        let prompt = self.config.corpus.prompt(text).map_err(problem)?;
        let ids = self.tokenizer.encode_known(&prompt).map_err(|error| problem(error.into()))?;
        Ok((prompt, ids))
    }

    fn to_json(&self, created: u64) -> Value {
        let Config { model, corpus, progress, .. } = &self.config;
        let both = self.bidirectional.is_some();
        let gates: Vec<_> = Gate::of(model.cell).iter().map(|gate| gate.name()).collect();
        let mut can = vec!["completions", "score", "inspect"];
        can.extend(both.then_some(["fill", "proofread"]).into_iter().flatten());
        json!({
            "id": self.id,
            "object": "model",
            "created": created,
            "owned_by": "chargru",
            "chargru": {
                "cell": model.cell.to_string(),
                "layers": model.layers,
                "hidden": model.hidden,
                "parameters": model.parameter_count(),
                "vocabulary": model.vocab,
                "units": corpus.units,
                "documents": corpus.documents,
                "bidirectional": both,
                "corpus": corpus.name,
                "validation_loss": progress.val_loss,
                "gates": gates,
                "can": can,
            },
        })
    }
}

/// A model at work.
pub(super) struct Loaded {
    pub model: Model,
    pub engines: Engines,
    /// Texts that are written.
    pub rows: Admission,
    /// One reading at a time: the network's buffers are shared.
    pub reading: Mutex<()>,
    pub filler: Option<Filler>,
}

/// All models, by name.
pub(super) struct Models {
    first: Arc<Loaded>,
    by_id: HashMap<String, Arc<Loaded>>,
    /// In the order in which they were given.
    ids: Vec<String>,
    created: u64,
}

impl Models {
    /// Starts the threads of each.
    pub fn start(models: Vec<Model>, threads: usize, limits: &Limits) -> Result<Self> {
        let (mut by_id, mut ids, mut first) = (HashMap::new(), Vec::new(), None);
        for model in models {
            let id = model.id.clone();
            let starting = |source: io::Error| Error::Io {
                doing: "start the threads of the model",
                path: id.clone().into(),
                source,
            };
            let engines = Engines::start(&model.packed, &model.tokenizer, threads);
            let filler = match &model.bidirectional {
                Some(network) => Some(Filler::new(network, Arc::clone(&model.tokenizer))?),
                None => None,
            };
            let loaded = Arc::new(Loaded {
                engines: engines.map_err(starting)?,
                rows: Admission::new(limits.rows, limits.queue),
                reading: Mutex::new(()),
                filler,
                model,
            });
            ensure!(
                by_id.insert(id.clone(), Arc::clone(&loaded)).is_none(),
                Error::checkpoint(
                    Path::new(&id),
                    format!(
                        "two of the models are named {id}, after their runs' folders: rename one of these folders"
                    )
                )
            );
            first.get_or_insert(loaded);
            ids.push(id);
        }
        let first = first.ok_or_else(|| Error::setting("checkpoint", "no model is given"))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Ok(Self { first, by_id, ids, created: now.map_or(0, |time| time.as_secs()) })
    }

    /// The model of this name; the first where none is named.
    pub fn named(&self, id: Option<&str>) -> Result<Arc<Loaded>, Problem> {
        let Some(id) = id else { return Ok(Arc::clone(&self.first)) };
        self.by_id.get(id).cloned().ok_or_else(|| {
            let message = format!("there is no model {id:?}: there is {}", self.ids.join(", "));
            let mut problem = Problem::field("model", message).with_code("model_not_found");
            problem.status = StatusCode::NOT_FOUND;
            problem
        })
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<Loaded>> {
        self.ids.iter().filter_map(|id| self.by_id.get(id))
    }

    /// `GET /v1/models`
    pub fn to_json(&self) -> Value {
        self.all().map(|loaded| loaded.model.to_json(self.created)).collect()
    }

    /// `GET /v1/models/ID`
    pub fn one(&self, id: &str) -> Result<Value, Problem> {
        Ok(self.named(Some(id))?.model.to_json(self.created))
    }
}
