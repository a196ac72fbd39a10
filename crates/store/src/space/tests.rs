//! Room on the disk.

use std::io::{Error, ErrorKind};

use super::*;

#[test]
fn only_a_full_disk_is_a_full_disk() {
    let of = |kind: ErrorKind| is_full(&sled::Error::Io(Error::from(kind)));
    assert!(of(ErrorKind::StorageFull));
    assert!(of(ErrorKind::QuotaExceeded));
    assert!(!of(ErrorKind::PermissionDenied));
    assert!(!is_full(&sled::Error::Corruption { at: None, bt: () }));
    let raw = sled::Error::Io(Error::from_raw_os_error(28));
    assert!(is_full(&raw), "ENOSPC");
    assert!(is_full(&raw.clone()), "sled's clone keeps the kind");
}

#[test]
fn a_new_journal_needs_more_than_a_small_one_and_less_than_a_huge_one() {
    assert!(needed_to_open(None) > needed_to_open(Some(34 << 20)));
    assert!(needed_to_open(None) < needed_to_open(Some(4 << 30)));
    // sled's segments are half a MiB.
    assert!(needed_to_open(Some(0)) > 1 << 20);
}

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    assert!(free_bytes(Path::new("/nowhere/at/all")).is_err());
    assert!(free_bytes(Path::new("/")).is_ok());
}
