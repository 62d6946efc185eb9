//! The work that is measured, for `step.rs` and `peer.rs`: a whole training step
//! (forward, loss, backward, clipping at norm 1, AdamW), and sampled characters.

use std::sync::Arc;

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use chargru::fused::Precision;
use chargru::generate::{Request, TextStream, stream};
use chargru::model::{
    AnyNetwork, Cell, Gradients, ModelConfig, Network, Right, State, init, named_vars,
};
use chargru::runtime::Rounds;
use chargru::text::{Tokenizer, VocabularyOptions};
use chargru::train::{AdamW, AdamWConfig, TrainConfig};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// V of every measured network: as many as Shakespeare's text has characters.
pub const VOCAB: usize = 65;

/// E = H, as the peers' scripts have it.
pub fn model(cell: Cell, hidden: usize, layers: usize) -> ModelConfig {
    ModelConfig {
        cell,
        vocab: VOCAB,
        embedding: hidden,
        hidden,
        layers,
        dropout: 0.0,
        tie_weights: false,
        bidirectional: false,
        residual: false,
    }
}

/// Ids [T, B].
pub fn random_ids(seq_len: usize, batch: usize, rng: &mut ChaCha8Rng) -> Result<Tensor> {
    let ids: Vec<u32> = (0..seq_len * batch).map(|_| rng.random_range(0..VOCAB as u32)).collect();
    Ok(Tensor::from_vec(ids, (seq_len, batch), &Device::Cpu)?)
}

pub struct TrainStep {
    network: AnyNetwork,
    optimizer: AdamW,
    state: State,
    rounds: Rounds,
}

impl TrainStep {
    pub fn new(config: &ModelConfig, batch: usize, precision: Precision) -> Result<Self> {
        let weights = init(config, &mut ChaCha8Rng::seed_from_u64(0), &Device::Cpu)?;
        let vb = VarBuilder::from_varmap(&weights, DType::F32, &Device::Cpu);
        let lr = AdamWConfig { lr: 2e-3, ..AdamWConfig::default() };
        Ok(Self {
            network: AnyNetwork::new(config, vb)?.with_precision(precision)?,
            optimizer: AdamW::named(named_vars(&weights)?, lr)?,
            state: State::zeros(config, batch, &Device::Cpu)?,
            rounds: Rounds::default(),
        })
    }

    /// One step on `ids` and `targets`, [T, B] each, as a trainer does it.
    pub fn run(&mut self, ids: &Tensor, targets: &Tensor) -> Result<()> {
        let mut rounds = std::mem::take(&mut self.rounds);
        let result = rounds.run(|| self.run_here(ids, targets));
        self.rounds = rounds;
        result
    }

    /// The same on this thread, whose sections a pool may share.
    pub fn run_here(&mut self, ids: &Tensor, targets: &Tensor) -> Result<()> {
        let margin = TrainConfig::default().margin.min(ids.dim(0)?);
        // Which ids stand where does not change what a step costs.
        let right = self.network.bidirectional().map(|_| -> Result<Right> {
            Ok(Right {
                ids: targets.clone(),
                resets: None,
                margin: Some(ids.narrow(0, 0, margin)?.contiguous()?),
                margin_resets: None,
                scored: None,
            })
        });
        let right = right.transpose()?;
        let (window, state) = ((ids, targets), &self.state);
        let Gradients { grads, .. } =
            self.network.gradients(window, state, None, right.as_ref(), None)?;
        let norm = self.optimizer.gradient_norm(&grads)?;
        Ok(self.optimizer.step_scaled(&grads, (1.0 / norm).min(1.0))?)
    }
}

/// A network of random weights that writes 400 characters at temperature 0.8.
pub struct Writer {
    network: Network,
    tokenizer: Arc<Tokenizer>,
}

impl Writer {
    pub const LENGTH: usize = 400;

    pub fn new(config: &ModelConfig) -> Result<Self> {
        let text: String = ('0'..).take(VOCAB).collect();
        let weights = init(config, &mut ChaCha8Rng::seed_from_u64(0), &Device::Cpu)?;
        let vb = VarBuilder::from_varmap(&weights, DType::F32, &Device::Cpu);
        Ok(Self {
            network: Network::new(config, vb)?,
            tokenizer: Arc::new(Tokenizer::build(&text, &VocabularyOptions::default())?.0),
        })
    }

    /// Ready to write, the weights laid out.
    pub fn begin(&self) -> Result<TextStream> {
        let request = Request { prompt: vec![0], length: Self::LENGTH, ..Request::default() };
        Ok(stream(&self.network.pack()?, Arc::clone(&self.tokenizer), &request)?)
    }

    pub fn finish(mut stream: TextStream) -> Result<()> {
        Ok(stream.try_for_each(|text| text.map(drop))?)
    }
}
