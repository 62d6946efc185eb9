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

    /// The ids that may stand between `left` and `right`, where the three are what a gap holds. What of them
    /// depends on the id is told once, as there are many ids.
    pub(super) fn between(&self, left: &[u32], right: &[u32]) -> impl Fn(u32) -> bool + use<'_> {
        let mut character = [Vec::new(), Vec::new()];
        let mut may = true;
        if self.tokenizer.units() == Units::Bytes {
            let [begun, ended] = [left, right].map(|ids| self.bytes(ids.iter()));
            let valid = match std::str::from_utf8(&begun) {
                Ok(text) => text.len(),
                Err(error) => error.valid_up_to(),
            };
            let tail = ended.iter().take_while(|&&byte| byte & 0xC0 == 0x80).count();
            may =
                begun.len() - valid < 4 && tail < 4 && std::str::from_utf8(&ended[tail..]).is_ok();
            character = [begun[valid..].to_vec(), ended[..tail].to_vec()];
        }
        move |id| {
            if !may || !self.is_text(id) || self.tokenizer.units() == Units::Chars {
                return may && self.is_text(id);
            }
            let [begun, ended] = &character;
            let mut bytes = [0; 8];
            let mut length = 0;
            for &byte in begun.iter().chain(self.tokenizer.bytes_of(id)).chain(ended) {
                bytes[length] = byte;
                length += 1;
            }
            std::str::from_utf8(&bytes[..length]).is_ok()
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::VocabularyOptions;

    #[test]
    fn what_may_stand_between_is_what_makes_a_text_of_the_whole() {
        let options = VocabularyOptions { units: Units::Bytes, ..VocabularyOptions::default() };
        let (tokenizer, _) = Tokenizer::build("ab", &options).unwrap();
        let alphabet = Alphabet::new(Arc::new(tokenizer));
        let parts: [&[u8]; 11] = [
            b"",
            b"a",
            b"\xC3",
            b"\xA9",
            b"\xE2\x82",
            b"\x82\xAC",
            b"\xF0\x9F\x98",
            b"\x9F\x98\x80",
            b"\x80\x80\x80\x80\x80",
            b"\xED",
            "x\u{e9}".as_bytes(),
        ];
        let ids = |part: &[u8]| part.iter().map(|&byte| u32::from(byte)).collect::<Vec<_>>();
        for (left, right) in parts.iter().flat_map(|left| parts.map(|right| (left, right))) {
            let (left, right) = (ids(left), ids(right));
            let may = alphabet.between(&left, &right);
            for id in 0..256 {
                let whole = [&left, &[id][..], &right].concat();
                assert_eq!(may(id), alphabet.may_hold(&whole), "{whole:?}");
            }
        }
    }
}
