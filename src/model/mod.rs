//! The network: its configuration, its cells as plain tensor operations (the reference, which runs on
//! every device), layers, state, initial weights. Knows nothing of text or files.

mod cells;
mod config;
mod dropout;
mod init;
mod layer;
mod network;

pub use cells::sequence as reference_sequence;
pub(crate) use config::EMBEDDING;
pub use config::{Cell, ModelConfig};
pub use dropout::Dropout;
pub(crate) use init::{bound, var_map};
pub use init::{init, named_vars};
pub use layer::{Backend, LayerWeights};
pub use network::{Gradients, Network, State};
