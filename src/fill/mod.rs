//! Fills gaps in texts by what stands on both sides of them.
//!
//! | file | what it owns |
//! |---|---|
//! | `filler`, `options` | texts with gaps in, filled texts out · what is asked |
//! | `pattern`, `draft` | which characters are gaps · the same in ids, and which gaps are filled together |
//! | `search` | proposes fillings and weighs them, the best ones more exactly |
//! | `propose`, `alphabet` | likely fillings · which ids a gap may hold |
//! | `context`, `weigh` | what both halves have read on the two sides · how likely fillings are between them |
//! | `draw` | draws different combinations of the fillings of several gaps |

mod alphabet;
mod context;
mod draft;
mod draw;
mod filler;
mod options;
mod pattern;
mod propose;
mod search;
mod weigh;

pub use filler::{Filler, Filling};
pub use options::{FillOptions, LONGEST_GAP, MAX_FILLINGS};
