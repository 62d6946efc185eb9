//! chargru learns to write like a text it is shown, one character at a time.
//!
//! The words used everywhere: B streams of text are trained side by side in windows of T characters;
//! V ids make the vocabulary; E, H, L are the sizes of the embedding and of the hidden vectors, and
//! the number of layers. `ids` are u32 tensors, time-major [T, B]; a hidden sequence is [T, B, H];
//! the state of a layer is h [B, H] (an LSTM has also c). A loss is in nats per id.
//!
//! The layers, each of which uses only those below it:
//!
//! | module | what it owns |
//! |---|---|
//! | [`cli`] | arguments in, text out: the only place that prints |
//! | [`train`], [`generate`] | the training loop, which emits events · logits to ids to text |
//! | [`checkpoint`] | a folder on disk ↔ model, tokenizer, training state |
//! | [`model`] | configuration, cells as plain tensor operations, layers, network, state |
//! | [`fused`] | the same cells with hand-written backward passes, fast on a CPU |
//! | [`text`] | files → text → ids → streams or documents |
//!
//! ```
//! use chargru::generate::{GenerateConfig, Generator};
//! use chargru::text::Corpus;
//! use chargru::train::{Job, TrainConfig};
//!
//! # fn main() -> anyhow::Result<()> {
//! let corpus = Corpus::from_text("tide", "The tide comes in, the tide goes out.\n".repeat(40));
//! let job = Job { train: TrainConfig { steps: Some(50), seq_len: 32, ..Default::default() }, ..Job::small() };
//! let mut trainer = job.start(corpus, &candle_core::Device::Cpu, None)?;
//! trainer.run(|_event| Ok(()), || false)?;
//! let (network, tokenizer) = (trainer.network(), &trainer.data().tokenizer);
//! let prompt = tokenizer.encode("The ")?;
//! let texts = Generator::new(network, tokenizer, &prompt, &GenerateConfig::default())?.collect()?;
//! println!("The {}", texts[0]);
//! # assert!(texts[0].contains("tide"), "{}", texts[0]);
//! # Ok(())
//! # }
//! ```

pub mod checkpoint;
pub mod cli;
pub mod data;
pub mod evaluate;
pub mod fused;
pub mod generate;
pub mod model;
pub mod runtime;
pub mod text;
pub mod train;
