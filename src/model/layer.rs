//! One recurrent layer: its weights, and which implementation runs it.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::cells;
use super::config::{Cell, ModelConfig};
use crate::fused;

/// Which implementation of a cell runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// The fused kernels where they can run (float32 on a CPU), else the reference.
    #[default]
    Fastest,
    /// The tensor-op reference everywhere.
    Reference,
}

/// The weights of one layer as PyTorch names and shapes them. G: gates of the cell.
#[derive(Clone, Debug)]
pub struct LayerWeights {
    /// [G·H, I]
    pub weight_ih: Tensor,
    /// [G·H, H]
    pub weight_hh: Tensor,
    /// [G·H]
    pub bias_ih: Tensor,
    /// [G·H]; a `gru` has none
    pub bias_hh: Option<Tensor>,
}

impl LayerWeights {
    pub(super) fn new(config: &ModelConfig, index: usize, vb: &VarBuilder) -> Result<Self> {
        let rows = config.cell.gates() * config.hidden;
        let input = if index == 0 { config.embedding } else { config.hidden };
        Ok(Self {
            weight_ih: vb.get((rows, input), &format!("weight_ih_l{index}"))?,
            weight_hh: vb.get((rows, config.hidden), &format!("weight_hh_l{index}"))?,
            bias_ih: vb.get(rows, &format!("bias_ih_l{index}"))?,
            bias_hh: if config.cell.has_bias_hh() {
                Some(vb.get(rows, &format!("bias_hh_l{index}"))?)
            } else {
                None
            },
        })
    }

    /// The same tensors as the fused kernels take them.
    pub fn as_fused(&self) -> fused::Weights<'_> {
        fused::Weights {
            weight_ih: &self.weight_ih,
            weight_hh: &self.weight_hh,
            bias_ih: &self.bias_ih,
            bias_hh: self.bias_hh.as_ref(),
        }
    }
}

/// What a layer reads.
pub(super) enum Input<'a> {
    /// [T, B, I]: the layer below.
    Sequence(&'a Tensor),
    /// The first layer: ids [T, B] and the table [V, E] that embeds them.
    Embedded { ids: &'a Tensor, table: &'a Tensor },
}

pub(super) struct Layer {
    pub(super) cell: Cell,
    pub(super) weights: LayerWeights,
    pub(super) workspace: fused::Workspace,
}

impl Layer {
    pub(super) fn new(config: &ModelConfig, index: usize, vb: &VarBuilder) -> Result<Self> {
        Ok(Self {
            cell: config.cell,
            weights: LayerWeights::new(config, index, vb)?,
            workspace: fused::Workspace::default(),
        })
    }

    /// Hidden sequence [T, B, H] and final state [S, B, H]; see [`cells::sequence`].
    pub(super) fn forward(
        &self,
        input: Input,
        state: &Tensor,
        resets: Option<&Tensor>,
        fused_precision: Option<fused::Precision>,
    ) -> Result<(Tensor, Tensor)> {
        let Some(precision) = fused_precision else {
            let embedded;
            let input = match input {
                Input::Sequence(input) => input,
                Input::Embedded { ids, table } => {
                    embedded = embed(ids, table)?;
                    &embedded
                }
            };
            return cells::sequence(self.cell, input, &self.weights, state, resets);
        };
        let input = match input {
            Input::Sequence(input) => fused::Input::Sequence(input),
            Input::Embedded { ids, table } => fused::Input::Embedded { ids, table },
        };
        fused::sequence(
            self.cell,
            input,
            &self.weights.as_fused(),
            state,
            resets,
            precision,
            &self.workspace,
        )
    }
}

/// Rows of `table` [V, E] by `ids` [T, B]: [T, B, E].
fn embed(ids: &Tensor, table: &Tensor) -> Result<Tensor> {
    let (steps, batch) = ids.dims2()?;
    table.index_select(&ids.flatten_all()?, 0)?.reshape((steps, batch, ()))
}
