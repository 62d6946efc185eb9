//! The README's Rust code is that of doc tests, which compile and run it.

use std::fs;
use std::path::Path;

/// The lines of a file of the repository.
fn lines(name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let text = fs::read_to_string(path).expect("a file of the repository");
    text.lines().map(ToString::to_string).collect()
}

/// What a file's doc comments show: without the lines that rustdoc hides.
fn docs(name: &str) -> String {
    let shown = |line: &String| -> Option<String> {
        let line = line.strip_prefix("//!").or_else(|| line.strip_prefix("///"))?;
        let line = line.strip_prefix(' ').unwrap_or(line);
        (line != "#" && !line.starts_with("# ")).then(|| line.to_string())
    };
    lines(name).iter().filter_map(shown).collect::<Vec<_>>().join("\n")
}

#[test]
fn its_rust_code_is_compiled_by_doc_tests() {
    let shown = docs("src/lib.rs") + &docs("src/generate/stream.rs");
    let readme = lines("README.md").join("\n");
    let blocks: Vec<&str> = readme
        .split("```rust\n")
        .skip(1)
        .map(|rest| rest.split("\n```").next().expect("an end"))
        .collect();
    assert!(blocks.len() >= 2, "the README has {} blocks of Rust", blocks.len());
    for block in blocks {
        assert!(shown.contains(block), "no doc test has this:\n{block}");
    }
}
