//! One HTML page: the values of every layer and gate that was chosen, and what draws them.

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::checkpoint::Checkpoint;
use crate::cli::escape;
use crate::cli::html;
use crate::cli::inspect::selection::Selection;
use crate::cli::output::{grouped, layers_of};
use crate::inspect::{Found, Inspection, Reading, inspect_all};
use crate::model::{Cell, Network};

/// How every page begins.
pub(super) const MARK: &str = "<!DOCTYPE html>\n<!-- chargru inspect -->\n";

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Of the playground of `chargru serve`, which shows the same.
const GATES_STYLE: &str = include_str!("../../serve/page/gates.css");
const GATES_SCRIPT: &str = include_str!("../../serve/page/gates.js");

/// What the page is about.
pub(super) struct Page<'a> {
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) network: &'a Network,
    /// The name of the text.
    pub(super) text: String,
    /// Tokens of the whole text.
    pub(super) whole: usize,
    /// Its beginning, which is on the page.
    pub(super) shown: &'a Reading,
}

impl Page<'_> {
    /// The whole file.
    pub(super) fn html(
        &self,
        selection: &Selection,
        unit: Option<usize>,
        found: Option<&Found>,
    ) -> Result<String> {
        let all = inspect_all(self.network, self.shown, &selection.places())?;
        let data =
            escape::json(&data(&all, selection, unit, found).to_string()).replace('<', "\\u003c");
        // One script in place of a module and its import.
        let script = format!("{}\n{SCRIPT}", GATES_SCRIPT.replace("export class", "class"));
        let parts = [
            ("{{title}}", html::text(&format!("Inside {}", self.name()))),
            ("{{about}}", html::text(&self.about(found))),
            ("{{style}}", format!("{GATES_STYLE}{STYLE}")),
            ("{{version}}", html::text(env!("CARGO_PKG_VERSION"))),
            ("{{data}}", data),
            ("{{script}}", script),
        ];
        Ok(html::filled(MARK, TEMPLATE, &parts))
    }

    /// The folder of the run.
    fn name(&self) -> String {
        let folder = &self.checkpoint.folder;
        let run = if folder.ends_with("best") || folder.ends_with("last") {
            folder.parent().unwrap_or(folder)
        } else {
            folder
        };
        run.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn about(&self, found: Option<&Found>) -> String {
        let config = self.network.config();
        let part = match self.shown.len() < self.whole {
            true => format!(
                "the first {} of the {}",
                grouped(self.shown.len() as u64),
                grouped(self.whole as u64)
            ),
            false => format!("the {}", grouped(self.whole as u64)),
        };
        let mut about = format!(
            "{} {} of {}, trained on {}, reads {part} {} of {}.",
            if matches!(config.cell, Cell::Lstm | Cell::Rnn) { "An" } else { "A" },
            config.cell,
            layers_of(config.layers, config.hidden),
            self.checkpoint.config.corpus.name,
            self.shown.unit(),
            self.text
        );
        if let Some(found) = found {
            about += &format!(
                " Units were looked for in {} {}.",
                grouped(found.read as u64),
                self.shown.unit()
            );
        }
        about
    }
}

/// What the script of the page reads.
fn data(
    all: &[Inspection],
    selection: &Selection,
    unit: Option<usize>,
    found: Option<&Found>,
) -> Value {
    let (layer, gate) = selection.one();
    let (mut values, mut memory) = (Map::new(), Map::new());
    for inspection in all {
        values.insert(format!("{}.{}", inspection.layer, inspection.gate), packed(inspection));
        memory.insert(inspection.layer.to_string(), inspection.memory_json().into());
    }
    json!({
        "tokens": all.first().map(|inspection| &inspection.tokens),
        "units": all.first().map(|inspection| inspection.units),
        "layer": layer,
        "gate": gate.name(),
        "gates": selection.gates.iter().map(|gate| gate.name()).collect::<Vec<_>>(),
        "unit": unit,
        "values": values,
        "memory": memory,
        "found": found.map(Found::to_json),
    })
}

/// The values as bytes in base64: 0 stands for `low` and 255 for `high`.
fn packed(inspection: &Inspection) -> Value {
    let largest = inspection.values.iter().fold(1.0f32, |most, value| most.max(value.abs()));
    let low = if inspection.signed { -largest } else { 0.0 };
    let byte = |value: &f32| (255.0 * (value - low) / (largest - low)).round() as u8;
    let bytes: Vec<u8> = inspection.values.iter().map(byte).collect();
    json!({"low": low, "high": largest, "signed": inspection.signed, "base64": base64(&bytes)})
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_as_rfc_4648_says() {
        for (text, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(text.as_bytes()), coded);
        }
        assert_eq!(base64(&[251, 255, 254]), "+//+");
    }

    /// They stand inside of `<script>` and `<style>`.
    #[test]
    fn the_scripts_and_styles_end_no_element_and_load_nothing() {
        assert_eq!(GATES_SCRIPT.matches("export ").count(), 1);
        for part in [GATES_SCRIPT, SCRIPT, GATES_STYLE, STYLE] {
            for wrong in ["</", "<!--", "import ", "url(", "http"] {
                assert!(!part.contains(wrong), "{wrong}");
            }
        }
    }
}
