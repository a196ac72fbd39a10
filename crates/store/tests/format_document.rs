//! What `FORMAT.md` shows is what is written.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expects by panicking"
)]

use podwalk_store::{BARRIER_BYTES, OBITUARIES, format};

mod support;

const DOCUMENT: &str = include_str!("../FORMAT.md");

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
