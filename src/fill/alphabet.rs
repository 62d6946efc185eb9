//! Which ids a gap may hold. Knows nothing of networks.

use std::sync::Arc;

use crate::text::{Tokenizer, Units};

/// The side that a part of a gap is written from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// The ids that stand for text. Of a vocabulary of bytes, a gap holds whole characters only.
pub(super) struct Alphabet {
    tokenizer: Arc<Tokenizer>,
}

impl Alphabet {
    pub(super) fn new(tokenizer: Arc<Tokenizer>) -> Self {
        Self { tokenizer }
    }

    /// Whether it stands for a text of its own.
    fn is_text(&self, id: u32) -> bool {
        Some(id) != self.tokenizer.unknown() && Some(id) != self.tokenizer.end_of_document()
    }

    /// Whether a gap may hold `ids`.
    pub(super) fn may_hold(&self, ids: &[u32]) -> bool {
        ids.iter().all(|&id| self.is_text(id))
            && (self.tokenizer.units() == Units::Chars
                || std::str::from_utf8(&self.bytes(ids.iter())).is_ok())
    }

    /// Whether `written`, a gap's part at `side`, may go on with `id` where the gap has `room` ids more.
    pub(super) fn may_extend(&self, written: &[u32], id: u32, side: Side, room: usize) -> bool {
        if !self.is_text(id) || self.tokenizer.units() == Units::Chars {
            return self.is_text(id);
        }
        match side {
            Side::Left => {
                let bytes = self.bytes(written.iter().chain([&id]));
                let Err(error) = std::str::from_utf8(&bytes) else { return true };
                let begun = &bytes[error.valid_up_to()..];
                error.error_len().is_none() && width(begun[0]) - begun.len() <= room
            }
            Side::Right => {
                let bytes = self.bytes([&id].into_iter().chain(written));
                let tail = bytes.iter().take_while(|&&byte| byte & 0xC0 == 0x80).count();
                std::str::from_utf8(&bytes[tail..]).is_ok() && (tail == 0 || tail <= 3 && room > 0)
            }
        }
    }

    /// Whether the gap that `left`, `id` and `right` make may hold them.
    pub(super) fn may_stand_between(&self, left: &[u32], id: u32, right: &[u32]) -> bool {
        if self.tokenizer.units() == Units::Chars {
            return self.is_text(id);
        }
        self.may_hold(&[left, &[id], right].concat())
    }

    fn bytes<'a>(&self, ids: impl Iterator<Item = &'a u32>) -> Vec<u8> {
        ids.flat_map(|&id| self.tokenizer.bytes_of(id)).copied().collect()
    }
}

/// Bytes of the character that begins with `lead`.
fn width(lead: u8) -> usize {
    match lead {
        0xF0.. => 4,
        0xE0.. => 3,
        0xC0.. => 2,
        _ => 1,
    }
}
