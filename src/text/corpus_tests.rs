use std::fs;

use super::*;
use crate::text::{Encoding, Newlines};

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn read(paths: &[PathBuf], stdin: &str) -> Result<Corpus> {
    Corpus::read_with_stdin(paths, &ReadOptions::default(), stdin.as_bytes())
}

fn error(paths: &[PathBuf]) -> String {
    format!("{:#}", read(paths, "").unwrap_err())
}

#[test]
fn a_folder_is_read_recursively_in_order_and_joined_by_newlines() {
    let folder = folder(&[
        ("b.txt", "two\r\n"),
        ("a.txt", "one"),
        ("c/inner.TXT", "\u{FEFF}three"),
        ("c/skipped.md", "no"),
        ("d.txt", ""),
        ("e.txt", "four"),
    ]);
    let corpus = read(&[folder.path().into()], "").unwrap();
    assert_eq!(corpus.text(), "one\ntwo\nthree\nfour");
    let files: Vec<_> = corpus.files().collect();
    assert_eq!(files.concat(), corpus.text());
    assert_eq!(files.len(), 5);
    assert_eq!(&files[..2], ["one\n", "two\n"]);
    let folder_name = folder.path().file_name().unwrap().to_str().unwrap();
    // A temporary folder is hidden, a run is not.
    assert_eq!(corpus.name(), folder_name.trim_start_matches('.'));
}

#[test]
fn a_file_named_outright_needs_no_txt_and_stdin_joins_in() {
    let folder = folder(&[("tale.of.two.md", "file")]);
    let file = folder.path().join("tale.of.two.md");
    let corpus = read(&[file.clone(), "-".into()], "typed\n").unwrap();
    assert_eq!(corpus.text(), "file\ntyped\n");
    assert_eq!(corpus.name(), "tale.of.two");
    assert_eq!(read(&["-".into()], "x").unwrap().name(), "stdin");
    assert!(error(&["-".into(), "-".into()]).contains("named twice"));
}

#[test]
fn what_cannot_be_read_says_why_and_what_to_do() {
    let folder = folder(&[("empty.txt", ""), ("sub/x.md", "text")]);
    let inside = |name: &str| vec![folder.path().join(name)];
    assert!(error(&inside("missing.txt")).contains("missing.txt does not exist: check"));
    assert!(error(&inside("sub")).contains("no *.txt files: name the files"));
    assert!(error(&inside("empty.txt")).contains("the corpus is empty (0 characters"));
    assert!(error(&[]).contains("no corpus named"));
    #[cfg(unix)]
    assert!(error(&["/dev/null".into()]).contains("neither a file nor a folder"));
    fs::write(folder.path().join("bad.txt"), b"ab\xFF").unwrap();
    let bad = error(&inside("bad.txt"));
    assert!(bad.contains("bad.txt is not UTF-8: it has byte 0xFF at offset 2;"), "{bad}");
    assert!(bad.contains("`encoding` latin1"), "{bad}");
}

#[test]
fn offsets_in_errors_count_from_the_start_of_their_own_file() {
    let folder = folder(&[("a.txt", "0123456789"), ("b.txt", "")]);
    fs::write(folder.path().join("b.txt"), b"\xEF\xBB\xBFa\xE9!").unwrap();
    let error = error(&[folder.path().into()]);
    assert!(error.contains("b.txt") && error.contains("offset 4;"), "{error}");
    let options = ReadOptions { encoding: Encoding::Latin1, newlines: Newlines::Lf };
    let corpus = Corpus::read(&[folder.path().into()], &options).unwrap();
    assert_eq!(corpus.text(), "0123456789\naé!");
}

#[test]
fn the_fingerprint_is_the_sha256_of_the_text() {
    // printf abc | sha256sum
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(Corpus::from_text("x", "abc").fingerprint(), abc);
}

#[test]
fn the_shipped_text_is_the_one_its_readme_describes() {
    let corpus = Corpus::shipped();
    let readme = include_str!("../../corpus/README.md");
    assert!(readme.contains(&corpus.fingerprint()));
    assert_eq!(corpus.text().chars().count(), 277_290);
    assert_eq!(corpus.name(), "lantern-coast");
}
