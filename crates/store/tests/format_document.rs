//! What `FORMAT.md` shows is what is written.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expects by panicking"
)]

use podwalk_store::{BARRIER_BYTES, OBITUARIES, format};

mod support;

const DOCUMENT: &str = include_str!("../FORMAT.md");
const SPECS: &str = include_str!("../src/format/v1/specs.rs");

/// The hex digits of the n-th block of text: up to sixteen bytes a line, what
/// follows three spaces being a remark.
fn bytes_of_block(number: usize) -> Vec<u8> {
    let mut blocks = DOCUMENT.split("```text\n").skip(1);
    let block = blocks.nth(number).expect("the block");
    let block = block.split("```").next().expect("its end");
    let digits = block
        .lines()
        .flat_map(|line| line.split("   ").next().unwrap_or_default().split(' '));
    digits
        .filter(|digits| !digits.is_empty())
        .map(|digits| u8::from_str_radix(digits, 16).expect("two hex digits"))
        .collect()
}

#[test]
fn the_example_is_a_record() {
    let samples = support::samples::every_record();
    let named = samples
        .into_iter()
        .find(|(name, _)| *name == "undone-attachment");
    let (_, record) = named.expect("the sample");
    let entry = support::samples::entry(1, 2, record);
    let bytes = bytes_of_block(0);
    assert_eq!(format::encode(entry.clone()), Ok(bytes.clone()));
    assert_eq!(format::decode(&bytes), Ok(entry));
}

#[test]
fn the_examples_key_is_its_key() {
    let mut key = vec![b'p'];
    key.extend_from_slice(&support::samples::pod_id(1).0);
    key.extend_from_slice(&2_u64.to_be_bytes());
    key.extend_from_slice(&0_u16.to_be_bytes());
    assert_eq!(bytes_of_block(1), key);
}

#[test]
fn the_limits_are_the_ones_that_hold() {
    let says = |text: String| assert!(DOCUMENT.contains(&text), "{text}");
    let thousands = |bytes: usize| format!("{},{:03}", bytes / 1000, bytes % 1000);
    says(format!("{} (384 KiB)", thousands(format::RECORD_LIMIT)));
    says(format!("{} (768 KiB)", thousands(format::SNAPSHOT_LIMIT)));
    says(format!(
        "a sync before {} KiB of payload",
        BARRIER_BYTES >> 10
    ));
    says(format!("the last {} obituaries", thousands(OBITUARIES)));
    says(format!(
        "{} bytes, integers little-endian",
        format::ENVELOPE_BYTES
    ));
    says(format!("Format version {}.", format::FORMAT_VERSION));
}

/// The declarations of one macro: each name, and what stands between its braces.
fn declared(by: &str) -> Vec<(&'static str, &'static str)> {
    let start = SPECS.find(&format!("{by}! {{")).expect("the macro") + by.len() + 3;
    let end = start + SPECS[start..].find("\n}").expect("its end");
    let parts = SPECS[start..end]
        .split('}')
        .filter(|part| part.contains('='));
    let named = |part: &'static str| {
        let (name, rest) = part.split_once(" = ").expect("a name");
        let (_, inside) = rest.split_once('{').expect("its fields");
        (name.trim(), inside)
    };
    parts.map(named).collect()
}

/// The names in a declaration, without their types: what stands in `<>` or `()` is a type's.
fn names(inside: &str) -> Vec<&str> {
    let mut depth = 0;
    let between = |c: char| {
        depth += i32::from(matches!(c, '<' | '(')) - i32::from(matches!(c, '>' | ')'));
        c == ',' && depth == 0
    };
    let each = inside.split(between).map(str::trim);
    each.filter(|field| !field.is_empty())
        .map(|field| field.split([':', '(']).next().unwrap_or_default())
        .collect()
}

#[test]
fn the_fields_of_a_spec_are_the_ones_that_are_written() {
    let structs = declared("frozen_struct").into_iter().map(|(name, inside)| {
        let fields = names(inside).into_iter().map(|field| format!("`{field}`"));
        (name, fields.collect::<Vec<_>>())
    });
    let enums = declared("frozen_enum").into_iter().map(|(name, inside)| {
        let variants = names(inside).into_iter().enumerate();
        let variants = variants.map(|(place, variant)| format!("{place} `{variant}`"));
        (name, variants.collect())
    });
    let all: Vec<_> = structs.chain(enums).collect();
    assert_eq!(all.len(), 13, "{all:?}");
    for (name, fields) in all {
        let row = format!("| `{name}` | {} |", fields.join(", "));
        assert!(DOCUMENT.contains(&row), "{row}");
    }
}
