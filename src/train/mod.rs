//! The training loop and what it needs: settings, data, optimizer, schedule, evaluation.
//! Emits events; never prints.

mod adamw;
mod config;
mod data;
mod evaluate;
mod events;
mod job;
mod pool;
mod saving;
mod schedule;
mod trainer;
mod vocabulary;

pub use adamw::{AdamW, AdamWConfig};
pub use config::TrainConfig;
pub use data::{DataConfig, Part, TrainingData, text_to_evaluate};
pub use evaluate::{Reading, Score, evaluate, read_through};
pub use events::{Ending, Event, StepReport, Summary};
pub use job::{Job, resume};
pub use pool::on_pool;
pub use schedule::Schedule;
pub use trainer::Trainer;
