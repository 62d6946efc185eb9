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

/// A test that was renamed, or a file that was moved, shows here.
#[test]
fn the_promises_name_tests_that_exist() {
    fn sources(folder: &Path, all: &mut String) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                sources(&path, all);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                all.push_str(&std::fs::read_to_string(&path).expect("a source file"));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = String::new();
    sources(&root.join("src"), &mut all);
    sources(&root.join("tests"), &mut all);
    let promises = std::fs::read_to_string(root.join("tests/README.md")).expect("the promises");
    let mut named = 0;
    for line in promises.lines().filter(|line| line.starts_with("| ")) {
        for name in line.split('`').skip(1).step_by(2) {
            let (file, test) = name.rsplit_once("::").unwrap_or(("", name));
            if file.starts_with("src/") {
                assert!(root.join(file).is_file(), "{file}");
            }
            if test.matches('_').count() >= 3 && test.starts_with(char::is_lowercase) {
                assert!(all.contains(&format!("fn {test}(")), "{test}");
                named += 1;
            } else if test.starts_with("src/") {
                assert!(root.join(test).exists(), "{test}");
            }
        }
    }
    assert!(named > 25, "only {named} tests were found in the table");
}
