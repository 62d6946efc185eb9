//! What the units of a network do while it reads a text: the gates and states of every unit, how long each
//! keeps what it holds, and which follow something that a reader sees in the text. After Karpathy, Johnson
//! and Fei-Fei 2015, "Visualizing and Understanding Recurrent Networks".
//!
//! | file | what it owns |
//! |---|---|
//! | `reading` | a text in ids, with its documents; its windows as the network reads them |
//! | `inspection` | a gate or state of one layer over a text, as JSON too |
//! | `memory` | how many characters a unit keeps what it holds |
//! | `features` | what a reader sees at each character: quotation marks, capitals, the place in the line |
//! | `find` | for each feature the units that follow it best |
//! | `columns`, `units` | the features at each token · all units, and the choice among them |
//! | `bins`, `scores` | many units at once, roughly · one unit, exactly |
//! | `json` | all this as JSON |

mod bins;
mod columns;
mod features;
mod find;
mod inspection;
mod json;
mod memory;
mod reading;
mod scores;
mod units;

pub use columns::LeftOut;
pub use features::{Feature, features};
pub use find::{Found, FoundUnit, MOST_CHARACTERS, find};
pub use inspection::{Inspection, inspect, inspect_all};
pub use memory::{Bin, histogram, keeping_gate};
pub use reading::Reading;
