//! What one id stands for, and what one document is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What one id stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Units {
    /// one Unicode character
    #[default]
    Chars,
    /// one byte of UTF-8: V is 256, and any text can be read and written
    Bytes,
}

impl Units {
    /// As the command line and the checkpoint write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chars => "chars",
            Self::Bytes => "bytes",
        }
    }
}

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How a corpus is divided into documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Documents {
    /// none: the corpus is one long text
    #[default]
    Off,
    /// every line that is not empty, without its newline
    Lines,
    /// every file that is not empty
    Files,
}

impl Documents {
    /// As the command line and the checkpoint write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Lines => "lines",
            Self::Files => "files",
        }
    }
}

impl fmt::Display for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A byte as a token is shown: the character that it is alone, else `bytes:\xe2`, as OpenAI's API writes it.
pub(crate) fn name_of_byte(byte: u8) -> String {
    if byte.is_ascii() { char::from(byte).to_string() } else { format!("bytes:\\x{byte:02x}") }
}
