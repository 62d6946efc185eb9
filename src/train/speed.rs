//! How fast this machine trains a network, measured on a few steps.

use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::error::Result;
use crate::model::{ModelConfig, Network, State, init};
use crate::train::config::TrainConfig;

/// Time after which no further step is measured.
const ENOUGH: Duration = Duration::from_millis(200);
/// Steps that are measured at most, after one that allocates the buffers.
const STEPS: u32 = 5;

/// Ids a second that a network of one direction of this shape is trained on, by the fastest of a few steps of
/// random ids: what else the machine does counts as little as possible. Takes a fraction of a second, or two
/// steps.
///
/// # Errors
/// [`Error::Tensor`](crate::error::Error::Tensor) if there is no memory.
pub fn training_speed(model: &ModelConfig, train: &TrainConfig, device: &Device) -> Result<f64> {
    let model = ModelConfig { vocab: model.vocab.max(2), bidirectional: false, ..model.clone() };
    let weights = init(&model, &mut ChaCha8Rng::seed_from_u64(0), device)?;
    let vb = VarBuilder::from_varmap(&weights, DType::F32, device);
    let network = Network::new(&model, vb)?.with_precision(train.precision)?;
    let (t, b) = (train.seq_len, train.batch);
    let last = model.vocab as u32 - 1;
    let ids: Vec<u32> = (0..t * b).map(|i| (i as u32).wrapping_mul(2_654_435_761) % last).collect();
    let ids = Tensor::from_vec(ids, (t, b), device)?;
    let state = State::zeros(&model, b, device)?;
    let (mut fastest, begun) = (f64::INFINITY, Instant::now());
    for step in 0..=STEPS {
        let started = Instant::now();
        network.gradients(&ids, &ids, &state, None, None)?;
        if step > 0 {
            fastest = fastest.min(started.elapsed().as_secs_f64());
            if begun.elapsed() >= ENOUGH {
                break;
            }
        }
    }
    Ok((t * b) as f64 / fastest.max(1e-9))
}
