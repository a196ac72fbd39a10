//! Two processes, one journal (scenario 28).

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expects by panicking"
)]

use std::io::{BufRead, BufReader};

use podwalk_store::{OpenError, SledJournal};
use tempfile::TempDir;

mod support;

const TEST: &str = "scenario_28_the_second_process_is_told_who_holds_the_journal";

#[test]
fn scenario_28_the_second_process_is_told_who_holds_the_journal() {
    if let Some(directory) = support::child_directory() {
        let _held = support::open(&directory);
        println!("held");
        // Until it is killed.
        loop {
            std::thread::park();
        }
    }
    let dir = TempDir::new().expect("a directory");
    let mut child = support::spawn(TEST, dir.path());
    let pid = child.0.id();
    let stdout = child.0.stdout.take().expect("a pipe");
    let mut lines = BufReader::new(stdout)
        .lines()
        .map(|line| line.expect("text"));
    assert!(
        lines.any(|line| line.ends_with("held")),
        "the child opens it"
    );

    let refused = SledJournal::open(support::options(dir.path())).expect_err("refused");
    let OpenError::Locked { holder, .. } = &refused else {
        panic!("{refused}");
    };
    assert_eq!(holder.pid, Some(pid));
    let text = refused.to_string();
    assert!(
        text.contains(&format!("in use by pid {pid} (started at tick ")),
        "{text}"
    );
    assert!(text.contains("stop that daemon"), "{text}");

    // SIGKILL frees it, whatever the lock file says.
    drop(child);
    drop(support::open(dir.path()));
}
