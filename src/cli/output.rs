//! What goes to stdout, the log on stderr, and how figures are written.

use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use anyhow::Result;

use crate::cli::escape;
use crate::model::count_of_layers;

/// Why a command ended, where it ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// Of `proofread`: with something found.
    Found,
    /// By a signal, of this number.
    Interrupted(i32),
}

/// Writes lines to the log, with the arguments of [`format!`]. The only way to write to stderr.
macro_rules! log {
    ($($argument:tt)*) => {
        let _ = $crate::cli::output::write_log(&format!($($argument)*));
    };
}
pub(crate) use log;

/// Writes `lines` and a newline to stderr. A log that cannot be written, because its reader or its
/// terminal has gone or its disk is full, ends nothing. Says whether it was written.
pub(crate) fn write_log(lines: &str) -> bool {
    let line = format!("{}\n", escape::lines(lines));
    // In one piece, so that lines of several processes do not mix.
    io::stderr().lock().write_all(line.as_bytes()).is_ok()
}

/// Stdout could not be written.
#[derive(Debug)]
struct OutputError(io::Error);

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("cannot write to standard output")
    }
}

impl Error for OutputError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// Whether stdout was a terminal when this was first asked: one that has closed says that it is none.
pub(crate) fn to_terminal() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| io::stdout().is_terminal())
}

/// Writes text to stdout and flushes it, so that it appears at once.
pub(crate) fn emit(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    Ok(written.map_err(OutputError)?)
}

/// As [`emit`], for text that a model wrote. On a terminal its control characters are written out.
pub(crate) fn emit_text(text: &str) -> Result<()> {
    if to_terminal() { emit(&escape::text(text)) } else { emit(text) }
}

/// One line of JSON.
pub(crate) fn emit_json(object: &serde_json::Value) -> Result<()> {
    emit(&format!("{}\n", escape::json(&object.to_string())))
}

/// Whether an error only says that nobody reads stdout any more: its reader has closed it, as in
/// `chargru … | head`, or its terminal has.
pub(crate) fn is_closed(error: &anyhow::Error) -> bool {
    error.downcast_ref::<OutputError>().is_some_and(|OutputError(cause)| {
        cause.kind() == io::ErrorKind::BrokenPipe || to_terminal()
    })
}

/// `text`, ended by a newline.
pub(crate) fn with_final_newline(mut text: String) -> String {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// Number and size of the layers: `1 layer of 64`, `2 layers of 256`.
pub(crate) fn layers_of(layers: usize, hidden: usize) -> String {
    format!("{} of {hidden}", count_of_layers(layers))
}

/// A count with thousands set apart: 1,234,567.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// What the loss of a bidirectional model is.
pub(crate) const PSEUDO_LIKELIHOOD: &str = "pseudo-likelihood: nats per character given both sides; \
    no measure for a model that reads forward only";

/// Nats as bits.
pub(crate) fn bits(nats: f64) -> f64 {
    nats / std::f64::consts::LN_2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_thousands() {
        for (count, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1234567, "1,234,567")] {
            assert_eq!(grouped(count), text);
        }
    }
}
