//! How well a network predicts a text.
//!
//! | file | what it owns |
//! |---|---|
//! | `loss` | the loss of a whole text |
//! | `right` | what stands right of a window, as tensors |
//! | `score` | the cost of each id of one text, or of documents |

mod loss;
mod right;
mod score;

pub use loss::{EvalResult, evaluate, evaluate_any, evaluate_bidirectional};
pub(crate) use right::right_of;
pub use score::{DocumentScores, TextScore, score_documents, score_text};
