//! Texts at which a row stops, found as it is written, also where they begin in one chunk and end in another.

/// Finds the first of some stop texts to be complete in a text that comes in pieces (Knuth, Morris, Pratt 1977).
#[derive(Clone, Debug, Default)]
pub(super) struct StopTexts(Vec<StopText>);

#[derive(Clone, Debug)]
struct StopText {
    bytes: Vec<u8>,
    /// For each length of a part matched, the next shorter part that what was read also ends with.
    shorter: Vec<usize>,
    /// How much of it what was read ends with.
    matched: usize,
}

impl StopTexts {
    /// `texts` are not empty.
    pub fn new(texts: &[String]) -> Self {
        Self(texts.iter().map(|text| StopText::new(text)).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads on. If a stop text is now complete: where in `piece` the byte after its last one is, and its length
    /// in bytes. Of several that end there, the longest.
    pub fn read(&mut self, piece: &str) -> Option<(usize, usize)> {
        for (at, byte) in piece.bytes().enumerate() {
            let complete = self.0.iter_mut().filter_map(|stop| stop.read(byte)).max();
            if let Some(length) = complete {
                return Some((at + 1, length));
            }
        }
        None
    }

    /// Bytes at the end of what was read that may be the beginning of a stop text.
    pub fn pending(&self) -> usize {
        self.0.iter().map(|stop| stop.matched).max().unwrap_or(0)
    }
}

impl StopText {
    fn new(text: &str) -> Self {
        let bytes = text.as_bytes().to_vec();
        let mut shorter = vec![0; bytes.len() + 1];
        let mut length = 0;
        for at in 1..bytes.len() {
            while length > 0 && bytes[at] != bytes[length] {
                length = shorter[length];
            }
            length += usize::from(bytes[at] == bytes[length]);
            shorter[at + 1] = length;
        }
        Self { bytes, shorter, matched: 0 }
    }

    /// Its length if it is complete with this byte.
    fn read(&mut self, byte: u8) -> Option<usize> {
        while self.matched > 0 && self.bytes[self.matched] != byte {
            self.matched = self.shorter[self.matched];
        }
        self.matched += usize::from(self.bytes[self.matched] == byte);
        (self.matched == self.bytes.len()).then_some(self.matched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands before the first stop text, with the text given in pieces of `step` characters, and the
    /// bytes that are held back at the end.
    fn before(stops: &[&str], text: &str, step: usize) -> (String, usize) {
        let mut found = StopTexts::new(&stops.iter().map(|&stop| stop.into()).collect::<Vec<_>>());
        let mut read = 0;
        let characters: Vec<char> = text.chars().collect();
        for piece in characters.chunks(step) {
            let piece: String = piece.iter().collect();
            if let Some((end, length)) = found.read(&piece) {
                return (text[..read + end - length].to_string(), 0);
            }
            read += piece.len();
        }
        (text.to_string(), found.pending())
    }

    #[test]
    fn the_first_to_be_complete_stops_wherever_the_pieces_end() {
        for step in 1..8 {
            assert_eq!(before(&["END"], "one ENEND two END", step).0, "one EN");
            assert_eq!(before(&["aab", "ba"], "aaaaba", step).0, "aa", "{step}");
            assert_eq!(before(&["\n\n", "\n"], "x\n\ny", step).0, "x");
            assert_eq!(before(&["ß→"], "ßß→", step).0, "ß");
            assert_eq!(before(&["b", "ab"], "xab", step).0, "x");
            assert_eq!(before(&["abab"], "aabaabab", step).0, "aaba");
        }
    }

    #[test]
    fn what_may_be_its_beginning_is_pending() {
        assert_eq!(before(&["abac"], "xxaba", 1).1, 3);
        assert_eq!(before(&["abac"], "xxabab", 1).1, 2);
        assert_eq!(before(&["abac", "babx"], "xxabab", 1).1, 3);
        assert_eq!(before(&["abac"], "xxabax", 1).1, 0);
        assert_eq!(before(&[], "abc", 1).1, 0);
    }
}
