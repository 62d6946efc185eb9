//! How well a network predicts a text.
//!
//! | file | what it owns |
//! |---|---|
//! | `loss` | the loss of a whole text |
//! | `right` | what stands right of a window, as tensors |
//! | `score` | the cost of each id of one text, or of documents |
//! | `both_sides` | the same, given what stands on both sides |

mod both_sides;
mod loss;
mod right;
mod score;

pub use both_sides::{BothSidesScores, score_both_sides};
pub use loss::{EvalResult, evaluate, evaluate_any, evaluate_bidirectional};
pub(crate) use right::right_of;
pub use score::{DocumentScores, TextScore, score_documents, score_text};
