//! What is asked of a filler.

use crate::error::{Error, Result, ensure};

/// The gap of unknown length.
pub(super) const OPEN: char = '*';
/// Most characters of one gap. Beyond, what stands on one side says nothing of the other end.
pub const LONGEST_GAP: usize = 64;
/// Most fillings of one text.
pub const MAX_FILLINGS: usize = 1000;

/// How gaps are written, and which fillings are wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct FillOptions {
    /// Stands for one missing character: for one byte, where an id of the network stands for a byte.
    pub gap: char,
    /// Most characters that a `*` stands for, from 0 on; with 0 a `*` is text.
    pub max_gap: usize,
    /// How many different fillings to draw; None for the likeliest one.
    pub num: Option<usize>,
    /// How freely to draw: 0 takes the likeliest fillings, 1 follows their probabilities.
    pub temperature: f64,
    /// The same seed draws the same fillings.
    pub seed: u64,
}

impl Default for FillOptions {
    fn default() -> Self {
        // A longest gap of two words.
        Self { gap: '_', max_gap: 12, num: None, temperature: 1.0, seed: 1 }
    }
}

impl FillOptions {
    /// Whether `text` has a gap.
    pub fn has_gap(&self, text: &str) -> bool {
        text.chars().any(|c| c == self.gap || c == OPEN && self.max_gap > 0)
    }

    /// About how much work the gaps of `text` are: that of so many gaps of one character. A `*` costs as the
    /// square of its length.
    pub fn work(&self, text: &str) -> usize {
        let of = |c| match c {
            c if c == self.gap => 1,
            OPEN if self.max_gap > 0 => (self.max_gap * self.max_gap / 12).max(1),
            _ => 0,
        };
        text.chars().map(of).sum()
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Setting`] for one outside its range.
    pub fn validate(&self) -> Result<()> {
        ensure!(
            self.gap != '\n' && self.gap != '\r',
            Error::setting(
                "gap",
                "`gap` is a line's end, which stays text: give another character"
            )
        );
        ensure!(
            self.gap != OPEN || self.max_gap == 0,
            Error::setting(
                "gap",
                "`gap` is '*', which stands for a gap of unknown length: give another character, or \
                 `max_gap` 0"
            )
        );
        ensure!(
            self.max_gap <= LONGEST_GAP,
            Error::out_of_range(
                "max_gap",
                self.max_gap,
                format!("give a number from 0 ('*' is text) to {LONGEST_GAP}")
            )
        );
        if let Some(num) = self.num {
            ensure!(
                (1..=MAX_FILLINGS).contains(&num),
                Error::out_of_range("num", num, format!("give a number from 1 to {MAX_FILLINGS}"))
            );
        }
        ensure!(
            self.temperature.is_finite() && (0.0..=100.0).contains(&self.temperature),
            Error::out_of_range(
                "temperature",
                self.temperature,
                "give a number from 0 (always the likeliest) to 100; 1 is usual"
            )
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_settings_are_refused() {
        let usual = FillOptions::default;
        assert!(usual().validate().is_ok());
        assert!(FillOptions { gap: '*', max_gap: 0, ..usual() }.validate().is_ok());
        for options in [
            FillOptions { gap: '\n', ..usual() },
            FillOptions { gap: '*', ..usual() },
            FillOptions { max_gap: LONGEST_GAP + 1, ..usual() },
            FillOptions { num: Some(0), ..usual() },
            FillOptions { num: Some(MAX_FILLINGS + 1), ..usual() },
            FillOptions { temperature: -1.0, ..usual() },
            FillOptions { temperature: f64::NAN, ..usual() },
        ] {
            assert!(options.validate().is_err(), "{options:?}");
        }
    }
}
