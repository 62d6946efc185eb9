//! Writes text with a network.
//!
//! [`stream`] gives the text of one request as it is written, [`samples`] whole texts. Both are
//! short uses of a [`Generator`], whose rows join and leave one by one.
//!
//! | file | what it owns |
//! |---|---|
//! | `request` | what is asked of a row, and the chunks of text that it gives |
//! | `generator` | rows that read, pick and write side by side |
//! | `row` | one row: its prompt, its random numbers, what it has written |
//! | `output`, `stop` | what may be given of that · stop texts |
//! | `stream` | the simple cases |
//! | `config`, `sampling`, `filters` | settings · one pick · which candidates may be picked |
//! | `logits`, `log_probabilities` | repetition penalty, log-probabilities · these as programs exchange them |
//! | `utf8` | bytes → whole characters |

mod config;
mod filters;
mod generator;
mod log_probabilities;
mod logits;
mod output;
mod request;
mod row;
mod sampling;
mod stop;
mod stream;
mod utf8;

pub use config::SamplingConfig;
pub use generator::Generator;
pub(crate) use generator::beginning;
pub use log_probabilities::{Alternatives, LogProbabilities};
pub use request::{Chunk, FinishReason, Repetition, Request, RowId, Token};
pub use sampling::Sampler;
pub use stream::{MAX_SAMPLES, Sample, TextStream, samples, stream};
pub use utf8::Utf8Stream;
