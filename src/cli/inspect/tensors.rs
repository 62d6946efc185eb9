//! A safetensors file of gates and states, for Python.

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::inspect::{Inspection, Reading, inspect_all};
use crate::model::{Gate, Network};

/// How the header of such a file begins, after its length.
pub(super) const MARK: &str = r#"{"__metadata__":{"chargru":"inspection","#;

/// Tensors such as `layer1.z` [T, H], float32, and `layer1.memory` [H]; of one unit `layer1.z.17` [T]. The
/// metadata has the `text`, and its `tokens` as JSON.
///
/// The header is written here and not by the crate of that name, which puts several keys of the metadata in
/// an order that changes from one process to the next.
pub(super) fn bytes(
    network: &Network,
    reading: &Reading,
    places: &[(usize, Gate)],
    unit: Option<usize>,
) -> Result<Vec<u8>> {
    let all = inspect_all(network, reading, places)?;
    let mut file = File { header: Map::new(), data: Vec::new() };
    let tokens = Value::from(reading.tokens()).to_string();
    let metadata =
        json!({"chargru": "inspection", "format": "pt", "text": reading.text(), "tokens": tokens});
    file.header.insert("__metadata__".into(), metadata);
    let mut remembered = None;
    for inspection in &all {
        let Inspection { layer, gate, units, values, .. } = inspection;
        match unit {
            Some(unit) => {
                let column = inspection.column(unit)?;
                file.add(format!("layer{layer}.{gate}.{unit}"), &[column.len()], &column);
            }
            None => {
                file.add(format!("layer{layer}.{gate}"), &[values.len() / units, *units], values)
            }
        }
        if let (Some(memory), None) = (&inspection.memory, unit)
            && remembered != Some(*layer)
        {
            file.add(format!("layer{layer}.memory"), &[memory.len()], memory);
            remembered = Some(*layer);
        }
    }
    Ok(file.bytes())
}

struct File {
    header: Map<String, Value>,
    data: Vec<u8>,
}

impl File {
    fn add(&mut self, name: String, shape: &[usize], values: &[f32]) {
        let start = self.data.len();
        self.data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let offsets = [start, self.data.len()];
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": offsets});
        self.header.insert(name, entry);
    }

    fn bytes(self) -> Vec<u8> {
        let mut header = Value::Object(self.header).to_string();
        // The data begins at a multiple of eight bytes.
        while !header.len().is_multiple_of(8) {
            header.push(' ');
        }
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.into_bytes());
        bytes.extend(self.data);
        bytes
    }
}
