//! Sizes that go together, by name. What else there is to set follows from them and the text.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Sizes that go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Preset {
    /// A minute's work: 1 layer of 128
    Tiny,
    /// 2 layers of 256, about 3 MB
    Small,
    /// Better prose for more patience: 2 layers of 512
    Medium,
    /// For a large text and a long evening: 2 layers of 1024
    Large,
}

impl Preset {
    /// As a settings file would give them.
    pub(crate) fn settings(self) -> Value {
        match self {
            Self::Tiny => json!({"hidden": 128, "layers": 1}),
            Self::Small => json!({"hidden": 256, "layers": 2}),
            Self::Medium => json!({"hidden": 512, "layers": 2, "batch": 64}),
            Self::Large => json!({"hidden": 1024, "layers": 2, "batch": 64}),
        }
    }
}
