//! Who may import whom. The maps below are the rule; the tables in src/lib.rs and src/fused/mod.rs show
//! the same. A test reads every path under src/ that begins with `crate::` or `super::`, outside of
//! tests, and fails on one that the maps do not allow, on a circle of files, and on a file that imports
//! its own mod.rs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of the crate, lowest first, and what each may import.
const MODULES: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("runtime", &[]),
    ("fused", &["runtime"]),
    ("text", &["error"]),
    ("plot", &["error"]),
    ("data", &["text", "error"]),
    ("model", &["fused", "error"]),
    ("generate", &["model", "text", "error"]),
    ("fill", &["generate", "model", "text", "error"]),
    ("inspect", &["model", "data", "text", "runtime", "error"]),
    ("evaluate", &["model", "data", "text", "error"]),
    ("proofread", &["model", "data", "text", "error"]),
    ("checkpoint", &["proofread", "model", "data", "text", "error"]),
    (
        "train",
        &[
            "checkpoint",
            "proofread",
            "evaluate",
            "data",
            "model",
            "text",
            "runtime",
            "error",
            "fused (adamw.rs)",
            "fused (average.rs)",
        ],
    ),
    ("compare", &["train", "plot", "checkpoint", "data", "model", "text", "runtime", "error"]),
    (
        "serve",
        &[
            "checkpoint",
            "proofread",
            "evaluate",
            "inspect",
            "fill",
            "generate",
            "model",
            "data",
            "text",
            "runtime",
            "error",
        ],
    ),
    (
        "cli",
        &[
            "serve",
            "compare",
            "train",
            "plot",
            "checkpoint",
            "proofread",
            "evaluate",
            "inspect",
            "fill",
            "generate",
            "model",
            "data",
            "text",
            "runtime",
            "error",
        ],
    ),
];

/// The rooms of `fused`, lowest first, and which of the others each may import.
const FUSED: &[(&str, &[&str])] = &[
    ("parallel", &[]),
    ("simd", &[]),
    ("tensors", &[]),
    ("mask", &["parallel"]),
    ("gemm", &["simd", "parallel"]),
    ("optimizer", &["tensors", "parallel"]),
    ("norm", &["gemm", "simd", "parallel"]),
    ("workspace", &["gemm", "simd"]),
    ("rnn", &["workspace", "gemm", "simd", "tensors", "parallel"]),
    ("readout", &["workspace", "gemm", "simd", "tensors", "parallel"]),
    ("autograd", &["rnn", "readout", "norm", "workspace", "simd", "tensors"]),
    ("window", &["rnn", "readout", "norm", "workspace", "mask", "gemm", "simd", "tensors"]),
    ("inference", &["rnn", "norm", "gemm", "simd", "tensors"]),
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The files under src/ that are not tests, each as its path from there.
fn files() -> Vec<String> {
    fn walk(folder: &Path, files: &mut Vec<String>) {
        for entry in fs::read_dir(folder).expect("a folder of src") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(source()).expect("inside src").to_str().expect("UTF-8");
            if path.is_dir() && !name.ends_with("tests") {
                walk(&path, files);
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
                files.push(name.replace('\\', "/"));
            }
        }
    }
    let mut all = Vec::new();
    walk(&source(), &mut all);
    all.sort();
    all
}

/// The code of a file without its comments and its test module.
fn code(file: &str) -> String {
    let text = fs::read_to_string(source().join(file)).expect("a source file");
    // A module of tests ends the file.
    let end = text.match_indices("#[cfg(test)]\n").find(|(at, attribute)| {
        let item = text[at + attribute.len()..].lines().next().unwrap_or_default();
        item.ends_with("mod tests {")
    });
    text[..end.map_or(text.len(), |(at, _)| at)]
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| line.split(" // ").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Every path in `code` that begins with `root`, braces written out: `a::{b, c::d}` is two paths.
fn paths(code: &str, root: &str) -> Vec<Vec<String>> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in code.match_indices(&format!("{root}::")) {
        let before = code[..at].chars().next_back();
        if !before.is_some_and(|c| is_word(c) || c == ':') {
            tree(&code[at..], Vec::new(), &mut found);
        }
    }
    found
}

/// Reads one path or tree of paths; returns what follows it.
fn tree<'a>(text: &'a str, mut path: Vec<String>, found: &mut Vec<Vec<String>>) -> &'a str {
    let mut rest = text.trim_start();
    loop {
        if let Some(mut inner) = rest.strip_prefix('{') {
            loop {
                inner = tree(inner, path.clone(), found).trim_start();
                match inner.strip_prefix(',') {
                    Some(more) if !more.trim_start().starts_with('}') => inner = more,
                    more => {
                        let end = more.unwrap_or(inner).trim_start();
                        return end.strip_prefix('}').unwrap_or(end);
                    }
                }
            }
        }
        let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        path.push(rest[..length].to_string());
        rest = &rest[length..];
        match rest.strip_prefix("::") {
            Some(more) if !more.starts_with('<') => rest = more,
            _ => {
                found.push(path);
                return rest.strip_prefix('*').unwrap_or(rest);
            }
        }
    }
}

/// The file that holds what a path `crate::…` names: the longest beginning that is a module.
fn file_of(path: &[String]) -> Option<String> {
    (2..=path.len()).rev().find_map(|length| {
        let module = path[1..length].join("/");
        [format!("{module}.rs"), format!("{module}/mod.rs")]
            .into_iter()
            .find(|file| source().join(file).is_file())
    })
}

/// The room of a file: its folder in src, or its own name; within `fused`, the same one level down.
fn room(file: &str) -> (&str, Option<&str>) {
    let mut parts = file.split('/').map(|part| part.trim_end_matches(".rs"));
    let first = parts.next().unwrap_or_default();
    let second = parts.next().filter(|part| first == "fused" && *part != "mod");
    (first, second)
}

/// Which files each file imports, itself left out, and what is wrong with those imports.
fn imports() -> (BTreeMap<String, BTreeSet<String>>, Vec<String>) {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for file in files().into_iter().filter(|file| file != "lib.rs" && file != "main.rs") {
        let code = code(&file);
        let own = Path::new(&file).parent().expect("a folder").join("mod.rs");
        for line in code.lines().filter(|line| line.starts_with("use super::")) {
            wrong.push(format!("{file}: write the full path instead of `{line}`"));
        }
        let imported = all.entry(file.clone()).or_default();
        for path in paths(&code, "crate") {
            let written = path.join("::");
            match file_of(&path) {
                None => wrong.push(format!("{file}: {written} is not a path into a module")),
                Some(target) if target == file => {}
                Some(target) if Path::new(&target) == own && !file.ends_with("mod.rs") => {
                    // A macro of its own room, or a type that mod.rs defines, is no re-export.
                    wrong.push(format!("{file}: imports its own mod.rs: {written}"));
                }
                Some(target) => drop(imported.insert(target)),
            }
        }
    }
    (all, wrong)
}

fn allowed(map: &[(&str, &[&str])], from: &str, to: &str, file: &str) -> bool {
    let Some((_, allowed)) = map.iter().find(|(name, _)| *name == from) else {
        panic!("{file}: the map of tests/module_map.rs lacks {from}");
    };
    let file = file.rsplit('/').next().unwrap_or_default();
    from == to || allowed.iter().any(|&name| name == to || name == format!("{to} ({file})"))
}

#[test]
fn imports_run_downwards_only() {
    let (imports, mut wrong) = imports();
    for (file, targets) in &imports {
        for target in targets {
            let (from, to) = (room(file), room(target));
            if !allowed(MODULES, from.0, to.0, file) {
                wrong.push(format!("{file} imports {target}: {} may not import {}", from.0, to.0));
            }
            if let (Some(from), Some(to)) = (from.1, to.1)
                && !allowed(FUSED, from, to, file)
            {
                wrong.push(format!(
                    "{file} imports {target}: fused::{from} may not import fused::{to}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_circle_of_files() {
    fn visit<'a>(
        file: &'a str,
        imports: &'a BTreeMap<String, BTreeSet<String>>,
        path: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) {
        if let Some(start) = path.iter().position(|&on_path| on_path == file) {
            panic!("a circle of imports: {} -> {file}", path[start..].join(" -> "));
        }
        if done.contains(file) {
            return;
        }
        path.push(file);
        for target in imports.get(file).into_iter().flatten() {
            visit(target, imports, path, done);
        }
        path.pop();
        done.insert(file);
    }
    let (imports, _) = imports();
    let mut done = BTreeSet::new();
    for file in imports.keys() {
        visit(file, &imports, &mut Vec::new(), &mut done);
    }
    assert!(done.len() > 60, "only {} files were read", done.len());
}

/// The cells of the table rows `| name | .. | may import |` of a module's docs.
fn table(file: &str) -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(source().join(file)).expect("a source file");
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("//! | ")) {
        let cells: Vec<&str> = line.trim_end_matches('|').split('|').map(str::trim).collect();
        let last = cells[cells.len() - 1];
        let words = |text: &str| -> BTreeSet<String> {
            text.split(',').map(|word| word.replace('`', "").trim().to_string()).collect()
        };
        for name in words(&cells[1].replace(['[', ']'], "")) {
            let imports = words(last).into_iter().filter(|word| word != "nothing").collect();
            rows.insert(name, imports);
        }
    }
    rows
}

#[test]
fn the_docs_show_the_same_maps() {
    for (file, map) in [("lib.rs", MODULES), ("fused/mod.rs", FUSED)] {
        let shown = table(file);
        for (name, imports) in map {
            let imports: BTreeSet<String> = imports.iter().map(ToString::to_string).collect();
            assert_eq!(shown.get(*name), Some(&imports), "{name} in the table of src/{file}");
        }
    }
}

#[test]
fn paths_are_read_from_use_trees_and_from_expressions() {
    let code = "use crate::a::{b, c::{D, e}};\nlet x = crate::f::g(mycrate::h, $crate::i::j!());";
    let found: Vec<String> = paths(code, "crate").into_iter().map(|path| path.join("::")).collect();
    assert_eq!(
        found,
        ["crate::a::b", "crate::a::c::D", "crate::a::c::e", "crate::f::g", "crate::i::j"]
    );
}

#[test]
fn no_file_is_longer_than_350_lines() {
    let long: Vec<String> = files()
        .into_iter()
        .filter_map(|file| {
            let lines = fs::read_to_string(source().join(&file)).expect("a file").lines().count();
            (lines > 350).then(|| format!("{file}: {lines}"))
        })
        .collect();
    assert!(long.is_empty(), "{long:?}");
}
