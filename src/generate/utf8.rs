//! Bytes in, whole characters out.

/// Collects bytes and gives them back as text, never half a UTF-8 sequence.
#[derive(Clone, Debug, Default)]
pub struct Utf8Stream {
    pending: Vec<u8>,
}

impl Utf8Stream {
    /// Appends to `out` what `bytes` completes. A byte that can start or continue no character
    /// becomes U+FFFD.
    pub fn push(&mut self, bytes: &[u8], out: &mut String) {
        self.pending.extend_from_slice(bytes);
        let mut used = 0;
        loop {
            match std::str::from_utf8(&self.pending[used..]) {
                Ok(text) => {
                    out.push_str(text);
                    used = self.pending.len();
                    break;
                }
                Err(error) => {
                    let valid = used + error.valid_up_to();
                    // Lossless: the part up to `valid` was just found to be UTF-8.
                    out.push_str(&String::from_utf8_lossy(&self.pending[used..valid]));
                    let Some(wrong) = error.error_len() else {
                        used = valid;
                        break;
                    };
                    out.push(char::REPLACEMENT_CHARACTER);
                    used = valid + wrong;
                }
            }
        }
        self.pending.drain(..used);
    }

    /// Whether bytes of an unfinished character are kept.
    pub fn is_incomplete(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The end of the text: an unfinished character becomes U+FFFD.
    pub fn finish(&mut self, out: &mut String) {
        if !self.pending.is_empty() {
            out.push(char::REPLACEMENT_CHARACTER);
            self.pending.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(bytes: &[u8], step: usize) -> (Vec<String>, String) {
        let mut stream = Utf8Stream::default();
        let mut chunks = Vec::new();
        for chunk in bytes.chunks(step) {
            let mut out = String::new();
            stream.push(chunk, &mut out);
            chunks.push(out);
        }
        let mut rest = String::new();
        stream.finish(&mut rest);
        let whole = chunks.concat() + &rest;
        (chunks, whole)
    }

    #[test]
    fn holds_back_until_a_character_is_whole() {
        let (chunks, whole) = through("aé€😀".as_bytes(), 1);
        assert_eq!(chunks, ["a", "", "é", "", "", "€", "", "", "", "😀"]);
        assert_eq!(whole, "aé€😀");
    }

    #[test]
    fn broken_bytes_read_as_the_standard_library_reads_them() {
        for bytes in [
            &b"a\xffb"[..],
            b"\xe2\x82",
            b"\xe2\x82x",
            b"\xf0\x9f\x98\xf0\x9f\x98\x80",
            b"\xc0\x80\xed\xa0\x80",
        ] {
            for step in 1..4 {
                let (_, whole) = through(bytes, step);
                assert_eq!(whole, String::from_utf8_lossy(bytes), "{bytes:?} by {step}");
            }
        }
    }
}
