//! The files of a run to which lines of JSON are added while it trains. A line that is broken is left out: a
//! crash may leave the last one incomplete.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::checkpoint::format::Metrics;

/// One line of such a file.
pub(super) trait Line: Serialize + DeserializeOwned {
    /// The name of the file.
    const FILE: &str;
    /// What its lines are, for messages.
    const WHAT: &str;

    /// The step after which it was written.
    fn step(&self) -> u64;
}

/// How a line begins, of every kind.
pub(super) const HEAD: &[u8] = b"{\"step\":";

impl Line for Metrics {
    const FILE: &str = "metrics.jsonl";
    const WHAT: &str = "metrics";

    fn step(&self) -> u64 {
        self.step
    }
}

/// One line of `samples.jsonl`: what the network wrote at a moment of its training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptSample {
    /// Steps taken.
    pub step: u64,
    /// The text.
    pub text: String,
}

impl Line for KeptSample {
    const FILE: &str = "samples.jsonl";
    const WHAT: &str = "samples";

    fn step(&self) -> u64 {
        self.step
    }
}

pub(super) fn parse<L: Line>(bytes: &[u8]) -> impl Iterator<Item = L> {
    bytes.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
}

/// The line as it is written, with its end.
pub(super) fn to_bytes<L: Line>(line: &L) -> std::io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    Ok(bytes)
}
