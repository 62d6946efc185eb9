//! `POST /v1/completions`, as OpenAI's clients speak it.

mod answer;
mod asked;
mod handler;

pub(super) use handler::complete;
