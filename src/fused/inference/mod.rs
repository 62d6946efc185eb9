//! One time step at a time, without gradients.

pub mod packed;
pub mod session;
