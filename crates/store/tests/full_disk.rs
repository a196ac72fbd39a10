//! A full disk (scenario 27), on a small tmpfs in a mount namespace of its
//! own. Needs root; without it the test says so, and fails where `CI` is set.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expects by panicking"
)]

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use futures_executor::block_on;
use podwalk_engine::ports::{Durability, Journal, JournalError};
use podwalk_engine::record::Entry;
use podwalk_store::{OpenError, SledJournal};
use support::samples::{note, pod_id, sized, snapshot};
use tempfile::TempDir;

mod support;

/// Runs `test` again below `unshare`, on a tmpfs of so many MiB.
fn in_a_node(test: &str, mebibytes: u32) {
    let dir = TempDir::new().expect("a directory");
    let node = "mount -t tmpfs -o size=\"$1\"m none \"$0\" && shift && exec \"$@\"";
    let child = support::child_command(test, dir.path());
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", node]);
    command.arg(dir.path()).arg(mebibytes.to_string());
    command.arg(child.get_program()).args(child.get_args());
    for (name, value) in child.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let output = command.output().expect("unshare");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("the node is done"), "{text}\n{errors}");
    print!("{text}");
}

/// Whether there may be a node at all.
fn is_root() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "CI has to be root");
    println!("SKIPPED: a tmpfs needs root");
    false
}

/// Everything that the disk has left, taken by a file.
struct Ballast(PathBuf);

impl Ballast {
    fn fill(directory: &Path) -> Self {
        let path = directory.join("ballast");
        let mut file = File::create(&path).expect("a file");
        for block in [vec![1; 1 << 20], vec![1; 4096]] {
            while file.write_all(&block).is_ok() {}
        }
        Self(path)
    }

    fn drop_off(self) {
        fs::remove_file(self.0).expect("space again");
    }
}

#[test]
fn scenario_27_a_full_disk_refuses_and_then_the_journal_goes_on() {
    const TEST: &str = "scenario_27_a_full_disk_refuses_and_then_the_journal_goes_on";
    match support::child_directory() {
        Some(directory) => fill_and_free(&directory),
        None if is_root() => in_a_node(TEST, 160),
        None => {}
    }
}

fn fill_and_free(directory: &Path) {
    let journal = SledJournal::open(support::options(&directory.join("j"))).expect("it opens");
    block_on(journal.append(vec![note(1, 0)], Durability::Power)).expect("appended");
    let mut next = 1;
    for round in 1..=3 {
        let ballast = Ballast::fill(directory);
        let kept = next;
        let refused = loop {
            let answer = block_on(journal.append(vec![sized(1, next, 50_000)], Durability::Power));
            match answer {
                Ok(()) => next += 1,
                Err(error) => break error,
            }
            assert!(next < kept + 100_000, "the disk is full at some time");
        };
        assert!(matches!(refused, JournalError::Full { .. }), "{refused}");
        assert!(
            refused.to_string().contains("free space there"),
            "{refused}"
        );
        // Reads go on, or say why not.
        match block_on(journal.read(pod_id(1))) {
            Ok(entries) => assert_eq!(last_of(&entries), next - 1, "round {round}"),
            Err(error) => assert!(error.to_string().contains("disk is full"), "{error}"),
        }
        // Another attempt without space is refused the same way.
        let again = block_on(journal.append(vec![note(1, next)], Durability::Power));
        assert_eq!(support::word(&again), "full", "round {round}: {again:?}");
        ballast.drop_off();
        block_on(journal.append(vec![note(1, next)], Durability::Power)).expect("it goes on");
        next += 1;
        assert_eq!(journal.stats().reopenings, round);
        // Nothing of the refused one is there, and all that was acknowledged.
        let entries = block_on(journal.read(pod_id(1))).expect("it reads");
        assert_eq!(last_of(&entries), next - 1, "round {round}");
        assert!(entries.contains(&note(1, next - 1)), "round {round}");
        println!("round {round}: {next} records");
        // Room for the next round's batches, whatever this one has used up.
        block_on(journal.compact(snapshot(1, next))).expect("compacted");
        next += 1;
    }
    drop(journal);
    let journal = support::open(&directory.join("j"));
    assert_eq!(journal.report().warnings, []);
    println!("the node is done");
}

fn last_of(entries: &[Entry]) -> u64 {
    entries.last().expect("the pod has records").sequence
}

#[test]
fn a_disk_that_is_full_already_refuses_the_opening() {
    const TEST: &str = "a_disk_that_is_full_already_refuses_the_opening";
    match support::child_directory() {
        Some(directory) => open_on_full_disk(&directory),
        None if is_root() => in_a_node(TEST, 96),
        None => {}
    }
}

fn open_on_full_disk(directory: &Path) {
    let options = support::options(&directory.join("j"));
    let ballast = Ballast::fill(directory);
    let refused = SledJournal::open(options.clone()).expect_err("refused");
    let is_typed = matches!(refused, OpenError::NoSpace { .. } | OpenError::Io { .. });
    assert!(is_typed, "{refused}");
    ballast.drop_off();
    let journal = SledJournal::open(options.clone()).expect("it opens");
    block_on(journal.append(vec![note(1, 0)], Durability::Power)).expect("appended");
    drop(journal);
    let ballast = Ballast::fill(directory);
    let refused = SledJournal::open(options.clone()).expect_err("refused");
    assert!(matches!(refused, OpenError::NoSpace { .. }), "{refused}");
    assert!(refused.to_string().contains("free some space"), "{refused}");
    ballast.drop_off();
    let journal = SledJournal::open(options).expect("it opens");
    assert_eq!(block_on(journal.read(pod_id(1))), Ok(vec![note(1, 0)]));
    println!("the node is done");
}
