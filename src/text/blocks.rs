//! A text of any length, read and normalised block by block.

use std::io::{self, Read};
use std::path::Path;

use crate::error::{Error, Result};
use crate::text::decode::{Encoding, ReadOptions, normalise_part};

/// Bytes that are read before a block is cut.
const BLOCK: usize = 1 << 16;

/// The blocks of one text, in order. Joined they are what [`Corpus::from_reader`](crate::text::Corpus::from_reader)
/// reads.
pub struct TextBlocks<R> {
    name: String,
    from: R,
    options: ReadOptions,
    /// Bytes of the blocks that were given.
    before: u64,
    /// Read and not yet given.
    pending: Vec<u8>,
    ended: bool,
    /// A NUL is a character as any other.
    binary: bool,
}

impl<R: Read> TextBlocks<R> {
    /// Reads `from` by the rules of a corpus file; `name` stands for it in errors.
    pub fn new(name: impl Into<String>, from: R, options: ReadOptions) -> Self {
        Self {
            name: name.into(),
            from,
            options,
            before: 0,
            pending: Vec::new(),
            ended: false,
            binary: true,
        }
    }

    /// A NUL (U+0000) in the text is an error.
    #[must_use]
    pub fn refuse_binary(self) -> Self {
        Self { binary: false, ..self }
    }

    fn read(&mut self) -> io::Result<()> {
        let wanted = (BLOCK.saturating_sub(self.pending.len())).max(BLOCK / 2);
        let read = (&mut self.from).take(wanted as u64).read_to_end(&mut self.pending)?;
        self.ended = read < wanted;
        Ok(())
    }

    fn block(&mut self) -> Result<Option<String>> {
        let mut end = 0;
        while end == 0 && !self.ended {
            self.read().map_err(Error::io("read", Path::new(&self.name)))?;
            end = if self.ended { 0 } else { cut(&self.pending, self.options.encoding) };
        }
        let rest = if self.ended { Vec::new() } else { self.pending.split_off(end) };
        let mut bytes = std::mem::replace(&mut self.pending, rest);
        let count = bytes.len() as u64;
        if count == 0 {
            return Ok(None);
        }
        let is_utf16 = bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF");
        match bytes.iter().position(|&byte| byte == 0) {
            Some(at) if !self.binary && !is_utf16 => {
                return Err(Error::Text(format!(
                    "{} has a NUL (U+0000) at offset {}, so that it looks like a binary file: give text",
                    self.name,
                    self.before + at as u64
                )));
            }
            _ => normalise_part(&mut bytes, 0, &self.name, &self.options, self.before)?,
        }
        self.before += count;
        String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| Error::Text(format!("{} is not UTF-8 after it was read", self.name)))
    }
}

impl<R: Read> Iterator for TextBlocks<R> {
    type Item = Result<String>;

    /// After an error there is no further block.
    fn next(&mut self) -> Option<Self::Item> {
        let block = self.block().transpose();
        if matches!(block, Some(Err(_))) {
            (self.ended, self.pending) = (true, Vec::new());
        }
        block
    }
}

/// Where a block of `bytes` ends: after the last line, or else before the last character, and not between CR
/// and LF. 0 where more must be read first.
fn cut(bytes: &[u8], encoding: Encoding) -> usize {
    if let Some(newline) = bytes.iter().rposition(|&byte| byte == b'\n') {
        return newline + 1;
    }
    let mut end = bytes.len();
    if encoding != Encoding::Latin1 {
        // A character takes four bytes at most.
        let is_lead = |at: &usize| bytes[*at] & 0xC0 != 0x80;
        end = (end.saturating_sub(4)..end).rev().find(is_lead).unwrap_or(end);
    }
    while end > 0 && bytes[end - 1] == b'\r' {
        end -= 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Corpus;
    use crate::text::decode::Newlines;

    /// Gives few bytes at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(out.len()).min(7);
            out[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn blocks_joined_are_the_text_read_at_once() {
        let long = "é€😀\r".repeat(30_000);
        let lines = "\u{feff}\u{feff}a line\r\nand another\r".repeat(9_000);
        for text in ["", "a", "\r", "\u{feff}", &long, &lines] {
            for encoding in [Encoding::Utf8, Encoding::Latin1, Encoding::Lossy] {
                for newlines in [Newlines::Keep, Newlines::Lf] {
                    let options = ReadOptions { encoding, newlines };
                    let whole = Corpus::from_reader("x", text.as_bytes(), 1 << 30, &options);
                    let blocks: Vec<_> = TextBlocks::new("x", Slow(text.as_bytes()), options)
                        .map(|block| block.unwrap())
                        .collect();
                    assert!(blocks.concat() == whole.unwrap().text(), "{options:?}");
                    assert!(blocks.iter().all(|block| block.len() < 3 * BLOCK));
                    assert!(text.len() < 2 * BLOCK || blocks.len() > 1);
                }
            }
        }
    }

    #[test]
    fn an_error_names_the_place_in_the_whole_text() {
        let mut bytes = b"a line\n".repeat(30_000);
        bytes.push(0xFF);
        let mut blocks = TextBlocks::new("a.txt", &bytes[..], ReadOptions::default());
        let error = blocks.find_map(Result::err).unwrap().to_string();
        assert!(
            error.starts_with("a.txt is not UTF-8: it has byte 0xFF at offset 210000;"),
            "{error}"
        );
        assert!(blocks.next().is_none());
    }
}
