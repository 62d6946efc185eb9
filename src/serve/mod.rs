//! Models over HTTP: OpenAI's completions, scores, gates, and the page that shows them.
//!
//! [`Server`] takes [`Model`]s and answers until it is told to stop. All texts of a model are rows of a
//! [`Generator`](crate::generate::Generator), of which each thread has one: a request joins and leaves between two
//! characters, and what it gets does not depend on what else is asked.
//!
//! | file | what it owns |
//! |---|---|
//! | `server` | listening, connections, the orderly end |
//! | `config` | where to listen, who may ask, and what is refused as too much |
//! | `routes`, `app` | which path is answered by what · what all requests share |
//! | `guard` | who may ask: key, Host, CORS; headers of every answer; one line a request |
//! | `assets`, `page/` | the playground |
//! | `completions/` | what may be asked of a model that writes, and the answer, whole or in events |
//! | `analysis`, `both_sides` | score and inspect · fill and proofread |
//! | `body`, `problem` | JSON in, with its bounds · errors out, in OpenAI's shape |
//! | `models` | what is loaded |
//! | `engine`, `sink` | a thread that writes · what it has written and nobody has taken |
//! | `admission` | how many may be at work, and how many may wait |
//! | `metrics`, `log` | counters for Prometheus · lines for stderr |

mod admission;
mod analysis;
mod app;
mod assets;
mod body;
mod both_sides;
mod completions;
mod config;
mod engine;
mod guard;
mod log;
mod metrics;
mod models;
mod problem;
mod routes;
mod server;
mod sink;

pub use config::{Limits, ServeConfig};
pub use log::{LogFormat, log_to_stderr};
pub use models::Model;
pub use server::Server;
