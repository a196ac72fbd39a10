//! The bytes of every version, pinned: one file per kind of record.
//!
//! They were written by the first release of their version and are read by every
//! later one. While a version is not released, `PODWALK_WRITE_GOLDEN=1` writes
//! its files anew.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expects by panicking"
)]

use std::fs;
use std::path::PathBuf;

use podwalk_engine::pod::Pod;
use podwalk_engine::record::{Output, Record};
use podwalk_store::format;

#[path = "../src/samples.rs"]
#[allow(dead_code, reason = "shared with the unit tests")]
mod samples;

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Sixteen bytes a line, in hex.
fn to_hex(bytes: &[u8]) -> String {
    let line = |bytes: &[u8]| {
        let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        digits.join(" ") + "\n"
    };
    bytes.chunks(16).map(line).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    text.split_ascii_whitespace()
        .map(|digits| u8::from_str_radix(digits, 16).expect("two hex digits"))
        .collect()
}

/// The golden bytes of that name, of the version that is written.
fn golden(name: &str, bytes: &[u8]) -> Vec<u8> {
    let version = format::FORMAT_VERSION;
    if std::env::var_os("PODWALK_WRITE_GOLDEN").is_some() {
        let path = directory().join(format!("v{version}-{name}.hex"));
        fs::create_dir_all(directory()).expect("the directory of golden files");
        fs::write(path, to_hex(bytes)).expect("a golden file");
    }
    golden_of(version, name)
}

/// The golden bytes of that name and version.
fn golden_of(version: u16, name: &str) -> Vec<u8> {
    let path = directory().join(format!("v{version}-{name}.hex"));
    from_hex(&fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}")))
}

/// A record as version 1 could say it: it knew no late attachments.
fn as_of_version_1(mut record: Record) -> Record {
    match &mut record {
        Record::Done(Output::ReadyNetwork(output)) => output.plan.retain(|planned| !planned.late),
        Record::Done(Output::AttachLate(output)) => output.results.clear(),
        Record::Snapshot(pod) => without_late(pod),
        _ => {}
    }
    record
}

fn without_late(pod: &mut Pod) {
    pod.plan.retain(|planned| !planned.late);
    pod.attachments.truncate(pod.plan.len());
}

#[test]
fn every_record_is_written_and_read_as_it_was_released() {
    for (name, record) in samples::every_record() {
        let entry = samples::entry(1, 2, record);
        let bytes = format::encode(entry.clone()).expect("a sample is small");
        let golden = golden(name, &bytes);
        assert_eq!(
            to_hex(&bytes),
            to_hex(&golden),
            "{name} is written differently"
        );
        assert_eq!(
            format::decode(&golden),
            Ok(entry),
            "{name} is read differently"
        );
    }
}

#[test]
fn an_obituary_is_written_and_read_as_it_was_released() {
    let obituary = samples::obituary(1, 3);
    let bytes = format::encode_obituary(obituary.clone()).expect("a sample is small");
    let golden = golden("obituary", &bytes);
    assert_eq!(to_hex(&bytes), to_hex(&golden));
    assert_eq!(format::decode_obituary(&golden), Ok(obituary));
}

#[test]
fn every_record_of_version_1_is_read_as_it_was_released() {
    for (name, record) in samples::every_record() {
        let entry = samples::entry(1, 2, as_of_version_1(record));
        assert_eq!(
            format::decode(&golden_of(1, name)),
            Ok(entry),
            "{name} is read differently"
        );
    }
    let mut obituary = samples::obituary(1, 3);
    without_late(&mut obituary.pod);
    assert_eq!(
        format::decode_obituary(&golden_of(1, "obituary")),
        Ok(obituary)
    );
}

/// A golden file without a sample would pin nothing.
#[test]
fn every_golden_file_has_its_sample() {
    let samples = samples::every_record();
    let names = samples.iter().map(|(name, _)| *name).chain(["obituary"]);
    let names: Vec<&str> = names.collect();
    let versions = 1..=format::FORMAT_VERSION;
    let mut expected: Vec<String> = versions
        .flat_map(|version| {
            names
                .iter()
                .map(move |name| format!("v{version}-{name}.hex"))
        })
        .collect();
    expected.sort();
    let entries = fs::read_dir(directory()).expect("the directory of golden files");
    let mut found: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    found.sort();
    assert_eq!(found, expected);
}

/// Every variant of the live record type has a sample: a new one does not
/// compile here before it has a golden file too.
#[test]
fn every_kind_of_record_has_a_sample() {
    let mut kinds: Vec<&str> = samples::every_record()
        .iter()
        .map(|(_, record)| match record {
            Record::Goal { .. } => "goal",
            Record::Intent(_) => "intent",
            Record::Done(_) => "done",
            Record::Failed { .. } => "failed",
            Record::Undone { .. } => "undone",
            Record::Observed(_) => "observed",
            Record::Snapshot(_) => "snapshot",
        })
        .collect();
    kinds.dedup();
    assert_eq!(kinds.len(), 7, "{kinds:?}");
}
