//! How well a network predicts a text.
//!
//! | file | what it owns |
//! |---|---|
//! | `loss` | the loss of a whole text |
//! | `score` | the cost of each id of one text, or of documents |

mod loss;
mod score;

pub use loss::{EvalResult, evaluate};
pub use score::{DocumentScores, TextScore, score_documents, score_text};
