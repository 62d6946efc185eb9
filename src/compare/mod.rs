//! Cells compared: networks that differ in their cell only, trained in turns on one text under the same budget.
//! Never prints.
//!
//! | file | what it owns |
//! |---|---|
//! | `plan` | what is compared, and under which budget |
//! | `sizes` | the hidden size that gives a network so many parameters |
//! | `comparison` | the networks trained in turns |
//! | `folder`, `resume` | where a comparison is saved · one that goes on |
//! | `results` | the figures |
//! | `reach` | losses worth a column, and when a curve reached them |
//! | `conclusion` | what the figures say, of GRU and LSTM above all |
//! | `chart` | the curves as SVG |

#[cfg(feature = "cli")]
mod chart;
mod comparison;
mod conclusion;
mod folder;
mod plan;
mod reach;
mod results;
mod resume;
mod sizes;

pub use comparison::{Comparison, Update, What};
pub use folder::check_folder;
pub use plan::Plan;
pub use results::{CellResult, Machine, Point, Reached, Results, State};
pub use resume::SavedComparison;
pub use sizes::hidden_for;
