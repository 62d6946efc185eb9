//! Sums over the rows of a matrix: by id, and of every column.

#![allow(unsafe_code)]

use crate::fused::parallel;
use crate::fused::simd::isa::{Isa, Task, for_vectors, load, store};
use crate::fused::simd::level::Level;
use crate::fused::simd::memory::Shared;
use pulp::Simd;
use std::ops::Range;

/// Columns in a cache line, and lines of columns that one task sums at most.
const LINE: usize = 16;
const LINES: usize = 16;

/// `sums[v] = Σ rows[k]` over the k with `ids[k] = v`: rows `[k, width]`, sums `[V, width]`. In
/// parallel over the columns, so that each sum is added up from the first row to the last.
///
/// # Panics
/// If there are fewer rows than ids, or an id has no sum.
pub fn scatter_add(level: Level, ids: &[u32], rows: &[f32], width: usize, sums: &mut [f32]) {
    if width == 0 {
        return;
    }
    parallel::for_items(sums.chunks_mut(1 << 16), |sums| sums.fill(0.0));
    assert!(
        rows.len() >= ids.len() * width
            && ids.iter().all(|&id| (id as usize + 1) * width <= sums.len())
    );
    let sums = Shared::new(sums);
    let lines = width.div_ceil(LINE);
    let tasks = parallel::tasks(lines, 1..=LINES);
    parallel::for_each(tasks, |i| {
        let lines = parallel::share(lines, tasks, i);
        let columns = lines.start * LINE..width.min(lines.end * LINE);
        level.run(ScatterColumns { ids, rows, width, columns, sums });
    });
}

struct ScatterColumns<'a> {
    ids: &'a [u32],
    rows: &'a [f32],
    width: usize,
    columns: Range<usize>,
    sums: Shared<'a>,
}

impl Task for ScatterColumns<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let (simd, len) = (isa.simd(), self.columns.len());
        for (&id, row) in self.ids.iter().zip(self.rows.chunks_exact(self.width)) {
            let row = &row[self.columns.clone()];
            // SAFETY: inside by `scatter_add`'s assertion; no other task has these columns, and the
            // part that the last row was added to is no longer in use.
            let sum = unsafe { self.sums.part(id as usize * self.width + self.columns.start, len) };
            for_vectors!(simd, len, |j, n| {
                store(simd, sum, j, n, simd.add_f32s(load(simd, sum, j, n), load(simd, row, j, n)));
            });
        }
    }
}

/// Sums of the columns of `rows` `[k, width]`, each added up from the first row to the last. In
/// parallel over the columns.
pub fn column_sums(rows: &[f32], width: usize) -> Vec<f32> {
    /// Additions that one task makes at least.
    const LEAST: usize = 16 * 1024;
    let mut sums = vec![0.0; width];
    if width == 0 {
        return sums;
    }
    let least = LEAST.div_ceil(LINE * (rows.len() / width).max(1));
    let tasks = parallel::tasks(width.div_ceil(LINE), least..=LINES.max(least));
    parallel::for_items(parallel::shares(&mut sums, LINE, tasks), |(lines, sums)| {
        let first = lines.start * LINE;
        for row in rows.chunks_exact(width) {
            sums.iter_mut().zip(&row[first..]).for_each(|(sum, x)| *sum += x);
        }
    });
    sums
}
