//! Everything that enters from outside, a target each. A target gets the bytes of one file, puts them in
//! the place of a valid one, and does with it what the program would. It panics where a promise is broken:
//!
//! - what cannot be used is refused by an error that names the file, or the folder that it is in;
//! - what is not refused can be used: encoded and decoded, trained on, written with.
//!
//! Who calls a target (the test beside this file, the programs under fuzz/) watches over panics, time and
//! memory.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use chargru::Device;
use chargru::checkpoint::{
    Checkpoint, IfExists, RunFolder, newest_run, read_metrics, tensors_to_bytes,
};
use chargru::data::{DataConfig, EncodedText, Evaluation, READING_WINDOW};
use chargru::evaluate::evaluate_any;
use chargru::generate::{Request, SamplingConfig, samples};
use chargru::model::{Cell, ModelConfig};
use chargru::text::{
    Corpus, Documents, Encoding, Newlines, ReadOptions, Tokenizer, Units, VocabularyOptions,
};
use chargru::train::{Job, SavedRun, TrainConfig, Trainer, TrainingData};

use crate::bidirectional;
use crate::mutate::Kind;

/// What came of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Refused,
    Used,
}

/// One way in.
#[derive(Clone, Copy)]
pub struct Target {
    pub name: &'static str,
    pub kind: Kind,
    run: fn(&Stage, &[u8]) -> Outcome,
    /// Inputs that are used, not refused.
    valid: fn(&Stage) -> Vec<Vec<u8>>,
}

pub const TARGETS: [Target; 12] = [
    Target {
        name: "config_json",
        kind: Kind::Json,
        run: config_json,
        valid: |s| s.all("config.json"),
    },
    Target {
        name: "tokenizer_json",
        kind: Kind::Json,
        run: tokenizer_json,
        valid: |s| s.all("tokenizer.json"),
    },
    Target {
        name: "weights",
        kind: Kind::Safetensors,
        run: weights,
        valid: |s| {
            [Run::Streams, Run::BothSides].map(|run| s.file(run, "model.safetensors")).to_vec()
        },
    },
    Target {
        name: "training_json",
        kind: Kind::Json,
        run: training_json,
        valid: |s| s.all("training.json"),
    },
    Target {
        name: "training_tensors",
        kind: Kind::Safetensors,
        run: training_tensors,
        valid: |s| {
            [Run::Documents, Run::BothSides].map(|run| s.file(run, "training.safetensors")).to_vec()
        },
    },
    Target {
        name: "metrics",
        kind: Kind::JsonLines,
        run: metrics,
        valid: |s| vec![s.metrics.clone()],
    },
    Target {
        name: "settings",
        kind: Kind::Toml,
        run: settings,
        valid: |_| vec![SETTINGS.as_bytes().to_vec()],
    },
    Target { name: "corpus", kind: Kind::Text, run: corpus, valid: |_| texts() },
    Target { name: "prompt", kind: Kind::Text, run: prompt, valid: |_| texts() },
    Target { name: "network", kind: Kind::Text, run: network, valid: |_| networks() },
    Target {
        name: "fill",
        kind: Kind::Text,
        run: bidirectional::fill,
        valid: |_| bidirectional::fills(),
    },
    Target {
        name: "proofread",
        kind: Kind::Text,
        run: bidirectional::proofread,
        valid: |_| bidirectional::proofs(),
    },
];

/// By its name.
pub fn target(name: &str) -> Target {
    TARGETS.into_iter().find(|target| target.name == name).expect("the name of a target")
}

impl Target {
    /// What comes of `input`.
    ///
    /// # Panics
    /// For a promise that is broken.
    pub fn run(&self, stage: &Stage, input: &[u8]) -> Outcome {
        (self.run)(stage, input)
    }

    /// Inputs to begin with: those that the program writes itself, and the files of fuzz/seeds.
    pub fn seeds(&self, stage: &Stage) -> Vec<Vec<u8>> {
        let mut seeds = self.valid(stage);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = if folder.ends_with("fuzz") { folder.into() } else { folder.join("fuzz") };
        let mut paths: Vec<PathBuf> = fs::read_dir(folder.join("seeds").join(self.name))
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        paths.sort();
        seeds.extend(paths.iter().map(|path| fs::read(path).expect("a seed")));
        seeds
    }

    /// Inputs that the program writes itself: none of them may be refused.
    pub fn valid(&self, stage: &Stage) -> Vec<Vec<u8>> {
        (self.valid)(stage)
    }
}

/// The ways to train: on one long text, on documents, from both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    Streams,
    Documents,
    BothSides,
}

impl Run {
    const ALL: [Self; 3] = [Self::Streams, Self::Documents, Self::BothSides];
}

/// A folder with small runs, made once. A target replaces one of their files again and again.
pub struct Stage {
    folder: tempfile::TempDir,
    metrics: Vec<u8>,
    valid: Vec<(PathBuf, Vec<u8>)>,
}

pub const TEXT: &str = "The tide comes in, the tide goes out.\nNobody asks it why.\n";

impl Stage {
    /// In memory, where the system has a folder for that.
    pub fn new() -> Self {
        // The networks are so small that to hand work to threads takes longer than the work.
        chargru::runtime::set_threads(1);
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let mut stage =
            Self { folder: folder.expect("a folder"), metrics: Vec::new(), valid: Vec::new() };
        for run in Run::ALL {
            let root = stage.root(run);
            let mut trainer = Self::job(run)
                .start(Self::corpus(), &Device::Cpu)
                .expect("a trainer")
                .save_in(RunFolder::create(&root, IfExists::Refuse).expect("a run's folder"));
            trainer.run(|_| ControlFlow::Continue(())).expect("a run");
            stage.metrics = fs::read(root.join("metrics.jsonl")).expect("metrics");
            // These are read only by the target that is about them.
            fs::remove_file(root.join("metrics.jsonl")).expect("metrics");
            fs::remove_dir_all(root.join("best")).expect("best");
            // Without metadata, as in a folder that other programs wrote: what the metadata says of the
            // other files would refuse all changes of those at once.
            let last = Checkpoint::open(&root.join("last"), &Device::Cpu).expect("a checkpoint");
            let mut weights: Vec<_> = last
                .weights()
                .iter()
                .map(|(name, tensor)| (name.clone(), tensor.clone()))
                .collect();
            weights.sort_by(|a, b| a.0.cmp(&b.0));
            let weights = tensors_to_bytes(&weights).expect("weights");
            fs::write(root.join("last/model.safetensors"), weights).expect("weights");
            for entry in fs::read_dir(root.join("last")).expect("a folder").flatten() {
                stage.valid.push((entry.path(), fs::read(entry.path()).expect("a file")));
            }
        }
        stage
    }

    fn job(run: Run) -> Job {
        let (cell, documents) = match run {
            Run::Streams => (Cell::GruResetAfter, Documents::Off),
            Run::Documents => (Cell::Lstm, Documents::Lines),
            Run::BothSides => (Cell::Gru, Documents::Off),
        };
        Job {
            model: ModelConfig {
                cell,
                embedding: 3,
                hidden: 4,
                layers: 2,
                dropout: 0.25,
                bidirectional: run == Run::BothSides,
                residual: run == Run::BothSides,
                ..ModelConfig::default()
            },
            data: DataConfig {
                vocabulary: VocabularyOptions { documents, ..VocabularyOptions::default() },
                val_fraction: Some(0.2),
                ..DataConfig::default()
            },
            train: TrainConfig {
                batch: 2,
                seq_len: 5,
                margin: 3,
                steps: Some(3),
                eval_every: Some(2),
                ..TrainConfig::default()
            },
        }
    }

    fn corpus() -> Corpus {
        Corpus::from_text("tide", TEXT.repeat(3))
    }

    fn root(&self, run: Run) -> PathBuf {
        self.folder.path().join(match run {
            Run::Streams => "streams",
            Run::Documents => "documents",
            Run::BothSides => "both",
        })
    }

    fn file(&self, run: Run, name: &str) -> Vec<u8> {
        let path = self.root(run).join("last").join(name);
        let found = self.valid.iter().find(|(valid, _)| *valid == path);
        found.expect("a file of the stage").1.clone()
    }

    fn all(&self, name: &str) -> Vec<Vec<u8>> {
        Run::ALL.map(|run| self.file(run, name)).to_vec()
    }

    /// Writes `input` in the place of a run's file.
    fn put(&self, run: Run, name: &str, input: &[u8]) {
        fs::write(self.root(run).join("last").join(name), input).expect("the stage can be written");
    }
}

/// Whether an input has a word, by which its run is known.
fn has(input: &[u8], word: &str) -> bool {
    input.windows(word.len()).any(|part| part == word.as_bytes())
}

/// The run that an input belongs to, by a word that only files of documents have.
fn run_of(input: &[u8], word: &str) -> Run {
    if has(input, word) { Run::Documents } else { Run::Streams }
}

/// An error and its causes, as the program prints them.
fn message(error: &(dyn std::error::Error + 'static)) -> String {
    let mut all = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        all.push_str(": ");
        all.push_str(&error.to_string());
        cause = error.source();
    }
    all
}

/// The error names the file, or the folder that it is in.
fn refused(error: &chargru::Error, path: &Path) -> Outcome {
    let message = message(error);
    let name = path.file_name().expect("a name").to_string_lossy();
    let folder = path.parent().expect("a folder").display().to_string();
    assert!(
        message.contains(&*name) || message.contains(&folder),
        "{name} is not named: {message}"
    );
    Outcome::Refused
}

/// Opens the checkpoint that has `name` replaced by `input`, and writes a few characters with it.
fn open(stage: &Stage, run: Run, name: &str, input: &[u8]) -> Result<Checkpoint, Outcome> {
    stage.put(run, name, input);
    let last = stage.root(run).join("last");
    let checkpoint = Checkpoint::open(&last, &Device::Cpu)
        .map_err(|error| refused(&error, &stage.root(run).join(name)))?;
    write_with(&checkpoint);
    Ok(checkpoint)
}

/// Writes with a checkpoint and measures it. Weights that no number comes out of are an error.
fn write_with(checkpoint: &Checkpoint) {
    let network = checkpoint.network(&Device::Cpu).expect("weights that were checked");
    let tokenizer = &checkpoint.tokenizer;
    let request = Request {
        length: 3,
        sampling: SamplingConfig { temperature: 1.0, ..SamplingConfig::default() },
        ..Request::default()
    };
    let packed = network.pack().expect("weights that were checked");
    match samples(&packed, tokenizer.clone(), &request, 2) {
        Ok(samples) => assert_eq!(samples.len(), 2),
        Err(error) => assert!(matches!(error, chargru::Error::Logits(_)), "{error}"),
    }
    let ids = tokenizer.encode_skipping_unknown(TEXT);
    if !ids.is_empty() {
        let score =
            chargru::evaluate::score_text(&network, tokenizer, &ids[..ids.len().min(9)], true);
        match score {
            Ok(score) => assert!(
                score.nats.iter().flatten().all(|nats| nats.is_finite()),
                "a score that is no number: {:?}",
                score.nats
            ),
            Err(error) => assert!(matches!(error, chargru::Error::Logits(_)), "{error}"),
        }
    }
    if checkpoint.config.model.bidirectional {
        let network = checkpoint.any_network(&Device::Cpu).expect("weights that were checked");
        let documents = match tokenizer.end_of_document() {
            Some(_) => Documents::Lines,
            None => Documents::Off,
        };
        let known = tokenizer.decode(&ids).expect("its own ids");
        let text = EncodedText::new(Corpus::from_text("tide", known), tokenizer, documents)
            .and_then(|text| Evaluation::bidirectional(text, READING_WINDOW, 5));
        if let Ok(text) = text {
            let found = evaluate_any(&network, &text, tokenizer).expect("an evaluation");
            assert_eq!(found.ids, text.predictions() as u64);
        }
    }
}

/// Resumes the run in `root`, and trains one step as the resumed run would.
fn resume(root: &Path, name: &str) -> Outcome {
    let file = root.join(name);
    let folder = RunFolder::resume(root).expect("a run's folder");
    let saved = match SavedRun::open(folder, &Device::Cpu) {
        Ok(saved) => saved,
        Err(error) => return refused(&error, &file),
    };
    let (mut train, data) = (saved.train.clone(), saved.data.clone());
    // Settings and texts that do not fit are named by themselves, not by the file.
    if saved.resume(Stage::corpus()).is_err() {
        return Outcome::Refused;
    }
    // The same by hand, as this one is not to write into the folder, and with another end: a run that is
    // over trains no step.
    (train.steps, train.time_limit, train.epochs) = (Some(u64::MAX), None, None);
    if train.batch.saturating_mul(train.seq_len) > 4096 {
        return Outcome::Used;
    }
    let checkpoint = Checkpoint::open(&root.join("last"), &Device::Cpu).expect("as just now");
    let state = checkpoint.training(&Device::Cpu).expect("as just now");
    let weights = checkpoint.var_map().expect("weights");
    let (data, train) = TrainingData::prepare(
        Stage::corpus(),
        &data,
        Some(checkpoint.tokenizer.clone()),
        &train,
        checkpoint.config.model.bidirectional,
    )
    .expect("as just now");
    let mut trainer = Trainer::new(&checkpoint.config.model, &weights, data, train, &Device::Cpu)
        .expect("as just now");
    trainer.restore(state).expect("as just now");
    // Two steps, so that the first one's state is used.
    let mut left = 2;
    let end = trainer.run(|_| {
        left -= 1;
        if left > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    match end {
        Ok(_) | Err(chargru::Error::Diverged { .. }) => Outcome::Used,
        Err(error) => panic!("a resumed run fails: {}", message(&error)),
    }
}

fn config_json(stage: &Stage, input: &[u8]) -> Outcome {
    let both = has(input, "\"bidirectional\"");
    let run = if both { Run::BothSides } else { run_of(input, "\"lines\"") };
    let outcome = match open(stage, run, "config.json", input) {
        Ok(_) => resume(&stage.root(run), "config.json"),
        Err(outcome) => outcome,
    };
    newest_run(stage.folder.path()).expect("runs");
    outcome
}

fn tokenizer_json(stage: &Stage, input: &[u8]) -> Outcome {
    let run = run_of(input, "<eod>");
    match Tokenizer::from_json(input) {
        Ok(tokenizer) => {
            round_trip(&tokenizer, TEXT);
            let json = tokenizer.to_json().expect("a tokenizer is written");
            assert_eq!(Tokenizer::from_json(&json).expect("it is read again"), tokenizer);
        }
        Err(error) => drop(refused(&error, Path::new("folder/tokenizer.json"))),
    }
    open(stage, run, "tokenizer.json", input).map_or_else(|outcome| outcome, |_| Outcome::Used)
}

fn weights(stage: &Stage, input: &[u8]) -> Outcome {
    let run = if has(input, "_reverse") { Run::BothSides } else { Run::Streams };
    open(stage, run, "model.safetensors", input).map_or_else(|outcome| outcome, |_| Outcome::Used)
}

fn training_json(stage: &Stage, input: &[u8]) -> Outcome {
    let run = run_of(input, "\"lanes\"");
    stage.put(run, "training.json", input);
    resume(&stage.root(run), "training.json")
}

fn training_tensors(stage: &Stage, input: &[u8]) -> Outcome {
    let run = if has(input, "_reverse") { Run::BothSides } else { Run::Documents };
    stage.put(run, "training.safetensors", input);
    resume(&stage.root(run), "training.safetensors")
}

fn metrics(stage: &Stage, input: &[u8]) -> Outcome {
    let root = stage.root(Run::Streams);
    let path = root.join("metrics.jsonl");
    fs::write(&path, input).expect("the stage can be written");
    let outcome = match read_metrics(&root) {
        Ok(read) => {
            assert!(read.len() <= input.len() / 2, "{} lines", read.len());
            Outcome::Used
        }
        Err(error) => refused(&error, &path),
    };
    match RunFolder::resume(&root).and_then(|folder| folder.rewind(2)) {
        Ok(()) => {
            let kept = read_metrics(&root).expect("what was just written");
            assert!(kept.iter().all(|metrics| metrics.step <= 2), "{kept:?}");
        }
        Err(error) => drop(refused(&error, &path)),
    }
    outcome
}

/// Every setting that a file can have.
const SETTINGS: &str = r#"corpus = ["a.txt", "b"]
out = "runs/a"
preset = "tiny"
cell = "lstm"
hidden = 16
embedding = 8
layers = 1
dropout = 0.1
tie-weights = false
bidirectional = true
residual = true
batch = 4
seq-len = 16
margin = 3
steps = 30
epochs = 2
time-limit = "1h30m"
lr = 0.006
weight-decay = 0.01
clip = 1.0
warmup = 5
schedule = "linear"
val-fraction = 0.1
eval-every = 7
patience = 3
sample-every = 9
seed = 1
units = "chars"
documents = "lines"
encoding = "latin1"
newlines = "keep"
max-vocab = 100
threads = 2
device = "cpu"
precision = "f32"
"#;

fn settings(stage: &Stage, input: &[u8]) -> Outcome {
    let path = stage.folder.path().join("settings.toml");
    fs::write(&path, input).expect("the stage can be written");
    match chargru::cli::job_of_settings_file(&path) {
        // A value outside its range is named by its flag.
        Ok(job) => job.validate().map_or(Outcome::Refused, |()| Outcome::Used),
        Err(error) => {
            let message = format!("{error:#}");
            assert!(message.contains("settings.toml"), "the file is not named: {message}");
            Outcome::Refused
        }
    }
}

/// Ends the first of two files.
const CUT: u8 = 0x1E;

fn texts() -> Vec<Vec<u8>> {
    let two = format!("{TEXT}{}\u{FEFF}Why ask?\r\nIt goes.", char::from(CUT));
    (0..=u8::MAX).step_by(7).map(|options| [&[options], two.as_bytes()].concat()).collect()
}

/// How to read and cut a text, from one byte.
fn options(byte: u8) -> (ReadOptions, VocabularyOptions) {
    let encoding = [Encoding::Utf8, Encoding::Latin1, Encoding::Lossy][usize::from(byte % 3)];
    let newlines = if byte & 0x80 == 0 { Newlines::Lf } else { Newlines::Keep };
    let units = if byte & 0x40 == 0 { Units::Chars } else { Units::Bytes };
    let documents =
        [Documents::Off, Documents::Lines, Documents::Files][usize::from(byte >> 4 & 3) % 3];
    let max_vocab = if byte & 8 == 0 { 8192 } else { 5 };
    (ReadOptions { encoding, newlines }, VocabularyOptions { units, max_vocab, documents })
}

fn corpus(stage: &Stage, input: &[u8]) -> Outcome {
    let (&first, bytes) = input.split_first().unwrap_or((&0, &[]));
    let (read, vocabulary) = options(first);
    let folder = stage.folder.path().join("texts");
    fs::create_dir_all(&folder).expect("a folder");
    let (a, b) = match bytes.iter().position(|&byte| byte == CUT) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[][..]),
    };
    fs::write(folder.join("a.txt"), a).expect("a text");
    fs::write(folder.join("b.txt"), b).expect("a text");
    let corpus = match Corpus::read(std::slice::from_ref(&folder), &read) {
        Ok(corpus) => corpus,
        Err(error) => return refused(&error, &folder.join("a.txt")),
    };
    assert_eq!(corpus.files().collect::<String>(), corpus.text());
    assert!(
        !corpus.text().starts_with('\u{FEFF}') || bytes.starts_with(b"\xEF\xBB\xBF\xEF\xBB\xBF")
    );
    assert!(read.newlines == Newlines::Keep || !corpus.text().contains('\r'));
    let data = DataConfig { read, vocabulary, val_fraction: Some(0.25), ..DataConfig::default() };
    let train = TrainConfig { batch: 3, seq_len: 4, ..TrainConfig::default() };
    let (mut data, _) = match TrainingData::prepare(corpus.clone(), &data, None, &train, false) {
        Ok(prepared) => prepared,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return Outcome::Refused;
        }
    };
    let vocab = data.tokenizer.vocab_size();
    round_trip(&data.tokenizer, corpus.text());
    for _ in 0..data.batches.steps_per_epoch().min(3) + 1 {
        let batch = data.batches.next_batch();
        assert_eq!(batch.inputs.len(), batch.t * batch.b);
        assert!(batch.inputs.iter().chain(&batch.targets).all(|&id| (id as usize) < vocab));
    }
    let whole = EncodedText::new(corpus, &data.tokenizer, vocabulary.documents).expect("as before");
    let evaluation =
        Evaluation::new(whole.clone(), READING_WINDOW).expect("a text to train on is one to read");
    every_target_once(&evaluation);
    if let Ok(evaluation) = Evaluation::bidirectional(whole.clone(), 7, 3) {
        every_target_once(&evaluation);
    }
    Outcome::Used
}

fn every_target_once(evaluation: &Evaluation) {
    let mut predicted = 0;
    for window in evaluation.windows() {
        predicted += window
            .weights
            .map_or(window.targets.len(), |weights| weights.iter().filter(|&&w| w == 1).count());
    }
    assert_eq!(predicted, evaluation.predictions(), "every target is predicted once");
}

/// What is encoded is decoded again, character by character.
fn round_trip(tokenizer: &Tokenizer, text: &str) {
    let vocab = tokenizer.vocab_size();
    let known = tokenizer.encode_skipping_unknown(text);
    assert!(known.iter().all(|&id| (id as usize) < vocab));
    let decoded = tokenizer.decode(&known).expect("ids of the vocabulary");
    assert_eq!(tokenizer.encode_skipping_unknown(&decoded), known);
    match tokenizer.encode(text) {
        Ok(ids) => {
            let decoded = tokenizer.decode(&ids).expect("ids of the vocabulary");
            assert!(tokenizer.unknown().is_some() || decoded == text, "{decoded:?} of {text:?}");
            assert!(decoded.len() <= text.len());
            let all: Vec<u32> = tokenizer
                .encode_corpus(text.to_string())
                .map(|ids| (0..ids.len()).filter_map(|at| ids.get(at)).collect())
                .expect("as before");
            assert_eq!(all, ids, "a corpus has the ids of a text");
        }
        Err(unknown) => {
            assert!(!unknown.characters.is_empty());
            assert!(unknown.characters.iter().all(|&c| text.contains(c)));
        }
    }
    assert!(tokenizer.decode(&[vocab as u32]).is_err());
}

fn prompt(stage: &Stage, input: &[u8]) -> Outcome {
    let (&first, bytes) = input.split_first().unwrap_or((&0, &[]));
    let text = String::from_utf8_lossy(bytes);
    let (_, vocabulary) = options(first);
    // A vocabulary of the text's own first half meets the second.
    let half = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
    if let Ok((tokenizer, _)) = Tokenizer::build(&text[..half], &vocabulary) {
        round_trip(&tokenizer, &text);
        if let Ok((extended, old)) = tokenizer.extended(&text, &vocabulary) {
            assert_eq!(old.len(), extended.vocab_size());
            round_trip(&extended, &text);
        }
    }
    let run = if first & 1 == 0 { Run::Streams } else { Run::Documents };
    // The same two checkpoints again and again: they are read once.
    thread_local! {
        static OPENED: std::cell::RefCell<Vec<(PathBuf, Checkpoint, chargru::model::PackedNetwork)>> =
            const { std::cell::RefCell::new(Vec::new()) };
    }
    OPENED.with_borrow_mut(|opened| {
        let last = stage.root(run).join("last");
        if !opened.iter().any(|(path, ..)| *path == last) {
            let checkpoint = Checkpoint::open(&last, &Device::Cpu).expect("a valid checkpoint");
            let packed = checkpoint.network(&Device::Cpu).and_then(|network| Ok(network.pack()?));
            opened.push((last.clone(), checkpoint, packed.expect("a network")));
        }
        let (_, checkpoint, packed) =
            opened.iter().find(|(path, ..)| *path == last).expect("just opened");
        let tokenizer = &checkpoint.tokenizer;
        let prompt =
            tokenizer.encode(&text).unwrap_or_else(|_| tokenizer.encode_skipping_unknown(&text));
        let request = Request {
            prompt: prompt.into_iter().take(200).collect(),
            length: usize::from(first % 5),
            seed: u64::from(first),
            ..Request::default()
        };
        let texts = samples(packed, tokenizer.clone(), &request, 1).expect("a sample");
        assert!(texts[0].text.chars().count() <= request.length);
    });
    Outcome::Used
}

/// Shapes of networks that the weights follow in `network`.
fn networks() -> Vec<Vec<u8>> {
    let shapes = (0..5u8)
        .flat_map(|cell| [0u8, 1, 2, 3, 16, 18, 33, 48].map(|flags| [cell, 2, 3, cell % 3, flags]));
    shapes.map(|shape| [&shape[..], &[0, 0, 128, 63, 205, 204, 76, 190]].concat()).collect()
}

/// A whole checkpoint whose files fit each other: the shape is that of the first bytes, the weights are
/// the rest, again and again.
fn network(stage: &Stage, input: &[u8]) -> Outcome {
    let Some((&[cell, embedding, hidden, layers, flags], values)) = input.split_first_chunk()
    else {
        return Outcome::Refused;
    };
    let (bidirectional, documents) = (flags & 16 == 16, flags & 2 == 2);
    let residual = flags & 32 == 32;
    let tie_weights = flags & 1 == 1 && !bidirectional;
    let options = VocabularyOptions {
        documents: if documents { Documents::Lines } else { Documents::Off },
        units: if flags & 4 == 4 { Units::Bytes } else { Units::Chars },
        max_vocab: if flags & 8 == 8 { 9 } else { 100 },
    };
    let (tokenizer, _) = Tokenizer::build(TEXT, &options).expect("a tokenizer");
    let hidden = usize::from(hidden % 20) + 1;
    let model = ModelConfig {
        cell: Cell::ALL[usize::from(cell) % Cell::ALL.len()],
        vocab: tokenizer.vocab_size(),
        embedding: if tie_weights { hidden } else { usize::from(embedding % 20) + 1 },
        hidden,
        layers: usize::from(layers % 3) + 1,
        dropout: 0.0,
        tie_weights,
        bidirectional,
        residual,
    };
    let mut config: serde_json::Value =
        serde_json::from_slice(&stage.file(Run::Streams, "config.json")).expect("JSON");
    config["model"] = serde_json::to_value(&model).expect("JSON");
    let values: Vec<f32> =
        values.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    let finite = !values.is_empty() && values.iter().all(|value| value.is_finite());
    let mut values = values.iter().copied().chain([0.5]).cycle();
    let tensors: Vec<(String, candle_core::Tensor)> = model
        .parameters()
        .into_iter()
        .map(|(name, shape)| {
            let count = shape.iter().product();
            let values: Vec<f32> = values.by_ref().take(count).collect();
            (name, candle_core::Tensor::from_vec(values, shape, &Device::Cpu).expect("a tensor"))
        })
        .collect();
    let folder = stage.folder.path().join("network");
    fs::create_dir_all(&folder).expect("a folder");
    let put = |name: &str, bytes: Vec<u8>| fs::write(folder.join(name), bytes).expect("a file");
    put("config.json", config.to_string().into_bytes());
    put("tokenizer.json", tokenizer.to_json().expect("JSON"));
    put("model.safetensors", tensors_to_bytes(&tensors).expect("bytes"));
    match Checkpoint::open(&folder, &Device::Cpu) {
        Ok(checkpoint) => {
            write_with(&checkpoint);
            Outcome::Used
        }
        Err(error) => {
            assert!(!finite, "a whole checkpoint is refused: {}", message(&error));
            refused(&error, &folder.join("model.safetensors"))
        }
    }
}
