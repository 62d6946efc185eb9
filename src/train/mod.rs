//! Training: from a text and settings to a trained network and its checkpoints. Reports events to a callback
//! and never prints.
//!
//! | file | what it owns |
//! |---|---|
//! | `config`, `schedule` | settings of the training · the learning rate of each step |
//! | `choice`, `speed` | settings that fit a text · how fast this machine trains a network |
//! | `job`, `resume`, `restore` | a new run · a saved run that goes on · the trainer's part of it |
//! | `prepare`, `extend_vocabulary` | a text made ready to train on · new characters for a trained network |
//! | `requirements` | the memory and the disk that a training takes |
//! | `trainer`, `step`, `validate`, `saving` | the loop · one step · the validation · the checkpoints |
//! | `clock`, `view` | the time that a run has taken · what others may see of a trainer |
//! | `adamw`, `average`, `spikes` | the optimizer · the average of the weights · which gradients are not followed |
//! | `events` | what the loop reports |

mod adamw;
mod average;
mod choice;
mod clock;
mod config;
mod events;
mod extend_vocabulary;
#[cfg(test)]
mod fault_tests;
mod job;
mod prepare;
mod requirements;
mod restore;
mod resume;
mod saving;
#[cfg(test)]
mod saving_tests;
mod schedule;
mod speed;
mod spikes;
#[cfg(test)]
mod spikes_tests;
mod step;
mod trainer;
mod validate;
mod view;

pub use adamw::{AdamW, AdamWConfig};
pub use choice::{Choice, Fixed, TextFacts, choose, choose_within};
pub use config::TrainConfig;
pub use events::{Event, StepReport, StopReason, Summary};
pub use job::Job;
pub use prepare::TrainingData;
pub use requirements::Requirements;
pub(crate) use requirements::{available_memory, readable};
pub use resume::SavedRun;
pub use schedule::Schedule;
pub use speed::training_speed;
pub use trainer::Trainer;
