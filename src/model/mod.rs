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
//! | `readout` | hidden vectors to scores and their cost, in tensor operations |
//! | `network` | forward, loss, gradients |
//! | `bidirectional`, `any` | a network of both directions · either of the two |
//! | `sides` | texts that are read from both sides, the states between their ids |
//! | `trace` | the gates and states of every layer over a window |
//! | `session` | weights packed for inference, texts read side by side |

mod any;
mod backend;
mod bidirectional;
mod config;
mod cpu;
mod dropout;
mod init;
mod network;
mod readout;
mod reference;
mod session;
mod sides;
mod state;
mod trace;
mod weights;

pub use crate::fused::{Cell, Direction, LayerWeights, Precision};
pub use any::AnyNetwork;
pub use bidirectional::{BidirectionalNetwork, Right};
pub(crate) use config::EMBEDDING;
pub use config::ModelConfig;
pub(crate) use config::count_of_layers;
pub use dropout::Dropout;
pub(crate) use init::{bound, var_map};
pub use init::{init, named_vars};
pub use network::{Gradients, Network};
pub use readout::Readout;
pub use reference::sequence as reference_sequence;
pub use session::{PackedNetwork, Session};
pub use sides::{Sides, SidesReader};
pub use state::State;
pub use trace::{Gate, Trace};
pub use weights::NetworkWeights;
