//! The recurrent layers with hand-written forward and backward passes, and whatever else a training
//! step and a sampled character consist of, fast on a CPU in float32.
//!
//! Every function gives the same result, to the bit, for any number of threads. Another instruction
//! set gives other last bits: AVX-512, AVX2 and plain Rust round in different places.
//!
//! Training calls [`Window`], a whole network over a window without candle's graph. Whoever builds a
//! network of their own of these layers calls [`RecurrentLayer`] and [`readout_loss`], which are
//! candle ops. Both run the same passes and give the same bits.
//!
//! | room | what it owns |
//! |---|---|
//! | `simd` | what is written once per instruction set: vectors, the product's innermost loop |
//! | `gemm` | matrix products and sums on slices |
//! | `tensors`, `mask`, `optimizer` | candle tensors as slices · dropout's mask · AdamW, gradient norm |
//! | `workspace` | buffers that are kept from pass to pass |
//! | `rnn` | one recurrent layer over a window, on slices; its cells |
//! | `readout` | logits, softmax and cross-entropy, on slices |
//! | `autograd` | the two as candle ops |
//! | `window` | loss and gradients of a network over a window, without candle's graph |
//! | `inference` | one time step at a time, without gradients |

mod autograd;
mod gemm;
mod inference;
mod mask;
mod optimizer;
mod readout;
mod rnn;
mod simd;
mod tensors;
#[cfg(test)]
mod tests;
mod window;
mod workspace;

pub use autograd::readout::readout_loss;
pub use autograd::sequence::{Input, RecurrentLayer};
pub use gemm::speed::product_speed;
pub use inference::packed::PackedNetwork;
pub use inference::session::Session;
pub use mask::Mask;
pub use optimizer::{AdamWStep, adamw, squared_norm};
pub use rnn::cells::Cell;
pub use rnn::sizes::Direction;
pub use rnn::weights::LayerWeights;
pub use simd::level::Precision;
pub use tensors::supported;
pub use window::{Gradients, Window};
pub use workspace::Workspace;
