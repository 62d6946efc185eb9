//! Matrix products and sums on slices. Knows no cells.

pub mod panels;
pub mod product;
#[cfg(test)]
mod product_tests;
pub mod reduce;
#[cfg(test)]
mod reduce_tests;
pub mod speed;
pub mod transposed;
#[cfg(test)]
mod transposed_tests;
