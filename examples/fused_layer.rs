//! The fused recurrent layer inside a candle model of one's own: a GRU learns the parity of the bits
//! that it has read so far.
//!
//!     cargo run --release --example fused_layer
//!
//! [`RecurrentLayer`] is a candle op with a hand-written backward pass: `loss.backward()` and any
//! candle optimizer work with it as with other tensors. It takes float32 tensors on a CPU.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{AdamW, Linear, Module, Optimizer, ParamsAdamW, VarBuilder, VarMap, init, linear};
use chargru::fused::{Cell, Input, LayerWeights, RecurrentLayer};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// H, the width of the layer; B, texts side by side; T, time steps.
const H: usize = 32;
const B: usize = 32;
const T: usize = 24;

struct Parity {
    layer: RecurrentLayer,
    readout: Linear,
}

impl Parity {
    /// The weights by PyTorch's names and with its initial values.
    fn new(cell: Cell, vb: VarBuilder) -> Result<Self> {
        let rows = cell.gates() * H;
        let bound = 1.0 / (H as f64).sqrt();
        let uniform = init::Init::Uniform { lo: -bound, up: bound };
        let weights = LayerWeights {
            weight_ih: vb.get_with_hints((rows, 1), "weight_ih_l0", uniform)?,
            weight_hh: Some(vb.get_with_hints((rows, H), "weight_hh_l0", uniform)?),
            bias_ih: vb.get_with_hints(rows, "bias_ih_l0", uniform)?,
            // `Cell::Gru` has one bias; `Cell::GruResetAfter` and `Cell::Lstm` have a second.
            bias_hh: None,
        };
        let layer = RecurrentLayer::new(cell, weights);
        Ok(Self { layer, readout: linear(H, 2, vb.pp("readout"))? })
    }

    /// Logits [T·B, 2] of the parity after each of `bits` [T, B, 1].
    fn forward(&self, bits: &Tensor) -> Result<Tensor> {
        // [S, B, H]; S is 1, for an LSTM 2.
        let state = Tensor::zeros((1, B, H), DType::F32, bits.device())?;
        let (hidden, _last) = self.layer.forward(Input::Sequence(bits), &state, None)?;
        self.readout.forward(&hidden.flatten(0, 1)?)
    }
}

/// Random bits [T, B, 1], and the parity [T·B] of each text up to and with each step.
fn batch(rng: &mut ChaCha8Rng) -> Result<(Tensor, Tensor)> {
    let (mut bits, mut parity) = (Vec::new(), Vec::new());
    let mut odd = [0u32; B];
    for _ in 0..T {
        for odd in &mut odd {
            let bit = u32::from(rng.random::<bool>());
            *odd ^= bit;
            bits.push(bit as f32);
            parity.push(*odd);
        }
    }
    let targets = Tensor::from_vec(parity, T * B, &Device::Cpu)?;
    Ok((Tensor::from_vec(bits, (T, B, 1), &Device::Cpu)?, targets))
}

fn main() -> Result<()> {
    let vars = VarMap::new();
    let vb = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
    let model = Parity::new(Cell::Gru, vb)?;
    let settings = ParamsAdamW { lr: 0.01, weight_decay: 0.0, ..ParamsAdamW::default() };
    let mut optimizer = AdamW::new(vars.all_vars(), settings)?;
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for step in 1..=400 {
        let (bits, targets) = batch(&mut rng)?;
        let logits = model.forward(&bits)?;
        let loss = candle_nn::loss::cross_entropy(&logits, &targets)?;
        optimizer.backward_step(&loss)?;
        if step % 50 == 0 || step == 1 {
            let right = logits.argmax(1)?.eq(&targets)?.to_dtype(DType::F32)?.mean_all()?;
            println!(
                "step {step:3}: loss {:.4}, {:.0} % right",
                loss.to_scalar::<f32>()?,
                100.0 * right.to_scalar::<f32>()?
            );
        }
    }
    Ok(())
}
