//! What was inspected and found as the JSON of the program and of its server.

use serde_json::{Value, json};

use crate::inspect::find::{Found, FoundUnit};
use crate::inspect::inspection::Inspection;
use crate::inspect::memory::{Bin, histogram};

impl Inspection {
    /// As the program's JSON and its server write it: an object; values with three decimals.
    pub fn to_json(&self, found: Option<&Found>) -> Value {
        let row = |row: &[f32]| row.iter().map(|&value| rounded(value)).collect::<Vec<_>>();
        json!({
            "object": "inspection",
            "layer": self.layer,
            "layers": self.layers,
            "gate": self.gate.name(),
            "gates": self.gates.iter().map(|gate| gate.name()).collect::<Vec<_>>(),
            "signed": self.signed,
            "units": self.units,
            "tokens": self.tokens,
            "values": self.values.chunks_exact(self.units).map(row).collect::<Vec<_>>(),
            "memory": self.memory_json(),
            "found": found.map(Found::to_json),
        })
    }

    /// What each unit keeps, and how many keep how much.
    pub fn memory_json(&self) -> Option<Value> {
        let kept = self.memory.as_ref()?;
        let bin = |bin: &Bin| json!({"from": rounded(bin.from as f32), "to": rounded(bin.to as f32), "units": bin.units});
        Some(json!({
            "characters": kept.iter().map(|&value| rounded(value)).collect::<Vec<_>>(),
            "histogram": histogram(kept).iter().map(bin).collect::<Vec<_>>(),
        }))
    }
}

impl Found {
    /// As the program's JSON and its server write it.
    pub fn to_json(&self) -> Value {
        let unit = |unit: &FoundUnit| {
            json!({
                "feature": unit.feature,
                "label": unit.label,
                "binary": unit.is_binary,
                "layer": unit.layer,
                "gate": unit.gate.name(),
                "unit": unit.unit,
                "score": rounded(unit.score as f32),
                "positions": unit.positions,
                "high": unit.is_high,
                "threshold": unit.threshold.map(|(threshold, _)| threshold),
                "f1": unit.threshold.map(|(_, f1)| rounded(f1 as f32)),
            })
        };
        self.units.iter().map(unit).collect()
    }
}

/// Three decimals.
fn rounded(value: f32) -> f64 {
    let rounded = (f64::from(value) * 1000.0).round() / 1000.0;
    // No -0.0.
    rounded + 0.0
}
