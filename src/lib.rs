//! chargru learns to write like a text it is shown, one character at a time.
//!
//! The words used everywhere: B streams of text are trained side by side in windows of T characters;
//! V ids make the vocabulary; E, H, L are the sizes of the embedding and of the hidden vectors, and
//! the number of layers. `ids` are u32 tensors, time-major [T, B]; a hidden sequence is [T, B, H];
//! the state of a layer is h [B, H] (an LSTM has also c). A loss is in nats per id. A bidirectional network
//! has a second stack of layers, which reads from right to left, and predicts an id from both sides: its loss
//! is the pseudo-likelihood.
//!
//! The modules, from the highest to the lowest (tests/module_map.rs holds the last column):
//!
//! | module | what it owns | may import |
//! |---|---|---|
//! | [`cli`] | arguments in, text out: the only place that prints | serve, compare, train, plot, checkpoint, proofread, evaluate, inspect, fill, generate, model, data, text, runtime, error |
//! | [`serve`] | models over HTTP, and the page that shows them | checkpoint, proofread, evaluate, inspect, fill, generate, model, data, text, runtime, error |
//! | [`compare`] | cells trained in turns under one budget, and their figures | train, plot, checkpoint, data, model, text, runtime, error |
//! | [`train`] | the training loop, which emits events | checkpoint, proofread, evaluate, data, model, text, runtime, error, fused (adamw.rs), fused (average.rs) |
//! | [`checkpoint`] | a folder on disk ↔ model, tokenizer, training state | proofread, model, data, text, error |
//! | [`proofread`] | what both sides of a text find unlikely in it | model, data, text, error |
//! | [`evaluate`] | how well a network predicts a text | model, data, text, error |
//! | [`inspect`] | what the units of a network do over a text | model, data, text, runtime, error |
//! | [`fill`] | texts with gaps to texts without | generate, model, text, error |
//! | [`generate`] | logits to ids to text | model, text, error |
//! | [`model`] | the network: configuration, weights, state; the cells in tensor operations | fused, error |
//! | [`data`] | ids to what training and evaluation read | text, error |
//! | [`text`] | files to text to ids | error |
//! | [`plot`] | curves to charts | error |
//! | [`fused`] | the cells with hand-written backward passes, fast on a CPU | runtime |
//! | [`runtime`] | settings of the process, its threads | nothing |
//! | `error` | what can go wrong | nothing |
//!
//! ```
//! use std::ops::ControlFlow;
//!
//! use chargru::generate::{Request, samples};
//! use chargru::text::Corpus;
//! use chargru::train::Job;
//!
//! # fn main() -> chargru::Result<()> {
//! let corpus = Corpus::from_text("tide", "The tide comes in, the tide goes out.\n".repeat(40));
//! let mut job = Job::for_text(&corpus);
//! job.train.steps = Some(50);
//! let mut trainer = job.start(corpus, &chargru::Device::Cpu)?;
//! trainer.run(|_event| ControlFlow::Continue(()))?;
//!
//! let (network, tokenizer) = (trainer.network(), &trainer.data().tokenizer);
//! let request = Request { prompt: tokenizer.encode("The ")?, ..Request::default() };
//! let texts = samples(&network.pack()?, tokenizer.clone(), &request, 1)?;
//! println!("The {}", texts[0].text);
//! # assert!(texts[0].text.contains("tide"), "{}", texts[0].text);
//! # Ok(())
//! # }
//! ```

#![deny(unsafe_code)]

pub mod checkpoint;
#[cfg(feature = "cli")]
pub mod cli;
pub mod compare;
pub mod data;
mod error;
pub mod evaluate;
pub mod fill;
pub mod fused;
pub mod generate;
pub mod inspect;
pub mod model;
#[cfg(feature = "cli")]
pub mod plot;
pub mod proofread;
pub mod runtime;
#[cfg(feature = "serve")]
pub mod serve;
pub mod text;
pub mod train;

pub use candle_core::Device;
pub use error::{Cause, Error, Result, RunProblem};
