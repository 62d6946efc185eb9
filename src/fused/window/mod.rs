//! Loss and gradients of a whole network over a window, without candle's graph.
//!
//! candle's backward pass makes a tensor of zeros for each gradient and adds the gradient to it, on
//! one thread: at H = 128 a twentieth of a step, and as much memory again as the hidden sequences.
//! Here the gradient of a hidden sequence goes from layer to layer in the workspaces, and only the
//! weights' gradients become tensors. The sums are those of the ops in `autograd`, bit for bit.

mod bidirectional;
mod network;
mod stack;

pub use bidirectional::BidirectionalWindow;
pub use network::{Window, WindowGradients};
