//! Matrix products and sums on slices. Knows no cells.

pub mod panels;
pub mod product;
pub mod reduce;
pub mod speed;
pub mod transposed;
