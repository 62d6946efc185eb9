//! From ids to the windows that training and evaluation read. Knows nothing of candle or of models.
//!
//! | file | what it owns |
//! |---|---|
//! | `ids`, `documents` | a part of one long text · separate documents |
//! | `encoded` | either of them, split into training and validation |
//! | `batch`, `batches` | the window of one training step · the windows of a run |
//! | `right_context` | what a network that reads from both sides finds on the right of a window |
//! | `streams`, `packed_documents` | B streams of a text · B rows of one document after another |
//! | `source`, `paths` | where a text comes from; the part of it to measure · its paths in JSON |
//! | `evaluation` | windows that predict every target once |
//! | `random` | random numbers that only the seed and the epoch decide |

mod batch;
mod batches;
mod documents;
mod encoded;
mod evaluation;
mod ids;
mod packed_documents;
pub mod paths;
mod random;
mod right_context;
mod source;
mod streams;

pub use batch::Batch;
pub(crate) use batches::ensure_countable;
pub use batches::{Batches, Cursor};
pub use documents::DocumentSet;
pub use encoded::EncodedText;
pub use evaluation::{Carry, Evaluation, EvaluationWindow, READING_MARGIN, READING_WINDOW};
pub use ids::IdSlice;
pub use packed_documents::{DocumentCursor, PackedDocuments, PackedRow};
pub use right_context::RightContext;
pub use source::{CorpusRecord, DataConfig, Part, part_of_corpus};
pub use streams::{StreamCursor, Streams, fitting_batch};
