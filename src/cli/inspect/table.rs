//! The units that were found, as a table.

use std::fmt::Write;

use crate::inspect::{Found, FoundUnit};

/// One line for each unit; those of yes or no first, then those of counts.
pub(super) fn table(found: &Found) -> String {
    let mut out = String::new();
    let (binary, counts): (Vec<&FoundUnit>, Vec<&FoundUnit>) =
        found.units.iter().partition(|unit| unit.is_binary);
    if !binary.is_empty() {
        out += "where                                 layer  gate  unit   ROC     F1  there\n";
    }
    for unit in &binary {
        let f1 = unit.threshold.map_or(0.0, |(_, f1)| f1);
        let end = if unit.is_high { "high" } else { "low" };
        let FoundUnit { label, layer, gate, unit, score, .. } = unit;
        let _ = writeln!(
            out,
            "{label:<36}  {layer:>5}  {gate:>4}  {unit:>4}  {score:.3}  {f1:.3}  {end}"
        );
    }
    if !counts.is_empty() {
        let gap = if binary.is_empty() { "" } else { "\n" };
        out += gap;
        out += "how much                              layer  gate  unit  rank correlation\n";
    }
    for unit in &counts {
        let sign = if unit.is_high { 1.0 } else { -1.0 };
        let FoundUnit { label, layer, gate, unit, score, .. } = unit;
        let score = sign * score;
        let _ = writeln!(out, "{label:<36}  {layer:>5}  {gate:>4}  {unit:>4}  {score:>6.3}");
    }
    out
}
