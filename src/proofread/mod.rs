//! Finds the characters of a text that both of their sides find unlikely, and what would be likelier.
//!
//! | file | what it owns |
//! |---|---|
//! | `edit` | a change of a text in ids |
//! | `segments` | a text cut into segments that are read side by side |
//! | `propose` | the edits that are worth scoring |
//! | `score` | how much likelier an edit makes a text |
//! | `judge` | the best edits of texts |
//! | `thresholds` | the gain above which clean text has few false alarms |
//! | `chunks` | a text of any length, cut into chunks with context |
//! | `finding` | what is reported |
//! | `place` | where the next part of a text begins, and where the last edit won |
//! | `proofreader` | all of it, on text |

mod chunks;
mod edit;
mod finding;
mod judge;
mod place;
mod proofreader;
mod propose;
mod score;
mod segments;
mod thresholds;

pub use edit::Kind;
pub use finding::{Checked, Finding};
pub use proofreader::Proofreader;
pub use thresholds::{FALSE_ALARMS, Thresholds};
