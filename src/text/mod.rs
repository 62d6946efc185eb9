//! Files to normalised text to ids, and ids to batches of streams or documents.
//!
//! ```text
//! Corpus      files, normalised and joined        corpus.rs, decode.rs
//! Tokenizer   characters or bytes to ids          tokenizer.rs, vocabulary.rs, huggingface.rs
//! EncodedText a corpus in ids, its split          batches.rs, ids.rs
//! Batches     what a training step reads          streams.rs, documents.rs, lanes.rs, chance.rs
//! Evaluation  every target once                   evaluation.rs
//! ```
//!
//! Ids are `u32`, time-major `[T, B]`. Nothing here knows of candle, of models or of printing.

mod batches;
mod chance;
mod corpus;
mod decode;
mod documents;
mod evaluation;
mod huggingface;
mod ids;
mod lanes;
mod streams;
mod tokenizer;
mod vocabulary;

pub use batches::{Batch, Batches, Cursor, EncodedText};
pub use corpus::Corpus;
pub use decode::{Encoding, Newlines, ReadOptions};
pub use documents::{DocumentSet, Documents};
pub use evaluation::{Carry, Evaluation, EvaluationWindow};
pub use ids::{IdSlice, Ids};
pub use lanes::{DocumentCursor, DocumentLanes, Lane};
pub use streams::{StreamCursor, Streams, fitting_batch};
pub use tokenizer::Tokenizer;
pub use vocabulary::{Units, UnknownCharacters, VocabularyOptions, VocabularyReport};
