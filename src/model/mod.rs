//! The network: its configuration, weights, state, initial weights, and which implementation runs it.
//! Knows nothing of text or files.
//!
//! | file | what it owns |
//! |---|---|
//! | `config` | what fixes a network's shape; names and shapes of its tensors |
//! | `weights`, `state` | the tensors by name · what the layers carry from window to window |
//! | `init`, `dropout` | initial weights · masks drawn from the seed |
//! | `reference`, `cpu` | the cells in tensor operations, on any device · the same by `fused` |
//! | `backend` | which of the two runs |
//! | `network` | forward, loss, gradients |
//! | `session` | weights packed for inference, texts read side by side |

mod backend;
mod config;
mod cpu;
mod dropout;
mod init;
mod network;
mod reference;
mod session;
mod state;
mod weights;

pub use crate::fused::{Cell, Direction, LayerWeights, Precision};
pub(crate) use config::EMBEDDING;
pub use config::ModelConfig;
pub use dropout::Dropout;
pub(crate) use init::{bound, var_map};
pub use init::{init, named_vars};
pub use network::{Gradients, Network};
pub use reference::sequence as reference_sequence;
pub use session::{PackedNetwork, Session};
pub use state::State;
pub use weights::NetworkWeights;
