//! One recurrent layer over a window, on slices.

pub mod cells;
pub mod layer;
pub mod recurrence;
pub mod sizes;
pub mod weights;
