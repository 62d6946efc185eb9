//! Writes text with a network.
//!
//! [`stream`] gives the text of one request as it is written, [`samples`] whole texts. Both are
//! short uses of a [`Generator`], whose rows join and leave one by one.
//!
//! | file | what it owns |
//! |---|---|
//! | `request` | what is asked of a row, and the chunks of text that it gives |
//! | `generator` | rows that read, pick and write side by side |
//! | `stream` | the simple cases |
//! | `sampling`, `filters` | settings and one pick · which candidates may be picked |
//! | `utf8` | bytes → whole characters |

mod filters;
mod generator;
mod request;
mod sampling;
mod stream;
mod utf8;

pub use generator::Generator;
pub(crate) use generator::beginning;
pub use request::{Chunk, FinishReason, Request, RowId};
pub use sampling::{Sampler, SamplingConfig};
pub use stream::{MAX_SAMPLES, Sample, TextStream, samples, stream};
pub use utf8::Utf8Stream;
