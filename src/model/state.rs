//! What the layers carry from one window to the next.

use candle_core::{DType, Device, Result, Tensor};

use crate::model::config::ModelConfig;

/// The state of every layer.
#[derive(Clone, Debug)]
pub struct State {
    /// One tensor a layer, [S, B, H]: h, and for an LSTM then c.
    pub layers: Vec<Tensor>,
}

impl State {
    /// The state before any text.
    ///
    /// # Errors
    /// No memory on the device.
    pub fn zeros(config: &ModelConfig, batch: usize, device: &Device) -> Result<Self> {
        let shape = (config.cell.states(), batch, config.hidden);
        let layers = (0..config.layers)
            .map(|_| Tensor::zeros(shape, DType::F32, device))
            .collect::<Result<_>>()?;
        Ok(Self { layers })
    }

    /// The same numbers with no history: where truncated BPTT cuts.
    pub fn detach(&self) -> Self {
        Self { layers: self.layers.iter().map(Tensor::detach).collect() }
    }

    /// The states of some rows: row i becomes a copy of row `rows[i]`.
    ///
    /// # Errors
    /// A row that is not there.
    pub fn select(&self, rows: &[usize]) -> Result<Self> {
        let of = |state: &Tensor| {
            let index: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
            state.index_select(&Tensor::from_vec(index, rows.len(), state.device())?, 1)
        };
        Ok(Self { layers: self.layers.iter().map(of).collect::<Result<_>>()? })
    }

    /// The state of the last row alone, as a batch of one.
    ///
    /// # Errors
    /// No rows.
    pub fn last_row(&self) -> Result<Self> {
        let of = |state: &Tensor| state.narrow(1, state.dim(1)? - 1, 1)?.contiguous();
        Ok(Self { layers: self.layers.iter().map(of).collect::<Result<_>>()? })
    }
}
