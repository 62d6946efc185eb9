//! The range of an axis, its ticks and their labels.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// An axis with a range: values to shares of its length.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    /// The ends; of a logarithmic axis both are above zero.
    low: f64,
    high: f64,
    log: bool,
    ticks: Vec<f64>,
    /// The distance of two ticks of a linear axis.
    step: f64,
}

/// How an axis is to be laid out.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub(super) log: bool,
    pub(super) zero: bool,
    /// The range ends at ticks.
    pub(super) rounded: bool,
    /// About so many ticks.
    pub(super) ticks: usize,
}

impl Scale {
    /// An axis over finite values (above zero if it is logarithmic); without any, from 0 to 1.
    pub(super) fn new(values: impl Iterator<Item = f64>, layout: Layout) -> Self {
        let (mut low, mut high) = values
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        if layout.log {
            if low > high {
                (low, high) = (1.0, 10.0);
            }
            // A range without width has no ticks.
            if high / low < 1.01 {
                (low, high) = (low / 1.5, high * 1.5);
            }
            if layout.rounded {
                (low, high) = (rounded_down(low), 1.0 / rounded_down(1.0 / high));
            }
            let (ticks, step) = log_ticks(low, high, layout.ticks);
            return Self { low, high, log: true, ticks, step };
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if layout.zero {
            (low, high) = (low.min(0.0), high.max(0.0));
        }
        let size = low.abs().max(high.abs());
        // Narrower, and the ticks would be the same numbers.
        if high - low <= size * 1e-9 || size < 1e-200 {
            let margin = if size < 1e-200 { 0.5 } else { size * 0.05 };
            (low, high) = (low - margin, high + margin);
        }
        let step = nice_step((high - low) / layout.ticks.max(1) as f64);
        if layout.rounded {
            // Powers are rounded differently from system to system.
            let slack = |places: f64| places.abs().max(1.0) * 1e-12;
            let (first, last) = (low / step, high / step);
            (low, high) =
                ((first + slack(first)).floor() * step, (last - slack(last)).ceil() * step);
        }
        let ticks = linear_ticks(low, high, step);
        Self { low, high, log: false, ticks, step }
    }

    /// Where a value is on the axis: 0 to 1 within its range.
    pub(super) fn share(&self, value: f64) -> f64 {
        if self.log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    /// The longest label of a tick in characters.
    pub(super) fn label_length(&self) -> usize {
        self.ticks.iter().map(|&tick| self.label(tick).chars().count()).max().unwrap_or(0)
    }

    fn label(&self, value: f64) -> String {
        let largest = self.low.abs().max(self.high.abs());
        // Logarithmic ticks differ in size: each has the decimals that it needs.
        let step = if self.log { self.step.min(value) } else { self.step };
        if largest >= 1e15 || step < 1e-6 {
            return if value == 0.0 { "0".into() } else { short_exponent(value) };
        }
        let (value, step, unit) = match largest {
            1e10.. => (value / 1e9, step / 1e9, "G"),
            1e7.. => (value / 1e6, step / 1e6, "M"),
            _ => (value, step, ""),
        };
        // A step is 1, 2 or 5 times a power of ten.
        let decimals = (-(step * 1.000_001).log10().floor()).clamp(0.0, 9.0) as usize;
        grouped(&format!("{value:.decimals$}")) + unit
    }
}

/// 1, 2 or 5 times a power of ten: the next one from `least` on.
fn nice_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let times = [1.0, 2.0, 5.0].into_iter().find(|times| times * power >= least * 0.999_999);
    times.unwrap_or(10.0) * power
}

/// The next lower number that is 1, 2 or 5 times a power of ten.
fn rounded_down(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let fits = |times: &f64| times * power <= value * 1.000_001;
    [5.0, 2.0].into_iter().find(fits).unwrap_or(1.0) * power
}

fn linear_ticks(low: f64, high: f64, step: f64) -> Vec<f64> {
    let first = (low / step - 1e-6).ceil();
    (0..1000)
        .map(|index| (first + f64::from(index)) * step)
        .take_while(|&tick| tick <= high + step * 1e-6)
        // No negative zero.
        .map(|tick| if tick.abs() < step * 1e-6 { 0.0 } else { tick })
        .collect()
}

/// Powers of ten with 2 and 5 times each, powers of ten alone, or every so manieth of them; linear ones where
/// fewer than three of those are in the range. With them the distance that decides the decimals.
fn log_ticks(low: f64, high: f64, count: usize) -> (Vec<f64>, f64) {
    let count = count.max(2);
    let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let inside = |tick: &f64| (low * 0.999_999..=high * 1.000_001).contains(tick);
    let all = |times: &[f64], every: usize| -> Vec<f64> {
        let power = powers.clone().filter(|power| power.rem_euclid(every as i32) == 0);
        let ticks = power.flat_map(|power| times.iter().map(move |t| t * 10f64.powi(power)));
        ticks.filter(inside).collect()
    };
    let many = all(&[1.0, 2.0, 5.0], 1);
    if many.len() < 3 {
        let step = nice_step((high - low) / count as f64);
        return (linear_ticks(low, high, step), step);
    }
    let ticks = if many.len() <= count + count / 2 {
        many
    } else {
        all(&[1.0], all(&[1.0], 1).len().div_ceil(count).max(1))
    };
    (ticks, f64::INFINITY)
}

/// 12345.5 as 12,345.5.
fn grouped(number: &str) -> String {
    let (whole, rest) = number.split_at(number.find('.').unwrap_or(number.len()));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("−", digits));
    let mut out = sign.to_string();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}

/// 1.5e-7, with as many digits as a tick has.
fn short_exponent(value: f64) -> String {
    let text = format!("{value:.2e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    format!("{}e{exponent}", digits.trim_end_matches('0').trim_end_matches('.')).replace('-', "−")
}

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        // A little outside may be rounded there; far outside is no place.
        let share = self.share(*value).clamp(-0.01, 1.01);
        from + (f64::from(to - from) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Scale {
    fn format_ext(&self, value: &f64) -> String {
        self.label(*value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[f64], log: bool, rounded: bool) -> Vec<String> {
        let layout = Layout { log, zero: false, rounded, ticks: 5 };
        let scale = Scale::new(values.iter().copied(), layout);
        scale.ticks.iter().map(|&tick| scale.label(tick)).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(labels(&[1.29, 2.44], false, true), ["1.0", "1.5", "2.0", "2.5"]);
        assert_eq!(labels(&[0.0, 1020.0], false, false), ["0", "500", "1,000"]);
        assert_eq!(labels(&[0.0, 0.006], false, true), ["0.000", "0.002", "0.004", "0.006"]);
        assert_eq!(labels(&[-3.0, 3.0], false, true), ["−4", "−2", "0", "2", "4"]);
        assert_eq!(labels(&[0.0, 2e7], false, true), ["0M", "5M", "10M", "15M", "20M"]);
        assert_eq!(
            labels(&[1e-9, 3e-9], false, true),
            ["1e−9", "1.5e−9", "2e−9", "2.5e−9", "3e−9"]
        );
        assert_eq!(labels(&[60.0, 4000.0], true, false), ["100", "200", "500", "1,000", "2,000"]);
        assert_eq!(labels(&[0.01, 900.0], true, false), ["0.01", "0.1", "1", "10", "100"]);
        assert_eq!(labels(&[0.15, 3.0], true, true), ["0.1", "0.2", "0.5", "1", "2", "5"]);
        assert_eq!(labels(&[1.3, 1.8], true, false), ["1.3", "1.4", "1.5", "1.6", "1.7", "1.8"]);
    }

    #[test]
    fn every_range_has_two_ticks_to_twenty_and_no_two_alike() {
        let numbers =
            [0.0, 1e-300, 1e-12, 0.1, 1.0, 1.0 + 1e-15, 3.0, 1e6, 1e16, 1e16 + 2.0, 1e300];
        for low in numbers {
            for high in numbers.into_iter().filter(|&high| high >= low) {
                for log in [false, true] {
                    if log && low == 0.0 {
                        continue;
                    }
                    for sign in if log { &[1.0][..] } else { &[1.0, -1.0] } {
                        let found = labels(&[low * sign, high * sign], log, !log);
                        assert!((2..=20).contains(&found.len()), "{low} {high} {log}: {found:?}");
                        let distinct: std::collections::BTreeSet<_> = found.iter().collect();
                        assert_eq!(distinct.len(), found.len(), "{low} {high} {log}: {found:?}");
                    }
                }
            }
        }
    }
}
