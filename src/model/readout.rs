//! The readout: scores of an id after a hidden vector, and what they cost, in tensor operations.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

/// Logits in one block of rows of [`Readout::token_nll`]: 1 MB, and the softmax takes three times that.
const LOGITS_BLOCK: usize = 1 << 18;

/// A linear layer from hidden vectors to scores. A clone copies no numbers.
#[derive(Clone, Debug)]
pub struct Readout {
    /// `[V, H]`; of both sides of a bidirectional network `[V, 2H]`
    pub weight: Tensor,
    /// `[V]`
    pub bias: Tensor,
}

impl Readout {
    /// Takes `{name}.weight` and `{name}.bias` from `vb`.
    pub(super) fn load(vb: &VarBuilder, name: &str, vocab: usize, width: usize) -> Result<Self> {
        Ok(Self {
            weight: vb.get((vocab, width), &format!("{name}.weight"))?,
            bias: vb.get(vocab, &format!("{name}.bias"))?,
        })
    }

    /// Scores of the id: [.., H] to [.., V].
    pub(super) fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        let (vocab, width) = self.weight.dims2()?;
        let mut shape = hidden.dims().to_vec();
        let rows = hidden.elem_count() / width;
        if let Some(last) = shape.last_mut() {
            *last = vocab;
        }
        hidden
            .reshape((rows, width))?
            .matmul(&self.weight.t()?)?
            .broadcast_add(&self.bias)?
            .reshape(shape)
    }

    /// Mean cross-entropy, in nats, of those of `targets` [T, B] for which `scored` [T, B] (u8) is not 0.
    pub(super) fn loss(
        &self,
        hidden: &Tensor,
        targets: &Tensor,
        scored: Option<&Tensor>,
    ) -> Result<Tensor> {
        let logits = self.logits(hidden)?.flatten(0, 1)?;
        let targets = targets.flatten_all()?;
        let Some(scored) = scored else {
            return candle_nn::loss::cross_entropy(&logits, &targets);
        };
        let counts = scored.ne(0u8)?.flatten_all()?.to_dtype(logits.dtype())?;
        let count = counts.sum_all()?.to_dtype(candle_core::DType::F32)?.to_scalar::<f32>()?;
        let likely = candle_nn::ops::log_softmax(&logits, 1)?.gather(&targets.unsqueeze(1)?, 1)?;
        (likely.squeeze(1)? * counts)?.sum_all()? / f64::from(-count.max(1.0))
    }

    /// Nats of each of `targets` [T, B] after `hidden` [T, B, H], without gradient: [T, B]. The logits are
    /// taken for a block of rows at a time, so that memory does not grow with T·B·V.
    pub(super) fn token_nll(&self, hidden: &Tensor, targets: &Tensor) -> Result<Tensor> {
        let (vocab, width) = self.weight.dims2()?;
        let rows = targets.elem_count();
        let hidden = hidden.detach().reshape((rows, width))?;
        let flat = targets.flatten_all()?;
        let block = (LOGITS_BLOCK / vocab).max(1);
        let of_block = |first: usize| {
            let count = block.min(rows - first);
            let logits = self.logits(&hidden.narrow(0, first, count)?)?;
            let targets = flat.narrow(0, first, count)?.unsqueeze(1)?;
            // Without its history, which would keep the block's logits alive.
            let nats = candle_nn::ops::log_softmax(&logits, 1)?.gather(&targets, 1)?.neg()?;
            Ok(nats.detach())
        };
        let blocks = (0..rows).step_by(block).map(of_block).collect::<Result<Vec<_>>>()?;
        Tensor::cat(&blocks, 0)?.reshape(targets.dims())
    }
}
