//! A text of any length, cut into chunks that can be read alone. Where they are cut depends on the text only,
//! not on the blocks that it comes in.

use std::ops::Range;

use crate::proofread::segments::{CONTEXT, SEGMENT};
use crate::text::{Documents, Units};

/// Ids of a chunk, without its context: whole segments.
const CHUNK: usize = 64 * SEGMENT;

/// A part of a document with what stands around it.
pub(super) struct Chunk {
    pub text: String,
    /// The part itself, in bytes.
    pub own: Range<usize>,
    /// The text begins where the document does.
    pub begins: bool,
    /// It ends where the document does.
    pub ends: bool,
    /// A newline follows that belongs to no document.
    pub newline: bool,
}

/// Cuts texts into chunks.
pub(super) struct Chunker {
    documents: Documents,
    units: Units,
    /// What of the current document is not yet in a chunk, after its left context.
    window: String,
    /// Bytes of that context.
    context: usize,
    begins: bool,
}

impl Chunker {
    pub fn new(documents: Documents, units: Units) -> Self {
        Self { documents, units, window: String::new(), context: 0, begins: true }
    }

    /// Takes more of the text.
    pub fn push(&mut self, block: &str, chunks: &mut Vec<Chunk>) {
        if self.documents != Documents::Lines {
            return self.extend(block, chunks);
        }
        for line in block.split_inclusive('\n') {
            match line.strip_suffix('\n') {
                Some(line) => {
                    self.extend(line, chunks);
                    self.end_document(true, chunks);
                }
                None => self.extend(line, chunks),
            }
        }
    }

    /// The text has ended.
    pub fn finish(&mut self, chunks: &mut Vec<Chunk>) {
        self.end_document(false, chunks);
    }

    fn extend(&mut self, text: &str, chunks: &mut Vec<Chunk>) {
        self.window.push_str(text);
        while let Some(own_end) = self.after(self.context, CHUNK)
            && let Some(end) = self.after(own_end, CONTEXT)
        {
            let (text, own) = (self.window[..end].to_string(), self.context..own_end);
            chunks.push(Chunk { text, own, begins: self.begins, ends: false, newline: false });
            let kept = self.before(own_end, CONTEXT);
            self.window.drain(..kept);
            self.context = own_end - kept;
            self.begins = false;
        }
    }

    fn end_document(&mut self, newline: bool, chunks: &mut Vec<Chunk>) {
        let text = std::mem::take(&mut self.window);
        let own = self.context..text.len();
        if newline || !own.is_empty() {
            chunks.push(Chunk { text, own, begins: self.begins, ends: true, newline });
        }
        (self.context, self.begins) = (0, true);
    }

    /// The place `units` after `start`, at the end of a character; None past the end of the window. (The end
    /// itself counts as past it: the document may end there.)
    fn after(&self, start: usize, units: usize) -> Option<usize> {
        let rest = &self.window[start..];
        match self.units {
            Units::Chars => rest.char_indices().nth(units).map(|(at, _)| start + at),
            Units::Bytes => {
                (units..rest.len()).find(|&at| rest.is_char_boundary(at)).map(|at| start + at)
            }
        }
    }

    /// The place `units` before `end`, at the start of a character.
    fn before(&self, end: usize, units: usize) -> usize {
        let part = &self.window[..end];
        match self.units {
            Units::Chars => part.char_indices().rev().nth(units - 1).map_or(0, |(at, _)| at),
            Units::Bytes => {
                let at = end.saturating_sub(units);
                (0..=at).rev().find(|&at| part.is_char_boundary(at)).unwrap_or_default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, block: usize, documents: Documents, units: Units) -> Vec<Chunk> {
        let (mut chunker, mut chunks) = (Chunker::new(documents, units), Vec::new());
        let mut rest = text;
        while !rest.is_empty() {
            let end = (block.min(rest.len())..).find(|&at| rest.is_char_boundary(at)).unwrap();
            chunker.push(&rest[..end], &mut chunks);
            rest = &rest[end..];
        }
        chunker.finish(&mut chunks);
        chunks
    }

    #[test]
    fn chunks_joined_are_the_text_whatever_blocks_it_came_in() {
        let text = "A líne of it.\n\nanother € ".repeat(3_000);
        for documents in [Documents::Off, Documents::Lines, Documents::Files] {
            for units in [Units::Chars, Units::Bytes] {
                let whole = cut(&text, text.len(), documents, units);
                assert!(whole.len() > 3);
                for block in [1, 1000, 20_000] {
                    let chunks = cut(&text, block, documents, units);
                    let mut joined = String::new();
                    for (chunk, other) in chunks.iter().zip(&whole) {
                        let flags = |chunk: &Chunk| (chunk.begins, chunk.ends, chunk.newline);
                        assert!(chunk.text == other.text && chunk.own == other.own);
                        assert_eq!(flags(chunk), flags(other));
                        joined.push_str(&chunk.text[chunk.own.clone()]);
                        joined.push_str(if chunk.newline { "\n" } else { "" });
                        let around = [chunk.own.start, chunk.text.len() - chunk.own.end];
                        assert!(chunk.begins == (around[0] == 0) && chunk.ends == (around[1] == 0));
                        assert!(around.iter().all(|&bytes| bytes == 0 || bytes >= CONTEXT));
                    }
                    assert!(joined == text && chunks.len() == whole.len());
                }
            }
        }
    }
}
