//! The direct map against the `tokenizers` crate, and both against what may be read from disk.

use proptest::prelude::*;

use super::*;
use crate::text::huggingface::{check_size, hugging_face};

const TEXTS: &[&str] = &[
    "Plain ASCII.",
    "  leading and trailing  ",
    "\n\ttabs\tand\r\nnewlines\n\n",
    "café naïve Ångström",
    "e\u{301}a\u{308} combining",
    "漢字かな交じり文、한국어",
    "😀👩\u{200D}👩\u{200D}👧🏽 \u{1F1F3}\u{1F1F1}",
    "NUL \0 and \u{7F}\u{85}\u{A0}\u{AD}\u{2028}\u{FEFF}",
    "a text of <unk> and <eod> and </s>",
    "Ġ looks like a byte's name, Ċ too",
    "",
    " ",
    "\u{10FFFF}\u{D7FF}\u{E000}",
];

fn options(units: Units, documents: Documents) -> VocabularyOptions {
    VocabularyOptions { units, documents, ..Default::default() }
}

fn build(text: &str, units: Units, documents: Documents) -> Tokenizer {
    Tokenizer::build(text, &options(units, documents)).unwrap().0
}

fn wide(ids: &Ids) -> Vec<u32> {
    (0..ids.len()).map(|index| ids.get(index).unwrap()).collect()
}

/// Ids by the direct map, by the corpus path and by `tokenizers` agree; so does what they decode to.
fn assert_agrees(tokenizer: &Tokenizer, text: &str) {
    let theirs = hugging_face(tokenizer).unwrap();
    let ours = tokenizer.encode(text).unwrap();
    assert_eq!(theirs.encode(text, true).unwrap().get_ids(), ours, "{text:?}");
    assert_eq!(wide(&tokenizer.encode_corpus(text.to_owned()).unwrap()), ours, "{text:?}");
    if tokenizer.unknown().is_none() {
        assert_eq!(tokenizer.decode(&ours).unwrap(), text);
        assert_eq!(theirs.decode(&ours, true).unwrap(), text);
    }
}

#[test]
fn both_maps_agree_on_every_kind_of_text() {
    let all = TEXTS.concat();
    for documents in [Documents::Off, Documents::Files] {
        for units in [Units::Chars, Units::Bytes] {
            let tokenizer = build(&all, units, documents);
            TEXTS.iter().for_each(|text| assert_agrees(&tokenizer, text));
        }
        let few = VocabularyOptions { max_vocab: 12, documents, ..Default::default() };
        let (tokenizer, report) = Tokenizer::build(&all, &few).unwrap();
        assert_eq!(tokenizer.vocab_size(), 12);
        assert!(report.dropped_kinds > 50);
        TEXTS.iter().for_each(|text| assert_agrees(&tokenizer, text));
    }
}

proptest! {
    #[test]
    fn both_maps_agree_on_any_text(text in "(.|\\n){2,80}", other in ".{0,40}") {
        prop_assume!(text.chars().any(|c| !text.starts_with(c)));
        assert_agrees(&build(&text, Units::Chars, Documents::Off), &text);
        assert_agrees(&build(&text, Units::Bytes, Documents::Files), &other);
    }

    #[test]
    fn bytes_that_are_no_utf8_decode_as_tokenizers_decodes_them(ids in prop::collection::vec(0u32..256, 0..40)) {
        let tokenizer = build("ab", Units::Bytes, Documents::Off);
        let theirs = hugging_face(&tokenizer).unwrap().decode(&ids, true).unwrap();
        prop_assert_eq!(tokenizer.decode(&ids).unwrap(), theirs);
    }

    #[test]
    fn no_json_makes_it_panic(json in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..4000, to in any::<u8>()) {
        let _ = Tokenizer::from_json(&json);
        let tokenizer = build("abc\n", Units::Chars, Documents::Files);
        let mut damaged = tokenizer.to_json().unwrap();
        let at = at % damaged.len();
        damaged[at] = to;
        if let Ok(read) = Tokenizer::from_json(&damaged) {
            // Whatever is accepted is a tokenizer that writes itself back.
            prop_assert_eq!(Tokenizer::from_json(&read.to_json().unwrap()).unwrap(), read);
        }
    }
}

#[test]
fn ids_follow_code_points_and_specials_come_last() {
    let few = VocabularyOptions { max_vocab: 5, documents: Documents::Lines, ..Default::default() };
    let (tokenizer, _) = Tokenizer::build("ccbbaazy\n", &few).unwrap();
    assert_eq!(tokenizer.vocab_size(), 5);
    assert_eq!(tokenizer.encode("abcz").unwrap(), [0, 1, 2, 3]);
    assert_eq!((tokenizer.unknown(), tokenizer.end_of_document()), (Some(3), Some(4)));
    assert_eq!(tokenizer.encode_skipping_unknown("azc"), [0, 2]);
    assert_eq!(tokenizer.decode(&[2, 3, 4, 0]).unwrap(), "ca");
    assert_eq!((tokenizer.bytes_of(1), tokenizer.bytes_of(4)), (&b"b"[..], &b""[..]));
    assert_eq!(tokenizer.bytes_of(99), b"");
    assert!(tokenizer.decode(&[5]).unwrap_err().to_string().contains("vocabulary of 5"));
    let bytes = build("ab", Units::Bytes, Documents::Files);
    assert_eq!((bytes.vocab_size(), bytes.end_of_document()), (257, Some(256)));
    assert_eq!(bytes.encode("é").unwrap(), [0xC3, 0xA9]);
    assert_eq!(bytes.bytes_of(0xC3), [0xC3]);
}

#[test]
fn ids_take_the_smallest_integer_that_holds_them() {
    let width = |characters: std::ops::Range<u32>, documents| {
        let text: String = characters.filter_map(char::from_u32).collect();
        let tokenizer = Tokenizer::build(
            &text,
            &VocabularyOptions { max_vocab: 1 << 20, documents, ..Default::default() },
        );
        let tokenizer = tokenizer.unwrap().0;
        let ids = tokenizer.encode_corpus(text.clone()).unwrap();
        assert_eq!(wide(&ids), (0..text.chars().count() as u32).collect::<Vec<_>>());
        match ids {
            Ids::U8(_) => 1,
            Ids::U16(_) => 2,
            Ids::U32(_) => 4,
        }
    };
    assert_eq!(width(100..356, Documents::Off), 1);
    assert_eq!(width(100..356, Documents::Files), 1); // the end of document is in no text
    assert_eq!(width(100..357, Documents::Off), 2);
    assert_eq!(width(0x1_0000..0x2_0000, Documents::Off), 2);
    assert_eq!(width(0x1_0000..0x2_0001, Documents::Off), 4);
}

#[test]
fn characters_outside_the_vocabulary_are_listed() {
    let tokenizer = build("abc", Units::Chars, Documents::Off);
    let error = tokenizer.encode("café x é").unwrap_err();
    assert_eq!(error.characters, [' ', 'f', 'x', 'é']);
    assert_eq!(tokenizer.encode_corpus("ad".into()).unwrap_err().characters, ['d']);
    assert_eq!(tokenizer.encode_skipping_unknown("café"), [2, 0]);
}

#[test]
fn an_extended_vocabulary_says_where_each_id_came_from() {
    let few = VocabularyOptions { max_vocab: 3, ..Default::default() };
    let (old, _) = Tokenizer::build("bbddzy", &few).unwrap();
    let grown = VocabularyOptions { documents: Documents::Lines, ..Default::default() };
    let (new, from) = old.extended("abc\n", &grown).unwrap();
    assert_eq!(new.encode("abcd").unwrap(), [0, 1, 2, 3]);
    assert_eq!((new.unknown(), new.end_of_document()), (Some(4), Some(5)));
    assert_eq!(from, [None, Some(0), None, Some(1), Some(2), None]);
    assert!(old.extended("abc", &few).unwrap_err().to_string().contains("`max_vocab` 3"));

    let bytes = build("ab", Units::Bytes, Documents::Off);
    let (same, from) = bytes.extended("é", &VocabularyOptions::default()).unwrap();
    assert_eq!(same, bytes);
    assert_eq!(from, (0..256).map(Some).collect::<Vec<_>>());
}

#[test]
fn json_is_read_back_by_us_and_by_tokenizers() {
    let all = TEXTS.concat();
    let few =
        VocabularyOptions { max_vocab: 40, documents: Documents::Lines, ..Default::default() };
    for tokenizer in [
        build(&all, Units::Chars, Documents::Off),
        build(&all, Units::Chars, Documents::Files),
        build(&all, Units::Bytes, Documents::Off),
        build(&all, Units::Bytes, Documents::Lines),
        Tokenizer::build(&all, &few).unwrap().0,
    ] {
        let json = tokenizer.to_json().unwrap();
        assert_eq!(Tokenizer::from_json(&json).unwrap(), tokenizer);
        assert_eq!(json, tokenizer.to_json().unwrap(), "the same vocabulary, the same file");
        let theirs = tokenizers::Tokenizer::from_bytes(&json).unwrap();
        let ids = tokenizer.encode(&all).unwrap();
        assert_eq!(theirs.encode(all.as_str(), true).unwrap().get_ids(), ids);
        assert_eq!(theirs.get_vocab_size(true), tokenizer.vocab_size());
    }
}

#[test]
fn json_that_is_not_ours_is_refused_with_the_reason() {
    let json = String::from_utf8(build("abc", Units::Chars, Documents::Files).to_json().unwrap());
    let json = json.unwrap();
    let refused = |from: &str, to: &str| {
        assert!(json.contains(from), "{from} is not in {json}");
        let damaged = json.replace(from, to);
        Tokenizer::from_json(damaged.as_bytes()).unwrap_err().to_string()
    };
    assert!(refused("\"b\": 1", "\"b\": 2").contains("gives \"b\" the id 2 where"));
    assert!(refused("\"c\": 2", "\"c\": 4000000000").contains("the id 4000000000"));
    assert!(refused("\"b\": 1", "\"ba\": 1").contains("\"ba\", which is not one character"));
    assert!(refused("\"b\": 1", "\"\": 1").contains("not one character"));
    assert!(refused("\"<eod>\": 3", "\"<eod>\": 0").contains("the id"));
    assert!(refused("\"merges\": []", "\"merges\": [[\"a\", \"b\"]]").contains("1 merges"));
    assert!(refused("\"BPE\"", "\"WordLevel\"").contains("WordLevel"));
    assert!(refused("\"normalizer\": null", "\"normalizer\": {}").contains("normalizer"));
    assert!(refused("\"unk_token\": null", "\"unk_token\": \"a\"").contains("unknown token"));
    assert!(refused("\"fuse_unk\": false", "\"fuse_unk\": true").contains("fuse_unk"));
    assert!(refused("\"vocab\"", "\"words\"").contains("broken"));
    let cut = &json.as_bytes()[..json.len() / 2];
    assert!(Tokenizer::from_json(cut).unwrap_err().to_string().contains("broken"));
    assert!(Tokenizer::from_json(&[]).unwrap_err().to_string().contains("broken"));
    assert!(check_size(1 << 30).unwrap_err().to_string().contains("at most 67108864"));
}

#[test]
fn the_lone_byte_at_each_boundary_of_utf8_is_one_id() {
    let text = "\0\u{7F}\u{80}\u{7FF}\u{800}\u{FFFF}\u{10000}\u{10FFFF}";
    let tokenizer = build(text, Units::Chars, Documents::Off);
    assert_eq!(wide(&tokenizer.encode_corpus(text.into()).unwrap()), (0..8).collect::<Vec<_>>());
}
