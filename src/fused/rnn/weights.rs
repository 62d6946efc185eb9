//! The tensors of one recurrent layer: what must fit together, and how the kernels read them.

use crate::fused::gemm::panels::{Order, Panels};
use crate::fused::rnn::cells::step::{BiasHh, CellStep};
use crate::fused::rnn::cells::{Cell, with_cell};
use crate::fused::simd::level::Level;
use crate::fused::tensors::{self, floats};
use candle_core::{Result, Tensor, bail};

/// A layer's weights as PyTorch names and shapes them; G gates stacked as r, z, n (LSTM i, f, g, o).
/// Tensors are handles: a clone copies no numbers.
#[derive(Clone, Debug)]
pub struct LayerWeights {
    /// `[G·H, I]`
    pub weight_ih: Tensor,
    /// `[G·H, H]`, exactly where [`Cell::has_weight_hh`].
    pub weight_hh: Option<Tensor>,
    /// `[G·H]`
    pub bias_ih: Tensor,
    /// `[G·H]`, exactly where [`Cell::has_bias_hh`].
    pub bias_hh: Option<Tensor>,
}

/// Which product the recurrent weights are packed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// `h · Wᵀ`, of a forward step.
    Forward,
    /// `dG · W`, of a backward step.
    Backward,
}

impl LayerWeights {
    /// The tensors that the layer has: the order of its gradients and of its autograd hooks.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        [Some(&self.weight_ih), self.weight_hh.as_ref(), Some(&self.bias_ih), self.bias_hh.as_ref()]
            .into_iter()
            .flatten()
    }

    /// H, from the bias that every cell has.
    ///
    /// # Errors
    /// A `bias_ih` that is not `[G·H]` for any H.
    pub fn hidden_size(&self, cell: Cell) -> Result<usize> {
        let rows = self.bias_ih.dims1()?;
        if rows == 0 || !rows.is_multiple_of(cell.gates()) {
            bail!("bias_ih of a {cell} must be [{}·H], got [{rows}]", cell.gates());
        }
        Ok(rows / cell.gates())
    }

    /// Checks that the shapes are those of a layer of `cell` from I to H.
    ///
    /// # Errors
    /// A tensor of another shape, one too many, or one missing.
    pub(crate) fn check(&self, cell: Cell, i: usize, h: usize) -> Result<()> {
        let rows = cell.gates() * h;
        tensors::expect("weight_ih", &self.weight_ih, &[rows, i])?;
        tensors::expect("bias_ih", &self.bias_ih, &[rows])?;
        let optional =
            |name: &str, tensor: &Option<Tensor>, wanted: bool, dims: &[usize]| match tensor {
                Some(tensor) if wanted => tensors::expect(name, tensor, dims),
                None if !wanted => Ok(()),
                Some(_) => bail!("a {cell} has no {name}, but one was given"),
                None => bail!("a {cell} has a {name} {dims:?}, but none was given"),
            };
        optional("weight_hh", &self.weight_hh, cell.has_weight_hh(), &[rows, h])?;
        optional("bias_hh", &self.bias_hh, cell.has_bias_hh(), &[rows])
    }

    /// The same weights, each contiguous.
    pub(crate) fn contiguous(&self) -> Result<Self> {
        let optional =
            |tensor: &Option<Tensor>| tensor.as_ref().map(Tensor::contiguous).transpose();
        Ok(Self {
            weight_ih: self.weight_ih.contiguous()?,
            weight_hh: optional(&self.weight_hh)?,
            bias_ih: self.bias_ih.contiguous()?,
            bias_hh: optional(&self.bias_hh)?,
        })
    }

    /// `b_ih` and what of `b_hh` adds to it, `[G·H]`; and `b_hn` `[H]` where [`BiasHh::LastApart`].
    pub(crate) fn biases(&self, cell: Cell) -> Result<(Vec<f32>, Vec<f32>)> {
        let mut bias: Vec<f32> = self.bias_ih.to_vec1()?;
        let Some(recurrent) = &self.bias_hh else {
            return Ok((bias, Vec::new()));
        };
        let mut recurrent: Vec<f32> = recurrent.to_vec1()?;
        let apart = match cell.bias_hh() {
            BiasHh::LastApart => {
                recurrent.split_off(recurrent.len() - recurrent.len() / cell.gates())
            }
            BiasHh::None | BiasHh::Added => Vec::new(),
        };
        bias.iter_mut().zip(&recurrent).for_each(|(b, r)| *b += r);
        Ok((bias, apart))
    }

    /// Packs `weight_hh` section by section; does nothing for a cell without it. Takes contiguous
    /// weights of hidden size H.
    pub(crate) fn pack_recurrent(
        &self,
        cell: Cell,
        level: Level,
        h: usize,
        product: Product,
        panels: &mut [Panels; 2],
    ) -> Result<()> {
        let Some(weight) = &self.weight_hh else { return Ok(()) };
        let weight = floats(weight)?;
        let sections = with_cell!(cell, C => C::SECTIONS);
        let mut first = 0;
        for (panels, section) in panels.iter_mut().zip(sections) {
            let rows = section.blocks * h;
            let weight = &weight[first * h..];
            match product {
                Product::Forward => panels.pack(level, weight, Order::ColumnMajor, h, rows),
                Product::Backward => panels.pack(level, weight, Order::RowMajor, rows, h),
            }
            first += rows;
        }
        Ok(())
    }
}
