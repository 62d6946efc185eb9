//! Turns the bytes of one file into normalised UTF-8, in place. Knows nothing of paths or folders.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// How the bytes of a corpus file become characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// UTF-8; any other byte is an error
    #[default]
    Utf8,
    /// ISO 8859-1: every byte is the character of that number
    Latin1,
    /// UTF-8; any other byte becomes U+FFFD
    Lossy,
}

/// What happens to carriage returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Newlines {
    /// leave every character as it is
    Keep,
    /// CRLF and lone CR become LF
    #[default]
    Lf,
}

/// How corpus files are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadOptions {
    /// How bytes become characters.
    pub encoding: Encoding,
    /// What happens to carriage returns.
    pub newlines: Newlines,
}

impl Encoding {
    /// As the command line and the checkpoint write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf8",
            Self::Latin1 => "latin1",
            Self::Lossy => "lossy",
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Newlines {
    /// As the command line and the checkpoint write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Lf => "lf",
        }
    }
}

impl fmt::Display for Newlines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Makes `bytes[start..]`, the content of the file `name`, valid UTF-8 without a byte-order mark.
/// Copies only where the text grows (Latin-1 above ASCII, replaced bytes).
///
/// # Errors
/// [`Error::Text`] at the first byte that is not UTF-8, with [`Encoding::Utf8`].
pub(super) fn normalise(
    bytes: &mut Vec<u8>,
    start: usize,
    name: &str,
    options: &ReadOptions,
) -> Result<()> {
    normalise_part(bytes, start, name, options, 0)
}

/// As [`normalise`], for a part of the file that `before` bytes precede. It must not end inside a character
/// nor between CR and LF.
///
/// # Errors
/// Those of [`normalise`].
pub(super) fn normalise_part(
    bytes: &mut Vec<u8>,
    start: usize,
    name: &str,
    options: &ReadOptions,
    before: u64,
) -> Result<()> {
    let first = before == 0;
    match options.encoding {
        Encoding::Utf8 => check_utf8(&bytes[start..], name, before)?,
        Encoding::Latin1 => {
            if first {
                drop_byte_order_mark(bytes, start);
            }
            if !bytes[start..].is_ascii() {
                let text: String = bytes[start..].iter().map(|&b| char::from(b)).collect();
                bytes.truncate(start);
                bytes.extend_from_slice(text.as_bytes());
            }
        }
        Encoding::Lossy => {
            if let std::borrow::Cow::Owned(text) = String::from_utf8_lossy(&bytes[start..]) {
                bytes.truncate(start);
                bytes.extend_from_slice(text.as_bytes());
            }
        }
    }
    if first {
        drop_byte_order_mark(bytes, start);
    }
    if options.newlines == Newlines::Lf {
        carriage_returns_to_lf(bytes, start);
    }
    Ok(())
}

fn check_utf8(content: &[u8], name: &str, before: u64) -> Result<()> {
    let Err(error) = std::str::from_utf8(content) else {
        return Ok(());
    };
    let offset = error.valid_up_to();
    let byte = content[offset];
    let remedy = if content.starts_with(b"\xFF\xFE") || content.starts_with(b"\xFE\xFF") {
        "it looks like UTF-16: convert it to UTF-8 first (iconv -f utf-16 -t utf-8)"
    } else if content[..offset.saturating_add(512).min(content.len())].contains(&0) {
        "it looks like a binary file: give text, or read it as `encoding` latin1 or `encoding` lossy"
    } else {
        "read it as `encoding` latin1, or as `encoding` lossy to replace such bytes by U+FFFD"
    };
    let what = match error.error_len() {
        None => "the file ends inside a character that starts with",
        Some(_) => "it has",
    };
    Err(Error::Text(format!(
        "{name} is not UTF-8: {what} byte 0x{byte:02X} at offset {}; {remedy}",
        before + offset as u64
    )))
}

fn drop_byte_order_mark(bytes: &mut Vec<u8>, start: usize) {
    if bytes[start..].starts_with(BYTE_ORDER_MARK) {
        bytes.drain(start..start + BYTE_ORDER_MARK.len());
    }
}

/// Replaces CRLF and a lone CR by LF.
fn carriage_returns_to_lf(bytes: &mut Vec<u8>, start: usize) {
    let Some(first) = bytes[start..].iter().position(|&b| b == b'\r') else {
        return;
    };
    let (mut read, mut write) = (start + first, start + first);
    while read < bytes.len() {
        let byte = bytes[read];
        read += 1;
        bytes[write] = if byte == b'\r' {
            if bytes.get(read) == Some(&b'\n') {
                read += 1;
            }
            b'\n'
        } else {
            byte
        };
        write += 1;
    }
    bytes.truncate(write);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalised(content: &[u8], encoding: Encoding, newlines: Newlines) -> Result<String> {
        // A prefix stands for the files read before: it must stay as it is.
        let mut bytes = b"\r\xEF\xBB\xBF\xFF".to_vec();
        let start = bytes.len();
        bytes.extend_from_slice(content);
        let options = ReadOptions { encoding, newlines };
        normalise(&mut bytes, start, "a.txt", &options)?;
        assert_eq!(&bytes[..start], b"\r\xEF\xBB\xBF\xFF");
        Ok(String::from_utf8(bytes[start..].to_vec()).unwrap())
    }

    #[test]
    fn every_kind_of_line_end_becomes_lf() {
        let lf = |text: &str| normalised(text.as_bytes(), Encoding::Utf8, Newlines::Lf).unwrap();
        assert_eq!(lf("a\r\nb\rc\n\r\n\r\r\nd\r"), "a\nb\nc\n\n\n\nd\n");
        assert_eq!(lf("no return\n"), "no return\n");
        assert_eq!(lf(""), "");
        assert_eq!(lf("\r"), "\n");
        let kept = normalised(b"a\r\nb\r", Encoding::Utf8, Newlines::Keep).unwrap();
        assert_eq!(kept, "a\r\nb\r");
    }

    #[test]
    fn one_byte_order_mark_is_dropped_whatever_the_encoding() {
        for encoding in [Encoding::Utf8, Encoding::Latin1, Encoding::Lossy] {
            let text = normalised(b"\xEF\xBB\xBFab", encoding, Newlines::Lf).unwrap();
            assert_eq!(text, "ab", "{encoding}");
        }
        let twice = b"\xEF\xBB\xBF\xEF\xBB\xBFa";
        let text = normalised(twice, Encoding::Utf8, Newlines::Lf).unwrap();
        assert_eq!(text, "\u{FEFF}a");
    }

    #[test]
    fn latin1_and_lossy_read_what_utf8_refuses() {
        let content = b"caf\xE9\r\n!";
        let read = |encoding| normalised(content, encoding, Newlines::Lf).unwrap();
        assert_eq!(read(Encoding::Latin1), "café\n!");
        assert_eq!(read(Encoding::Lossy), "caf\u{FFFD}\n!");
        let error = normalised(content, Encoding::Utf8, Newlines::Lf).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a.txt is not UTF-8: it has byte 0xE9 at offset 3; read it as `encoding` latin1, \
             or as `encoding` lossy to replace such bytes by U+FFFD"
        );
    }

    #[test]
    fn errors_recognise_utf16_binaries_and_cut_off_files() {
        let error = |content: &[u8]| {
            let result = normalised(content, Encoding::Utf8, Newlines::Lf);
            result.unwrap_err().to_string()
        };
        assert!(error(b"\xFF\xFEa\0").contains("UTF-16"));
        assert!(error(b"\x7FELF\0\0\xC0\xC0").contains("binary"));
        assert!(error("ab€".as_bytes().split_last().unwrap().1).contains("ends inside"));
    }
}
