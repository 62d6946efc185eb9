//! The recurrent layers as single candle ops with hand-written backward passes, and what else a
//! training step and a sampled character consist of, fast on a CPU in float32.
//!
//! Every function gives the same result, to the bit, for any number of threads. What differs in the
//! last bits is another instruction set: AVX-512, AVX2 and plain Rust round in different places.
//!
//! | file | what it owns |
//! |---|---|
//! | `simd`, `activations` | the instruction set · sigmoid and tanh |
//! | `kernel`, `matmul`, `bf16` | the tile in registers · packed products · their bfloat16 words |
//! | `cells`, `recurrence` | one step of each cell · the loop over T |
//! | `sizes`, `layer` | a layer over a window: what fits together · the passes, on slices |
//! | `op`, `sequence` | the same as a candle op · its interface |
//! | `gradients` | sums over the window |
//! | `taps`, `tensors` | what it takes to be a candle op |
//! | `memory`, `workspace` | aligned buffers · what is kept from pass to pass |
//! | `mask` | dropout |
//! | `window` | a whole network over a window, loss and gradients, without candle's graph |
//! | `readout` | logits, softmax and cross-entropy as one op |
//! | `optimizer` | AdamW and the gradient norm |
//! | `speed` | the kernel's, measured |
//! | `stepper` | one character at a time, without autograd |
//! | `mapped`, `process` | a file as bytes · the process's settings: here only because `unsafe` is |

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

mod activations;
mod bf16;
mod cells;
mod gradients;
mod kernel;
mod layer;
mod mapped;
mod mask;
mod matmul;
mod memory;
mod op;
mod optimizer;
mod process;
mod readout;
mod recurrence;
mod sequence;
mod simd;
mod sizes;
mod speed;
mod stepper;
mod taps;
mod tensors;
#[cfg(test)]
mod tests;
mod window;
mod workspace;

pub use mapped::map_file;
pub use mask::Mask;
pub use optimizer::{AdamWStep, adamw, squared_norm};
pub use process::prepare_process;
pub use readout::readout_loss;
pub use sequence::{Input, Weights, sequence};
use simd::Level;
pub use speed::product_speed;
pub use stepper::Stepper;
pub use tensors::supported;
pub use window::{Gradients, Window};
pub use workspace::Workspace;

/// Which recurrence a layer runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
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
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(match self {
            Self::Gru => "gru",
            Self::GruResetAfter => "gru-reset-after",
            Self::Lstm => "lstm",
            Self::Rnn => "rnn",
        })
    }
}

impl Cell {
    /// How many blocks of H rows the weights have.
    pub const fn gates(self) -> usize {
        self.sections()[0] + self.sections()[1]
    }

    /// How many vectors the state has: h, and the LSTM's c.
    pub const fn states(self) -> usize {
        match self {
            Self::Lstm => 2,
            _ => 1,
        }
    }

    /// Whether there is a `bias_hh` beside `bias_ih`.
    pub const fn has_bias_hh(self) -> bool {
        !matches!(self, Self::Gru)
    }

    /// The row blocks of `weight_hh`, in units of H, that enter separate products.
    const fn sections(self) -> [usize; 2] {
        match self {
            Self::Gru | Self::GruResetAfter => [2, 1],
            Self::Lstm => [4, 0],
            Self::Rnn => [1, 0],
        }
    }
}

/// What the operands of the matrix products are rounded to; weights, sums and all else are float32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// float32 throughout
    #[default]
    F32,
    /// operands rounded to bfloat16, sums in float32
    Bf16,
}

impl Precision {
    /// # Errors
    /// bf16 on a processor without AVX512_BF16.
    pub fn ensure_supported(self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self == Self::F32 || Self::bf16_supported(),
            "--precision bf16 needs a processor with AVX512_BF16, and this one has none: leave it out"
        );
        Ok(())
    }

    /// Whether this processor multiplies bfloat16 (AVX512_BF16).
    pub fn bf16_supported() -> bool {
        Level::choose(Self::Bf16).is_ok()
    }
}
