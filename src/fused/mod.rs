//! Kernels for a CPU in float32: the recurrent layers and the readout with hand-written forward and
//! backward passes, the optimizer, and single steps for sampling.
//!
//! Every function gives the same result, to the bit, for any number of threads. Another instruction
//! set gives other last bits: AVX-512, AVX2, NEON and plain Rust round in different places.
//!
//! Training calls [`Window`], a whole network over a window without candle's graph. Whoever builds a
//! network of their own of these layers calls [`RecurrentLayer`] and [`readout_loss`], which are
//! candle ops. Both run the same passes and give the same bits.
//!
//! | room | what it owns | may import |
//! |---|---|---|
//! | `inference` | one time step at a time, without gradients | rnn, norm, gemm, simd, tensors |
//! | `window` | loss and gradients of a network over a window, without candle's graph | rnn, readout, norm, workspace, mask, gemm, simd, tensors |
//! | `autograd` | a layer, its normalisation, and the readout, as candle ops | rnn, readout, norm, workspace, simd, tensors |
//! | `readout` | logits, softmax and cross-entropy, on slices | workspace, gemm, simd, tensors, parallel |
//! | `rnn` | one recurrent layer over a window, on slices; its cells | workspace, gemm, simd, tensors, parallel |
//! | `norm` | layer normalisation and the residual connection, on slices | gemm, simd, parallel |
//! | `workspace` | buffers that are kept from pass to pass | gemm, simd |
//! | `optimizer` | AdamW and the norm of a gradient | tensors, parallel |
//! | `gemm` | matrix products and sums on slices | simd, parallel |
//! | `mask` | dropout's mask | parallel |
//! | `tensors` | candle tensors as slices, checked | nothing |
//! | `simd` | what is written once per instruction set: vectors, the product's innermost loop | nothing |
//! | `parallel` | work shared among threads | nothing |

mod autograd;
mod gemm;
mod inference;
mod mask;
mod norm;
mod optimizer;
pub(crate) mod parallel;
mod readout;
mod rnn;
mod simd;
mod tensors;
#[cfg(test)]
mod tests;
mod window;
mod workspace;

pub use autograd::norm::layer_norm;
pub use autograd::readout::readout_loss;
pub use autograd::sequence::{Input, LayerTrace, RecurrentLayer};
pub use gemm::speed::product_speed;
pub use inference::packed::PackedNetwork;
pub use inference::session::Session;
pub use mask::Mask;
pub use optimizer::{AdamWStep, adamw, average, squared_norm};
#[doc(hidden)]
pub use parallel::{Section, record};
pub use rnn::cells::Cell;
pub use rnn::sizes::Direction;
pub use rnn::weights::LayerWeights;
pub use simd::level::Precision;
pub use tensors::supported;
pub use window::{BidirectionalWindow, Window, WindowGradients};
pub use workspace::Workspace;
