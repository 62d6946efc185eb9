//! The training loop and what it needs: settings, data, optimizer, schedule, evaluation.
//! Emits events; never prints.

mod adamw;
mod config;
mod events;
mod extend_vocabulary;
mod job;
mod prepare;
mod resume;
mod saving;
mod schedule;
mod step;
mod trainer;
mod validate;

pub use adamw::{AdamW, AdamWConfig};
pub use config::TrainConfig;
pub use events::{Event, StepReport, StopReason, Summary};
pub use job::Job;
pub use prepare::TrainingData;
pub use resume::SavedRun;
pub use schedule::Schedule;
pub use trainer::Trainer;
