//! Logits, softmax and mean cross-entropy, on slices. The only arrays of the size of the logits are
//! their gradients, which the forward pass computes while a block of them is in cache.

pub mod pair;
pub mod single;
mod softmax;
