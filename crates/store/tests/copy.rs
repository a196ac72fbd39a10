//! Reading a journal that another process may have open.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expects by panicking"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use futures_executor::block_on;
use podwalk_engine::ports::{Durability, Journal};
use podwalk_store::{MemoryJournal, OpenError, Warning, copy_for_reading};
use support::samples::{note, obituary, pod_id, sized};
use tempfile::TempDir;

mod support;

/// Every file with its size and content's checksum.
fn contents(directory: &Path) -> BTreeMap<String, (u64, u32)> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(contents(&path));
            continue;
        }
        let bytes = fs::read(&path).expect("a file");
        let name = path.to_string_lossy().into_owned();
        files.insert(name, (bytes.len() as u64, crc32c::crc32c(&bytes)));
    }
    files
}

#[test]
fn a_journal_that_is_closed_reads_the_same_from_a_copy() {
    let dir = TempDir::new().expect("a directory");
    let journal = support::open(dir.path());
    let batch = vec![note(1, 0), sized(1, 1, 9_000)];
    block_on(journal.append(batch.clone(), Durability::Power)).expect("appended");
    block_on(journal.bury(obituary(2, 3))).expect("buried");
    drop(journal);

    let before = contents(dir.path());
    let copy = copy_for_reading(dir.path()).expect("it copies");
    assert_eq!(copy.report().warnings, []);
    let replay = copy.replay().expect("it reads");
    assert_eq!(replay.pods, [(pod_id(1), batch.clone())]);
    assert_eq!(replay.obituaries, [obituary(2, 3)]);
    assert_eq!(copy.read(pod_id(1)), Ok(batch.clone()));
    assert_eq!(copy.quarantined(pod_id(2)), Ok(Vec::new()));
    let raw = copy.quarantined(pod_id(1)).expect("it reads");
    assert_eq!(raw.len(), 2, "notes alone make no pod");
    drop(copy);
    assert_eq!(contents(dir.path()), before, "the original is not touched");

    // What was copied can be walked on in memory, for a plan.
    let memory = MemoryJournal::holding(replay);
    assert_eq!(block_on(memory.read(pod_id(1))), Ok(batch));
}

#[test]
fn a_journal_that_is_written_to_reads_as_it_was_at_some_moment() {
    let dir = TempDir::new().expect("a directory");
    let journal = support::open(dir.path());
    let mut written = 0;
    for _ in 0..5 {
        for _ in 0..40 {
            let batch = vec![note(1, written), sized(2, written, 500)];
            block_on(journal.append(batch, Durability::Process)).expect("appended");
            written += 1;
        }
        // Calls that nobody waits for go on while the copy is taken.
        for _ in 0..40 {
            let batch = vec![note(1, written), sized(2, written, 500)];
            drop(journal.append(batch, Durability::Process));
            written += 1;
        }
        let copy = copy_for_reading(dir.path()).expect("it copies");
        assert_eq!(
            copy.report().warnings,
            [],
            "a whole copy was taken in the end"
        );
        let replay = copy.replay().expect("it reads");
        assert_eq!(replay.quarantined, []);
        let lengths: Vec<_> = replay
            .pods
            .iter()
            .map(|(_, entries)| entries.len())
            .collect();
        assert_eq!(lengths[0], lengths[1], "batches are whole");
        assert!(
            lengths[0] as u64 >= written - 40,
            "acknowledged records are there"
        );
    }
    // It was never locked out, nor was the copy's lock ever in its way.
    block_on(journal.append(vec![note(1, written)], Durability::Power)).expect("appended");
}

#[test]
fn nothing_is_made_where_nothing_is() {
    let dir = TempDir::new().expect("a directory");
    let nowhere = dir.path().join("nowhere");
    let refused = copy_for_reading(&nowhere).expect_err("refused");
    assert!(matches!(refused, OpenError::Missing { .. }), "{refused}");
    assert!(!nowhere.exists());
}

/// One that is cut is copied again, and no more often than a few times.
#[test]
fn a_journal_that_never_opens_is_refused_in_the_end() {
    let dir = TempDir::new().expect("a directory");
    let other = sled::Config::new().path(dir.path().join("sled"));
    drop(other.segment_size(512 << 10).open().expect("sled opens"));
    let refused = copy_for_reading(dir.path()).expect_err("it is refused");
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
}

/// A journal that is less than it was is read all the same, with what is known of the loss.
#[test]
fn a_copy_tells_of_a_loss() {
    let dir = TempDir::new().expect("a directory");
    let db = dir.path().join("sled/db");
    let journal = support::open(dir.path());
    block_on(journal.append(vec![note(1, 0)], Durability::Power)).expect("appended");
    drop(journal);
    let earlier = fs::read(&db).expect("sled's file");
    let journal = support::open(dir.path());
    block_on(journal.append(vec![note(1, 1)], Durability::Power)).expect("appended");
    drop(journal);
    fs::write(&db, earlier).expect("written");
    let copy = copy_for_reading(dir.path()).expect("it copies");
    let warnings = &copy.report().warnings;
    assert!(
        matches!(warnings[..], [Warning::RolledBack { .. }]),
        "{warnings:?}"
    );
    assert_eq!(copy.read(pod_id(1)), Ok(vec![note(1, 0)]));
}
