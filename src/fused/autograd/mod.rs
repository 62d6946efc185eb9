//! The kernels as candle ops with hand-written backward passes.

mod hooks;
pub mod norm;
pub mod readout;
pub mod sequence;
