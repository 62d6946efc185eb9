//! What is known from the parts of a text that were judged when the next one is: the line and the column that
//! it begins at, and where the last edit won.

use std::ops::Range;

use crate::proofread::chunks::Chunk;
use crate::proofread::finding::{Checked, Finding};
use crate::proofread::judge::Winner;
use crate::proofread::segments::NEIGHBOURS;

/// Where in a text the next part begins.
pub(super) struct Place {
    line: u64,
    column: u64,
    /// How many ids before it the last edit won, in the part before.
    since: Option<usize>,
}

impl Default for Place {
    fn default() -> Self {
        Self { line: 1, column: 1, since: None }
    }
}

impl Place {
    /// Leaves out the edits of a part's `own` ids that are next to the last one of the part before, and
    /// remembers the last that is left. `begins` says that the part before belongs to another document.
    pub fn leave_out_neighbours(
        &mut self,
        own: &Range<usize>,
        begins: bool,
        winners: &mut Vec<Winner>,
    ) {
        if let Some(since) = self.since.filter(|_| !begins) {
            winners.retain(|winner| winner.edit.start - own.start + since > NEIGHBOURS);
        }
        self.since = winners.last().map(|winner| own.end - winner.edit.start);
    }

    fn pass(&mut self, text: &str) {
        for character in text.chars() {
            self.column += 1;
            if character == '\n' {
                (self.line, self.column) = (self.line + 1, 1);
            }
        }
    }

    /// Passes a chunk, and gives what was found in it its lines and columns.
    pub fn checked(&mut self, chunk: &Chunk, mut findings: Vec<Finding>) -> Checked {
        let own = &chunk.text[chunk.own.clone()];
        let mut passed = 0;
        for finding in &mut findings {
            finding.bytes.start -= chunk.own.start;
            finding.bytes.end -= chunk.own.start;
            self.pass(&own[passed..finding.bytes.start]);
            passed = finding.bytes.start;
            (finding.line, finding.column) = (self.line, self.column);
        }
        self.pass(&own[passed..]);
        let newline = if chunk.newline { "\n" } else { "" };
        self.pass(newline);
        Checked { text: format!("{own}{newline}"), findings }
    }
}
