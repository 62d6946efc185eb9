//! A count as an argument.

use std::str::FromStr;

/// A count, written as 500000, 500k, 1M or 1.5M.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count(pub u64);

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, times) = match text.char_indices().last() {
            Some((at, 'k' | 'K')) => (&text[..at], 1e3),
            Some((at, 'm' | 'M')) => (&text[..at], 1e6),
            Some((at, 'g' | 'G' | 'b' | 'B')) => (&text[..at], 1e9),
            _ => (text, 1.0),
        };
        let count = number.replace([',', '_'], "").parse::<f64>().map(|number| number * times);
        match count {
            // Above 2^53 not every number is one.
            Ok(count) if (1.0..9e15).contains(&count) => Ok(Self(count.round() as u64)),
            _ => Err(format!("'{text}' is no count: give one such as 500k or 1M")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_with_their_letters() {
        for (text, count) in [
            ("1", 1),
            ("500000", 500_000),
            ("1,500,000", 1_500_000),
            ("500k", 500_000),
            ("1M", 1_000_000),
            ("1.5M", 1_500_000),
            ("2G", 2_000_000_000),
        ] {
            assert_eq!(text.parse(), Ok(Count(count)), "{text}");
        }
        for text in ["", "M", "0", "-1M", "1e300", "nan", "inf", "1Mio", "é"] {
            assert!(text.parse::<Count>().is_err(), "{text}");
        }
    }
}
