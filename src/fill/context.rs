//! What stands on both sides of a stretch of text with gaps, as the network has read it.

use crate::error::Result;
use crate::model::{Sides, SidesReader, State};

/// A place of a stretch to fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// To be filled.
    Gap,
    /// Text between two gaps.
    Fixed(u32),
}

/// The ids on both sides of a stretch, at least one on each, and the states between them.
pub(super) struct Context {
    left: Vec<u32>,
    right: Vec<u32>,
    /// Of the text left of the stretch, and of that right of it.
    sides: Sides,
}

impl Context {
    pub(super) fn read(reader: &SidesReader, left: Vec<u32>, right: Vec<u32>) -> Result<Self> {
        let sides = reader.read(&[&left, &right])?;
        Ok(Self { left, right, sides })
    }

    pub(super) fn left(&self) -> &[u32] {
        &self.left
    }

    pub(super) fn right(&self) -> &[u32] {
        &self.right
    }

    /// The forward half's state before it reads the last id left of the stretch, for so many rows; and that id.
    pub(super) fn enter_left(&self, rows: usize) -> Result<(State, u32)> {
        let last = self.left.len() - 1;
        let row = self.sides.row(0, last);
        Ok((self.sides.left(&vec![row; rows])?, self.left[last]))
    }

    /// The backward half's state before it reads the first id right of the stretch; and that id.
    pub(super) fn enter_right(&self, rows: usize) -> Result<(State, u32)> {
        let row = self.sides.row(1, 1);
        Ok((self.sides.right(&vec![row; rows])?, self.right[0]))
    }
}
