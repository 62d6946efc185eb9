//! What a row has written and what of it may already be given.

use crate::generate::request::Token;
use crate::generate::stop::StopTexts;
use crate::generate::utf8::Utf8Stream;

/// Holds back half a character and what may be the beginning of a stop text. A token is given with the end of
/// its text.
#[derive(Clone, Debug, Default)]
pub(super) struct Output {
    utf8: Utf8Stream,
    stops: StopTexts,
    held: String,
    /// With the end in `held` of what each wrote; None while its character is incomplete.
    held_tokens: Vec<(Token, Option<usize>)>,
    /// What may be given and has not been.
    text: String,
    tokens: Vec<Token>,
}

impl Output {
    pub fn new(stops: &[String]) -> Self {
        Self { stops: StopTexts::new(stops), ..Self::default() }
    }

    /// What may be given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The tokens whose text ends in [`Output::text`].
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// What could be given has been.
    pub fn clear(&mut self) {
        self.text.clear();
        self.tokens.clear();
    }

    /// Gives `text` and `tokens` as they are, such as the prompt.
    pub fn give(&mut self, text: &str, tokens: Vec<Token>) {
        self.text.push_str(text);
        self.tokens.extend(tokens);
    }

    /// Writes what an id stands for. Says whether that completes a stop text, which is dropped.
    pub fn write(&mut self, bytes: &[u8], token: Option<Token>) -> bool {
        if self.stops.is_empty() && token.is_none() {
            self.utf8.push(bytes, &mut self.text);
            return false;
        }
        let start = self.held.len();
        self.utf8.push(bytes, &mut self.held);
        self.held_tokens.extend(token.map(|token| (token, None)));
        if self.held.len() > start {
            self.end_tokens();
        }
        if let Some((end, length)) = self.stops.read(&self.held[start..]) {
            self.give_held(start + end - length);
            self.held.clear();
            self.held_tokens.clear();
            return true;
        }
        self.give_held(self.held.len() - self.stops.pending());
        false
    }

    /// The end of the text: all that is held is given, half a character as U+FFFD.
    pub fn finish(&mut self) {
        self.utf8.finish(&mut self.held);
        self.end_tokens();
        self.give_held(self.held.len());
    }

    /// Tokens that had no whole character end where `held` ends.
    fn end_tokens(&mut self) {
        for (_, end) in &mut self.held_tokens {
            end.get_or_insert(self.held.len());
        }
    }

    /// Gives the first `length` bytes of what is held.
    fn give_held(&mut self, length: usize) {
        self.text.push_str(&self.held[..length]);
        self.held.drain(..length);
        let is_given = |(_, end): &(Token, Option<usize>)| end.is_some_and(|end| end <= length);
        let given = self.held_tokens.iter().take_while(|token| is_given(token)).count();
        self.tokens.extend(self.held_tokens.drain(..given).map(|(token, _)| token));
        for end in self.held_tokens.iter_mut().filter_map(|(_, end)| end.as_mut()) {
            *end = end.saturating_sub(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes the ids, each a byte; gives text and tokens of every step and of the end.
    fn written(bytes: &[u8], stops: &[&str]) -> (Vec<(String, Vec<u32>)>, bool) {
        let mut output = Output::new(&stops.iter().map(|&stop| stop.into()).collect::<Vec<_>>());
        let (mut steps, mut stopped) = (Vec::new(), false);
        for &byte in bytes {
            output.clear();
            let token = Token { id: byte.into(), log_probability: Some(-1.0), top: Vec::new() };
            stopped = output.write(&[byte], Some(token));
            if stopped {
                break;
            }
            steps.push(step(&output));
        }
        if !stopped {
            output.clear();
            output.finish();
        }
        steps.push(step(&output));
        (steps, stopped)
    }

    fn step(output: &Output) -> (String, Vec<u32>) {
        (output.text().to_string(), output.tokens().iter().map(|token| token.id).collect())
    }

    #[test]
    fn tokens_come_with_the_character_that_they_complete() {
        let (steps, _) = written("aé".as_bytes(), &[]);
        let (e1, e2) = (0xC3, 0xA9);
        let expected = [("a", vec![97]), ("", vec![]), ("é", vec![e1, e2]), ("", vec![])];
        assert_eq!(steps, expected.map(|(text, ids)| (text.to_string(), ids)));
        let (steps, _) = written(&[97, 0xC3], &[]);
        assert_eq!(steps[2], ("\u{fffd}".to_string(), vec![0xC3]));
    }

    #[test]
    fn a_stop_text_is_held_back_and_dropped() {
        let (steps, stopped) = written(b"xEEND!", &["END"]);
        assert!(stopped);
        let texts: Vec<_> = steps.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, ["x", "", "E", "", ""]);
        assert_eq!(steps.iter().flat_map(|(_, ids)| ids).count(), 2);
    }

    #[test]
    fn the_beginning_of_a_stop_text_is_given_at_the_end() {
        let (steps, stopped) = written(b"xEN", &["END"]);
        assert!(!stopped);
        assert_eq!(steps[3], ("EN".to_string(), vec![69, 78]));
    }
}
