//! What is reported.

use std::ops::Range;

use crate::proofread::edit::Kind;

/// Characters that a finding shows on either side.
const SHOWN: usize = 24;

/// A place of a text where another text is likelier.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Counted from 1.
    pub line: u64,
    /// In characters, counted from 1.
    pub column: u64,
    /// What the suggestion does.
    pub kind: Kind,
    /// What stands there; empty for an insertion.
    pub found: String,
    /// What would be likelier; empty for a deletion, None where nothing can be said.
    pub suggestion: Option<String>,
    /// By how many nats the suggestion makes the text likelier; None without one.
    pub gain_nats: Option<f64>,
    /// The characters before it, those of its line at most.
    pub before: String,
    /// The characters after it.
    pub after: String,
    /// Where it stands in [`Checked::text`], in bytes.
    pub bytes: Range<usize>,
}

/// A part of a text that was read, and what was found in it. The parts follow each other without a gap.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The part.
    pub text: String,
    /// In the order of their places.
    pub findings: Vec<Finding>,
}

impl Checked {
    /// The text with all suggestions.
    pub fn corrected(&self) -> String {
        let mut out = String::with_capacity(self.text.len() + self.findings.len());
        let mut end = 0;
        for finding in &self.findings {
            let Some(suggestion) = &finding.suggestion else { continue };
            out.push_str(&self.text[end..finding.bytes.start]);
            out.push_str(suggestion);
            end = finding.bytes.end;
        }
        out.push_str(&self.text[end..]);
        out
    }
}

impl Finding {
    /// Of what stands at `bytes` of `text`; its line and column are not known yet.
    pub(super) fn new(
        kind: Kind,
        text: &str,
        bytes: Range<usize>,
        suggestion: Option<String>,
        gain_nats: Option<f64>,
    ) -> Self {
        let line_before = text[..bytes.start].rsplit('\n').next().unwrap_or_default();
        let shown = line_before.char_indices().rev().nth(SHOWN - 1).map_or(0, |(at, _)| at);
        let line_after = text[bytes.end..].split('\n').next().unwrap_or_default();
        Self {
            line: 0,
            column: 0,
            kind,
            found: text[bytes.clone()].to_string(),
            suggestion,
            gain_nats,
            before: line_before[shown..].to_string(),
            after: line_after.chars().take(SHOWN).collect(),
            bytes,
        }
    }
}
