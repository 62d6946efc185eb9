//! The training loop and what it needs: settings, data, optimizer, schedule, evaluation.
//! Emits events; never prints.

mod adamw;
mod config;
mod events;
mod extend_vocabulary;
mod job;
mod prepare;
mod saving;
mod schedule;
mod trainer;

pub use adamw::{AdamW, AdamWConfig};
pub use config::TrainConfig;
pub use events::{Event, StepReport, StopReason, Summary};
pub use job::{Job, resume};
pub use prepare::TrainingData;
pub use schedule::Schedule;
pub use trainer::Trainer;
