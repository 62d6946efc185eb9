//! A change of a text in ids.

use serde::Serialize;

/// What an edit does to the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A character becomes another one.
    Replacement,
    /// A character is taken out.
    Deletion,
    /// A character is put in.
    Insertion,
    /// Two neighbours change places.
    Transposition,
    /// None: the vocabulary does not have the character, so that the model cannot judge it.
    Unknown,
}

impl Kind {
    /// As the command line writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replacement => "replacement",
            Self::Deletion => "deletion",
            Self::Insertion => "insertion",
            Self::Transposition => "transposition",
            Self::Unknown => "unknown",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// The ids `start..end` of the segment `segment` become `ids`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edit {
    pub segment: usize,
    pub start: usize,
    pub end: usize,
    pub ids: Vec<u32>,
}

impl Edit {
    pub fn kind(&self) -> Kind {
        match (self.end - self.start, self.ids.len()) {
            (0, _) => Kind::Insertion,
            (1, 0) => Kind::Deletion,
            (1, _) => Kind::Replacement,
            _ => Kind::Transposition,
        }
    }
}
