//! Files to normalised text to ids.
//!
//! | file | what it owns |
//! |---|---|
//! | `find`, `corpus`, `decode` | files, found · read and joined · the bytes of one file to normalised UTF-8 |
//! | `blocks` | a text of any length, block by block |
//! | `file` | the bytes of one regular file, bounded |
//! | `list` | whether a text is a list of short entries |
//! | `units` | what one id stands for · what one document is |
//! | `ids` | the ids of a whole text in 1, 2 or 4 bytes each |
//! | `vocabulary` | which characters get an id |
//! | `tokenizer`, `huggingface` | text to ids and back · tokenizer.json, which Python reads too |
//!
//! Nothing here knows of candle, of models or of printing.

mod blocks;
mod corpus;
mod decode;
mod file;
mod find;
mod huggingface;
mod ids;
mod list;
mod tokenizer;
mod units;
mod vocabulary;

pub use crate::error::UnknownCharacters;
pub use blocks::TextBlocks;
pub use corpus::{Corpus, MAX_CORPUS_BYTES};
pub use decode::{Encoding, Newlines, ReadOptions};
pub(crate) use file::read_regular_file;
pub(crate) use huggingface::END_OF_DOCUMENT;
pub use ids::Ids;
pub use list::is_list;
pub use tokenizer::Tokenizer;
pub(crate) use units::name_of_byte;
pub use units::{Documents, Units};
pub use vocabulary::{VocabularyOptions, VocabularyReport};
