//! Flipped bytes in sled's file (scenarios 11, 40 and 48, one level below).
//!
//! sled may panic, hang or answer nonsense. Each opening is a process of its
//! own, which has to end by itself with a typed answer: open, with or without
//! pods in quarantine, or refused for damage.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expects by panicking"
)]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use futures_executor::block_on;
use podwalk_engine::ports::{Durability, Journal};
use podwalk_store::{OpenOptions, SledJournal};
use support::Dice;
use support::samples::sized;
use tempfile::TempDir;

mod support;

const ROUNDS: usize = 24;
const PODS: u64 = 40;
/// Enough for a log of several of sled's segments.
const RECORDS: usize = 10;

/// The child: opens, reads all, and says how that ended.
fn open_damaged(directory: &Path) {
    let options = OpenOptions {
        deadline: Duration::from_secs(5),
        ..support::options(directory)
    };
    match SledJournal::open(options) {
        Err(error) if support::is_damage(&error) => println!("verdict refused: {error}"),
        Err(error) => println!("verdict other error: {error}"),
        Ok(journal) => {
            let report = journal.report().clone();
            let replay = block_on(journal.replay()).expect("what opened reads");
            let pods = replay.pods.iter();
            let whole = pods.filter(|(_, entries)| entries.len() == RECORDS).count();
            let bad = replay.quarantined.len();
            let noticed = whole + bad == PODS as usize || !report.warnings.is_empty();
            println!(
                "verdict open, {} records, {whole} pods whole, {bad} bad, noticed {noticed}",
                report.records
            );
        }
    }
}

#[test]
fn flipped_bytes_are_noticed_and_never_take_the_process_along() {
    const TEST: &str = "flipped_bytes_are_noticed_and_never_take_the_process_along";
    if let Some(directory) = support::child_directory() {
        return open_damaged(&directory);
    }
    let mut dice = Dice::thrown(TEST);
    let sound = sound_journal();
    let mut verdicts = Vec::new();
    for round in 0..ROUNDS {
        let damaged = TempDir::new().expect("a directory");
        copy_damaged(sound.path(), damaged.path(), &mut dice);
        let output = support::child_command(TEST, damaged.path())
            .output()
            .expect("a child");
        let text = String::from_utf8_lossy(&output.stdout);
        let verdict = text.split_once("verdict ").map(|(_, verdict)| verdict);
        let verdict = verdict.unwrap_or_else(|| panic!("round {round}: it died: {output:?}"));
        let verdict = verdict.lines().next().unwrap_or_default().to_owned();
        println!("round {round}: {verdict}");
        let is_typed = verdict.starts_with("refused") || verdict.ends_with("noticed true");
        assert!(is_typed, "round {round}: {verdict}");
        verdicts.push(verdict);
    }
    assert_eq!(verdicts.len(), ROUNDS);
}

/// A journal of some megabytes, closed.
fn sound_journal() -> TempDir {
    let sound = TempDir::new().expect("a directory");
    let journal = support::open(sound.path());
    for sequence in 0..RECORDS as u64 {
        let batch = (0..PODS).map(|pod| sized(pod, sequence, 200 * pod as usize));
        block_on(journal.append(batch.collect(), Durability::Power)).expect("appended");
    }
    drop(journal);
    sound
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("sled")).expect("a directory");
    for name in ["sled/conf", "sled/db", "mark"] {
        fs::copy(from.join(name), to.join(name)).expect("a copy");
    }
}

fn flip(db: &Path, at: u64, bit: u64) {
    let db = fs::File::options()
        .read(true)
        .write(true)
        .open(db)
        .expect("sled's file");
    let mut byte = [0];
    db.read_exact_at(&mut byte, at).expect("a byte");
    db.write_all_at(&[byte[0] ^ (1 << bit)], at)
        .expect("a byte");
}

/// A copy with some bits flipped where there is something to flip.
fn copy_damaged(from: &Path, to: &Path, dice: &mut Dice) {
    copy_files(from, to);
    let db = to.join("sled/db");
    let used = last_byte_in_use(&fs::read(&db).expect("sled's file"));
    for _ in 0..=dice.below(8) {
        flip(&db, dice.below(used), dice.below(8));
    }
}

fn last_byte_in_use(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(1, |at| at as u64 + 1)
}
