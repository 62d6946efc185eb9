//! The cells: an enum for the rest of the program, and the one place that turns its values into types.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fused::rnn::cells::step::{BiasHh, CellStep};

mod gru;
mod gru_reset_after;
mod lstm;
mod mingru;
mod rnn;
pub mod step;

pub use gru::Gru;
pub use gru_reset_after::GruResetAfter;
pub use lstm::Lstm;
pub use mingru::MinGru;
pub use rnn::Rnn;

/// Which recurrence a layer computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cell {
    /// Cho et al. 2014: the reset gate acts before the matrix product. Gates r, z, n
    #[default]
    Gru,
    /// PyTorch, cuDNN, Keras `reset_after`: the reset gate acts after it, and z has the opposite
    /// sense. Gates r, z, n
    GruResetAfter,
    /// Hochreiter & Schmidhuber 1997, with a forget gate. Gates i, f, g, o
    Lstm,
    /// Elman 1990, with tanh
    Rnn,
    /// Feng et al. 2024: gates of the input alone. Gates z, n
    #[serde(rename = "mingru")]
    MinGru,
}

/// Runs `$body` with `$C` as the type of `$cell`. Works in `const fn` too. Called outside of every loop.
macro_rules! with_cell {
    ($cell:expr, $C:ident => $body:expr) => {
        match $cell {
            $crate::fused::rnn::cells::Cell::Gru => {
                type $C = $crate::fused::rnn::cells::Gru;
                $body
            }
            $crate::fused::rnn::cells::Cell::GruResetAfter => {
                type $C = $crate::fused::rnn::cells::GruResetAfter;
                $body
            }
            $crate::fused::rnn::cells::Cell::Lstm => {
                type $C = $crate::fused::rnn::cells::Lstm;
                $body
            }
            $crate::fused::rnn::cells::Cell::Rnn => {
                type $C = $crate::fused::rnn::cells::Rnn;
                $body
            }
            $crate::fused::rnn::cells::Cell::MinGru => {
                type $C = $crate::fused::rnn::cells::MinGru;
                $body
            }
        }
    };
}
pub(crate) use with_cell;

impl Cell {
    /// Every cell.
    pub const ALL: [Self; 5] =
        [Self::Gru, Self::GruResetAfter, Self::Lstm, Self::Rnn, Self::MinGru];

    /// As the command line and the checkpoint write it.
    pub const fn name(self) -> &'static str {
        with_cell!(self, C => C::NAME)
    }

    /// G: how many blocks of H rows the weights have.
    pub const fn gates(self) -> usize {
        with_cell!(self, C => C::GATES)
    }

    /// S: how many vectors the state has, h and for some cells c.
    pub const fn states(self) -> usize {
        with_cell!(self, C => C::STATES)
    }

    /// Whether there is a `weight_hh` beside `weight_ih`.
    pub const fn has_weight_hh(self) -> bool {
        with_cell!(self, C => !C::SECTIONS.is_empty())
    }

    /// Whether there is a `bias_hh` beside `bias_ih`.
    pub const fn has_bias_hh(self) -> bool {
        !matches!(self.bias_hh(), BiasHh::None)
    }

    /// What the cell does with `bias_hh`.
    pub(crate) const fn bias_hh(self) -> BiasHh {
        with_cell!(self, C => C::BIAS_HH)
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}
