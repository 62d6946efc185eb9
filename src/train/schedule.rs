//! The learning rate: a pure function of the step and of the share of the run that is done.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How the learning rate falls after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Half a cosine, down to a hundredth of the peak.
    #[default]
    Cosine,
    /// A straight line, down to a hundredth of the peak.
    Linear,
    /// The peak, to the end.
    Constant,
}

/// The end of the falling schedules, as a share of the peak. Not 0, so that the last steps still train.
const FLOOR: f64 = 0.01;

impl Schedule {
    /// As the command line and the checkpoint write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::Linear => "linear",
            Self::Constant => "constant",
        }
    }

    /// The rate for `step`, counted from 0, when the share `progress` (0 to 1) of the run is done.
    ///
    /// The first `warmup` steps rise linearly to the rate that the schedule gives.
    pub fn rate(self, peak: f64, step: u64, warmup: u64, progress: f64) -> f64 {
        let progress = progress.clamp(0.0, 1.0);
        let share = match self {
            Self::Constant => 1.0,
            Self::Linear => 1.0 - progress,
            Self::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        };
        let rise = if step < warmup { (step + 1) as f64 / warmup as f64 } else { 1.0 };
        let floor = if self == Self::Constant { 1.0 } else { FLOOR };
        peak * rise * (floor + (1.0 - floor) * share)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warms_up_peaks_and_falls_to_the_floor() {
        for schedule in [Schedule::Cosine, Schedule::Linear] {
            assert_eq!(schedule.rate(1.0, 0, 10, 0.0), 0.1);
            assert_eq!(schedule.rate(1.0, 10, 10, 0.0), 1.0);
            assert!((schedule.rate(1.0, 99, 10, 0.5) - 0.505).abs() < 1e-12);
            assert!((schedule.rate(1.0, 100, 10, 1.0) - FLOOR).abs() < 1e-12);
            // A time limit may be overrun by the last step.
            assert!((schedule.rate(1.0, 100, 10, 1.3) - FLOOR).abs() < 1e-12);
        }
        assert_eq!(Schedule::Constant.rate(0.5, 7, 0, 0.9), 0.5);
        assert!(Schedule::Cosine.rate(1.0, 50, 0, 0.25) > Schedule::Linear.rate(1.0, 50, 0, 0.25));
    }
}
