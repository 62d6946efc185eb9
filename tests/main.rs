//! The integration tests: one binary, a module a subject.

mod adamw;
mod bidirectional;
mod bidirectional_runs;
mod both_sides;
mod choice;
mod command_line;
mod compare;
mod crash;
mod fill;
mod folders;
mod generation;
mod generation_controls;
mod inspect;
mod memory;
mod module_map;
mod network;
mod proofread;
mod readme;
mod reference_path;
mod report;
mod residual;
mod resume;
#[cfg(feature = "serve")]
mod serve;
mod session;
mod support;
mod terminals;
mod texts;
mod training;
mod wrong_input;
