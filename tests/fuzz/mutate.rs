//! Mutations of valid files that know their structure: JSON, JSON lines, TOML, safetensors, text. The same
//! random numbers give the same mutation.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// No input is larger.
pub const MAX_INPUT: usize = 1 << 16;

/// What a target's input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Json,
    JsonLines,
    Toml,
    Safetensors,
    Text,
}

/// One to three mutations of `input`, drawn from `seed`.
pub fn mutate(kind: Kind, input: &[u8], seed: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let rng = &mut rng;
    let mut bytes = input.to_vec();
    for _ in 0..rng.random_range(1..=3) {
        bytes = match kind {
            // Whatever it is, sometimes it is only bytes.
            _ if rng.random_ratio(1, 8) => of_bytes(rng, bytes),
            Kind::Json => of_json(rng, &bytes).unwrap_or_else(|| of_bytes(rng, bytes)),
            Kind::JsonLines => of_lines(rng, &bytes, of_json),
            Kind::Toml => of_lines(rng, &bytes, of_setting),
            Kind::Safetensors => of_safetensors(rng, bytes),
            Kind::Text => of_text(rng, bytes),
        };
        bytes.truncate(MAX_INPUT);
    }
    bytes
}

fn one_of<'a, T: ?Sized>(rng: &mut ChaCha8Rng, all: &[&'a T]) -> &'a T {
    all[rng.random_range(0..all.len())]
}

/// A range within `length`, mostly short.
fn range(rng: &mut ChaCha8Rng, length: usize) -> std::ops::Range<usize> {
    let start = rng.random_range(0..=length);
    let most = if rng.random_ratio(3, 4) { 8.min(length - start) } else { length - start };
    start..start + rng.random_range(0..=most)
}

fn of_bytes(rng: &mut ChaCha8Rng, mut bytes: Vec<u8>) -> Vec<u8> {
    let at = range(rng, bytes.len());
    match rng.random_range(0..7) {
        0 => drop(bytes.drain(at)),
        1 => bytes.truncate(at.start),
        2 => {
            let copy = bytes[at.clone()].to_vec();
            bytes.splice(at.start..at.start, copy);
        }
        3 => bytes[at].iter_mut().for_each(|byte| *byte = rng.random()),
        4 => {
            let added: Vec<u8> = (0..rng.random_range(1..16)).map(|_| rng.random::<u8>()).collect();
            bytes.splice(at.start..at.start, added);
        }
        5 => drop(bytes.splice(at, piece_of_text(rng))),
        _ => {
            if let Some(byte) = bytes.get_mut(at.start) {
                *byte ^= 1 << rng.random_range(0..8);
            }
        }
    }
    bytes
}

/// Text that readers of text stumble over.
fn piece_of_text(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let pieces: [&[u8]; 22] = [
        b"\xEF\xBB\xBF",
        b"\xFF\xFE",
        b"\xFE\xFF",
        b"\r",
        b"\r\n",
        b"\n",
        b"\n\n\n",
        b"\0",
        b"\x1B[2J",
        b"\x80",
        b"\xC3",
        b"\xE2\x82",
        b"\xF0\x9F\x98",
        b"\xED\xA0\x80",
        b"\xC0\x80",
        b"\xF4\x90\x80\x80",
        "é".as_bytes(),
        "\u{1F600}".as_bytes(),
        "e\u{301}\u{200D}".as_bytes(),
        "\u{2028}\u{85}".as_bytes(),
        b"<eod>",
        b"<unk>",
    ];
    // The tables of code points become large by this one, so that it is rare.
    let piece =
        if rng.random_ratio(1, 64) { "\u{10FFFF}".as_bytes() } else { one_of(rng, &pieces) };
    let times = if rng.random_ratio(1, 16) { rng.random_range(1..2000) } else { 1 };
    piece.repeat(times)
}

fn of_text(rng: &mut ChaCha8Rng, mut bytes: Vec<u8>) -> Vec<u8> {
    if rng.random_ratio(1, 2) {
        return of_bytes(rng, bytes);
    }
    let at = rng.random_range(0..=bytes.len());
    bytes.splice(at..at, piece_of_text(rng));
    bytes
}

/// One line of many, changed by `change`, removed, repeated, or moved.
fn of_lines(
    rng: &mut ChaCha8Rng,
    bytes: &[u8],
    change: fn(&mut ChaCha8Rng, &[u8]) -> Option<Vec<u8>>,
) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = bytes.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    let (at, other) = (rng.random_range(0..lines.len()), rng.random_range(0..lines.len()));
    match rng.random_range(0..8) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(at, lines[other].clone()),
        2 => lines.swap(at, other),
        3 => lines[at] = of_bytes(rng, std::mem::take(&mut lines[at])),
        _ => {
            if let Some(changed) = change(rng, &lines[at]) {
                lines[at] = changed;
            }
        }
    }
    lines.join(&b'\n')
}

/// A line `name = value` of TOML.
fn of_setting(rng: &mut ChaCha8Rng, line: &[u8]) -> Option<Vec<u8>> {
    let line = std::str::from_utf8(line).ok()?;
    let (name, value) = line.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let leaf = leaf(rng, value);
    Some(
        match rng.random_range(0..8) {
            0 => format!("[{name}]\nx = {value}"),
            1 => format!("{name}.{name} = {value}"),
            2 => format!("{name} = [{value}, {leaf}]"),
            3 => format!("{name} = {}{}", "[".repeat(300), "]".repeat(300)),
            4 => format!("{name} = {{ a = {leaf} }}"),
            5 => format!("{name} = {}", value.trim_matches('"')),
            _ => format!("{name} = {leaf}"),
        }
        .into_bytes(),
    )
}

/// JSON with its numbers as they are written, its names in any order and any number.
#[derive(Clone)]
enum Node {
    Leaf(String),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    fn of(value: Value) -> Self {
        match value {
            Value::Array(all) => Self::Array(all.into_iter().map(Self::of).collect()),
            Value::Object(all) => Self::Object(
                all.into_iter().map(|(name, value)| (quoted(&name), Self::of(value))).collect(),
            ),
            leaf => Self::Leaf(leaf.to_string()),
        }
    }

    fn write(&self, text: &mut String) {
        match self {
            Self::Leaf(leaf) => text.push_str(leaf),
            Self::Array(all) => {
                text.push('[');
                for (index, node) in all.iter().enumerate() {
                    text.push_str(if index == 0 { "" } else { "," });
                    node.write(text);
                }
                text.push(']');
            }
            Self::Object(all) => {
                text.push('{');
                for (index, (name, node)) in all.iter().enumerate() {
                    text.push_str(if index == 0 { "" } else { "," });
                    text.push_str(name);
                    text.push(':');
                    node.write(text);
                }
                text.push('}');
            }
        }
    }

    fn count(&self) -> usize {
        1 + match self {
            Self::Leaf(_) => 0,
            Self::Array(all) => all.iter().map(Self::count).sum::<usize>(),
            Self::Object(all) => all.iter().map(|(_, node)| node.count()).sum(),
        }
    }

    /// The node that is reached after `left` others; in the order in which they are written.
    fn nth(&mut self, left: &mut usize) -> Option<&mut Self> {
        if *left == 0 {
            return Some(self);
        }
        *left -= 1;
        match self {
            Self::Leaf(_) => None,
            Self::Array(all) => all.iter_mut().find_map(|node| node.nth(left)),
            Self::Object(all) => all.iter_mut().find_map(|(_, node)| node.nth(left)),
        }
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A value that takes the place of another, as JSON or TOML write it.
fn leaf(rng: &mut ChaCha8Rng, old: &str) -> String {
    const NUMBERS: &[&str] = &[
        "0",
        "-0",
        "1",
        "-1",
        "2",
        "3",
        "7",
        "8",
        "127",
        "128",
        "255",
        "256",
        "65535",
        "65536",
        "65537",
        "1048576",
        "1114113",
        "1114114",
        "1114115",
        "2147483647",
        "2147483648",
        "4294967295",
        "4294967296",
        "9007199254740993",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551614",
        "18446744073709551615",
        "18446744073709551616",
        "340282366920938463463374607431768211456",
        "-9223372036854775808",
        "-9223372036854775809",
        "0.0",
        "0.5",
        "0.99999999999999999",
        "1.0",
        "1.5",
        "-0.1",
        "5e-324",
        "1e-320",
        "1e12",
        "1e18",
        "1e300",
        "1.7976931348623157e308",
        "1e309",
        "-1e309",
        "1e400000",
        "NaN",
        "inf",
        "Infinity",
        "0x10",
        "01",
        "1_0",
    ];
    const WORDS: &[&str] = &[
        "null",
        "true",
        "false",
        "[]",
        "{}",
        "\"\"",
        "\"x\"",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\"\\ud83d\\ude00\"",
        "\"\\u001b[2J\"",
        "\"\u{10FFFF}\"",
        "\"<unk>\"",
        "\"<eod>\"",
        "\"gru\"",
        "\"gru-reset-after\"",
        "\"lstm\"",
        "\"rnn\"",
        "\"mingru\"",
        "\"chars\"",
        "\"bytes\"",
        "\"off\"",
        "\"lines\"",
        "\"files\"",
        "\"utf8\"",
        "\"latin1\"",
        "\"lossy\"",
        "\"keep\"",
        "\"lf\"",
        "\"f32\"",
        "\"bf16\"",
        "\"F32\"",
        "\"F16\"",
        "\"BF16\"",
        "\"F64\"",
        "\"U8\"",
        "\"BOOL\"",
        "\"I64\"",
        "\"F8_E4M3\"",
        "\"F4\"",
        "\"constant\"",
        "\"cosine\"",
        "\"linear\"",
        "\"BPE\"",
        "\"ByteLevel\"",
        "\"Fuse\"",
        "\"streams\"",
        "\"documents\"",
        "\"../../x\"",
        "\"-\"",
        "\"10m\"",
        "\"1h30m\"",
        "\"99999999999999999999y\"",
        "\"tiny\"",
        "\"large\"",
        "\"cpu\"",
    ];
    let number = old.parse::<i128>().ok();
    match (rng.random_range(0..8), number) {
        (0..3, Some(n)) => {
            let near = [n + 1, n - 1, -n, n * 2, n / 2, n * 10, n + (1 << 32), n + (1 << 64)];
            near[rng.random_range(0..near.len())].to_string()
        }
        (0..3, None) if old.parse::<f64>().is_ok() => {
            let n: f64 = old.parse().unwrap_or_default();
            let near = [-n, n * 2.0, n * 1e300, n + 1.0, n.trunc(), n / 1e300];
            format!("{:?}", near[rng.random_range(0..near.len())])
        }
        (3, _) => quoted(&"long ".repeat(rng.random_range(1..4000))),
        (4, _) => {
            let depth =
                rng.random_range(1..200usize) * if rng.random_ratio(1, 9) { 100 } else { 1 };
            format!("{}{}", "[".repeat(depth), "]".repeat(depth))
        }
        (5 | 6, _) => one_of(rng, WORDS).to_string(),
        _ => one_of(rng, NUMBERS).to_string(),
    }
}

fn of_json(rng: &mut ChaCha8Rng, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut root = Node::of(serde_json::from_slice(bytes).ok()?);
    let count = root.count();
    let other = root.nth(&mut rng.random_range(0..count))?.clone();
    let node = root.nth(&mut rng.random_range(0..count))?;
    match (node, rng.random_range(0..10)) {
        (Node::Leaf(old), 0..7) => *old = leaf(rng, old),
        (node, 7) => *node = other,
        (node, 8) => *node = Node::Array(vec![node.clone()]),
        (node @ Node::Leaf(_), _) => {
            *node = Node::Object(vec![(quoted("x"), node.clone())]);
        }
        (Node::Array(all), change) => {
            let (at, from) = (rng.random_range(0..=all.len()), rng.random_range(0..=all.len()));
            match change {
                0..2 if at < all.len() => drop(all.remove(at)),
                2..4 if at.max(from) < all.len() => all.swap(at, from),
                4..6 if from < all.len() => all.insert(at, all[from].clone()),
                _ => all.insert(at, Node::Leaf(leaf(rng, "1"))),
            }
        }
        (Node::Object(all), change) => {
            let (at, from) = (rng.random_range(0..=all.len()), rng.random_range(0..=all.len()));
            match change {
                0..2 if at < all.len() => drop(all.remove(at)),
                2..4 if at.max(from) < all.len() => {
                    // The value of one name under another.
                    all[at].1 = all[from].1.clone();
                }
                4 if at.max(from) < all.len() => all[at].0 = all[from].0.clone(),
                5 if at < all.len() => {
                    let name = serde_json::from_str::<String>(&all[at].0).unwrap_or_default();
                    let changed = of_text(rng, name.into_bytes());
                    all[at].0 = quoted(&String::from_utf8_lossy(&changed));
                }
                6 if from < all.len() => {
                    let mut twin = all[from].clone();
                    if rng.random() {
                        twin.1 = Node::Leaf(leaf(rng, "1"));
                    }
                    all.insert(at, twin);
                }
                _ => all.insert(at, (quoted("added"), Node::Leaf(leaf(rng, "1")))),
            }
        }
    }
    let mut text = String::new();
    root.write(&mut text);
    Some(text.into_bytes())
}

/// Values that arithmetic stumbles over.
fn float(rng: &mut ChaCha8Rng) -> f32 {
    const SPECIAL: [f32; 14] = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        88.8,
        -104.0,
        1e30,
        -1e30,
        3e38,
        -3e38,
        1e-45,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
    ];
    match rng.random_range(0..3) {
        0 => f32::from_bits(rng.random()),
        1 => (rng.random::<f32>() - 0.5) * 100.0,
        _ => SPECIAL[rng.random_range(0..SPECIAL.len())],
    }
}

fn of_safetensors(rng: &mut ChaCha8Rng, mut bytes: Vec<u8>) -> Vec<u8> {
    let length = bytes.first_chunk().map_or(u64::MAX, |first| u64::from_le_bytes(*first));
    let Some(end) = usize::try_from(length).ok().and_then(|n| n.checked_add(8)) else {
        return of_bytes(rng, bytes);
    };
    if end > bytes.len() {
        return of_bytes(rng, bytes);
    }
    match rng.random_range(0..8) {
        0..3 => {
            let Some(header) = of_json(rng, &bytes[8..end]) else {
                return of_bytes(rng, bytes);
            };
            let mut changed = (header.len() as u64).to_le_bytes().to_vec();
            changed.extend(header);
            changed.extend_from_slice(&bytes[end..]);
            changed
        }
        3 => {
            let lengths = [
                0,
                1,
                7,
                length.wrapping_sub(1),
                length.wrapping_add(1),
                1 << 20,
                100_000_001,
                1 << 32,
                1 << 63,
                u64::MAX,
            ];
            let length = lengths[rng.random_range(0..lengths.len())];
            bytes[..8].copy_from_slice(&length.to_le_bytes());
            bytes
        }
        4 if bytes.len() - end >= 4 => {
            let numbers = (bytes.len() - end) / 4;
            let times = if rng.random_ratio(1, 4) { numbers } else { rng.random_range(1..4) };
            let value = float(rng);
            let begin = rng.random_range(0..numbers);
            for index in begin..(begin + times).min(numbers) {
                bytes[end + 4 * index..][..4].copy_from_slice(&value.to_le_bytes());
            }
            bytes
        }
        5 => {
            if rng.random() {
                bytes.extend((0..rng.random_range(1..9)).map(|_| 0u8));
            } else {
                bytes.truncate(rng.random_range(end..=bytes.len()));
            }
            bytes
        }
        _ => rebuilt(rng, &bytes).unwrap_or(bytes),
    }
}

/// A whole file with other tensors.
fn rebuilt(rng: &mut ChaCha8Rng, bytes: &[u8]) -> Option<Vec<u8>> {
    let file = SafeTensors::deserialize(bytes).ok()?;
    let mut all: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = file
        .iter()
        .map(|(name, view)| {
            (name.to_string(), view.dtype(), view.shape().to_vec(), view.data().to_vec())
        })
        .collect();
    // The order within the file is that of a hash map.
    all.sort_by(|a, b| a.0.cmp(&b.0));
    if all.is_empty() {
        return None;
    }
    let (at, from) = (rng.random_range(0..all.len()), rng.random_range(0..all.len()));
    match rng.random_range(0..8) {
        0 => drop(all.remove(at)),
        1 => all[at].0.push_str("_x"),
        2 => {
            let mut twin = all[from].clone();
            twin.0.push_str("_reverse");
            all.push(twin);
        }
        3 => all[at].2.reverse(),
        4 => all[at].2.insert(0, 1),
        5 => {
            all[at].2.insert(0, 0);
            all[at].3.clear();
        }
        6 => all[at].1 = if rng.random() { Dtype::I32 } else { Dtype::U32 },
        _ => {
            let (dtype, shape, data) = (all[from].1, all[from].2.clone(), all[from].3.clone());
            (all[at].1, all[at].2, all[at].3) = (dtype, shape, data);
        }
    }
    // Two of one name are no file that can be written.
    all.sort_by(|a, b| a.0.cmp(&b.0));
    if all.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return None;
    }
    let views: Vec<(String, TensorView)> = all
        .iter()
        .map(|(name, dtype, shape, data)| {
            Ok((name.clone(), TensorView::new(*dtype, shape.clone(), data)?))
        })
        .collect::<Result<_, safetensors::SafeTensorError>>()
        .ok()?;
    safetensors::serialize(views, None).ok()
}
