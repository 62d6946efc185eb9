//! The points of a series that can be drawn, and how many of them are.

/// Largest size of a number that is drawn: the difference of two is still finite.
const LARGEST: f64 = 1e300;

/// Whether a point has a place, on axes of which some are logarithmic.
pub(super) fn is_drawable((x, y): (f64, f64), (log_x, log_y): (bool, bool)) -> bool {
    let fits = |value: f64, log: bool| {
        value.abs() <= LARGEST && (!log || value >= LARGEST.recip()) && !value.is_nan()
    };
    fits(x, log_x) && fits(y, log_y)
}

/// The lines of a series: its points without those that have no place, each of which ends a line.
pub(super) fn lines(points: &[(f64, f64)], log: (bool, bool)) -> Vec<&[(f64, f64)]> {
    points.split(|&point| !is_drawable(point, log)).filter(|line| !line.is_empty()).collect()
}

/// At most about four points for each of `columns` columns of pixels: those by which the picture stays the
/// same. `column` tells where a point is, from 0 to `columns`.
pub(super) fn thinned(
    line: &[(f64, f64)],
    columns: usize,
    column: impl Fn(f64) -> f64,
) -> Vec<(f64, f64)> {
    if line.len() <= columns {
        return line.to_vec();
    }
    let place = |point: &(f64, f64)| column(point.0).floor();
    let kept = extremes(line.chunk_by(|a, b| place(a) == place(b)));
    // Points that go back and forth are in as many groups as there are points.
    if kept.len() <= 4 * columns + 4 {
        return kept;
    }
    extremes(line.chunks(line.len().div_ceil(columns)))
}

/// The first, the last, the lowest and the highest point of each group, in their order.
fn extremes<'a>(groups: impl Iterator<Item = &'a [(f64, f64)]>) -> Vec<(f64, f64)> {
    let mut kept = Vec::new();
    for group in groups {
        let by_y = |&a: &usize, &b: &usize| group[a].1.total_cmp(&group[b].1);
        let lowest = (0..group.len()).min_by(by_y);
        let highest = (0..group.len()).max_by(by_y);
        let ends = [Some(0), Some(group.len().saturating_sub(1))];
        let mut indices: Vec<usize> = ends.into_iter().chain([lowest, highest]).flatten().collect();
        indices.sort_unstable();
        indices.dedup();
        kept.extend(indices.into_iter().filter_map(|index| group.get(index).copied()));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_without_a_place_interrupts_the_line() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        let points = [(0.0, 1.0), (1.0, nan), (2.0, 1.0), (3.0, -1.0), (inf, 1.0), (5.0, 0.0)];
        assert_eq!(
            lines(&points, (false, false)),
            [&[(0.0, 1.0)][..], &[(2.0, 1.0), (3.0, -1.0)], &[(5.0, 0.0)]]
        );
        assert_eq!(lines(&points, (false, true)), [&[(0.0, 1.0)][..], &[(2.0, 1.0)]]);
    }

    #[test]
    fn a_peak_stays_where_points_are_thinned_out() {
        let mut line: Vec<(f64, f64)> = (0..1_000_000).map(|i| (f64::from(i), 1.0)).collect();
        line[345_678].1 = 9.0;
        line[345_680].1 = -9.0;
        let kept = thinned(&line, 500, |x| x / 2000.0);
        assert!(kept.len() <= 4 * 501, "{}", kept.len());
        for point in [line[0], line[345_678], line[345_680], line[999_999]] {
            assert!(kept.contains(&point), "{point:?}");
        }
        assert!(kept.windows(2).all(|two| two[0].0 < two[1].0));
        // Back and forth.
        let zigzag: Vec<(f64, f64)> =
            (0..100_000).map(|i| (f64::from(i % 2) * 400.0, 1.0)).collect();
        assert!(thinned(&zigzag, 500, |x| x).len() <= 4 * 501);
    }
}
