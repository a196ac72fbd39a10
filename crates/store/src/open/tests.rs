//! Opening what is there, whatever is there.

use tempfile::TempDir;

use super::*;
use crate::format;
use crate::key::Key;
use crate::samples::{note, pod_id};

fn options(dir: &TempDir) -> OpenOptions {
    OpenOptions {
        cache_bytes: 4 << 20,
        ..OpenOptions::new(dir.path().join("state/journal"))
    }
}

/// A record as sled holds it.
fn pair() -> (Vec<u8>, Vec<u8>) {
    let key = Key::Record {
        pod: pod_id(1),
        sequence: 0,
        chunk: 0,
    };
    (key.bytes(), format::encode(note(1, 0)).unwrap())
}

/// A journal with one record in it, closed.
fn journal() -> (TempDir, OpenOptions) {
    let dir = TempDir::new().unwrap();
    let options = options(&dir);
    let opened = open(&options).unwrap();
    let mut meta = opened.meta;
    let (key, value) = pair();
    meta.census.add(&key, &value);
    opened.db.insert(key, value).unwrap();
    opened.db.insert(key::META, &meta.bytes()).unwrap();
    opened.db.flush().unwrap();
    drop(opened);
    (dir, options)
}

#[test]
fn a_journal_is_made_with_its_directories() {
    let dir = TempDir::new().unwrap();
    let options = options(&dir);
    let opened = open(&options).unwrap();
    assert_eq!(
        (opened.epoch, opened.report.clone()),
        (1, OpenReport::default())
    );
    for file in ["lock", "sled/conf", "sled/db"] {
        assert!(options.dir.join(file).is_file(), "{file}");
    }
}

/// As a crash while sled made its files would leave it: without its settings'
/// checksum sled never opens it.
#[test]
fn a_store_that_was_never_finished_is_made_anew() {
    let dir = TempDir::new().unwrap();
    let options = options(&dir);
    let fresh = options.dir.join("sled.new");
    fs::create_dir_all(&fresh).unwrap();
    fs::write(fresh.join("conf"), b"").unwrap();
    let opened = open(&options).unwrap();
    assert_eq!((opened.epoch, opened.report.warnings), (1, vec![]));
    assert!(!fresh.exists());
}

#[test]
fn every_opening_counts() {
    let (_dir, options) = journal();
    for epoch in 2..5 {
        let opened = open(&options).unwrap();
        assert_eq!(opened.epoch, epoch);
        assert_eq!(opened.report.warnings, []);
        assert_eq!((opened.report.pods, opened.report.records), (1, 1));
    }
}

#[test]
fn an_open_journal_is_not_opened_twice() {
    let (_dir, options) = journal();
    let _held = open(&options).unwrap();
    let refused = open(&options).err().expect("refused");
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
}

#[test]
fn what_an_interrupted_opening_left_is_deleted_and_said() {
    let (_dir, options) = journal();
    let file = "snap.0000000000F00000.generating";
    fs::write(options.sled_dir().join(file), b"half a snapshot").unwrap();
    let opened = open(&options).unwrap();
    let file = file.to_owned();
    assert_eq!(
        opened.report.warnings,
        [Warning::InterruptedOpening { file }]
    );
    assert_eq!(opened.report.records, 1);
    drop(opened);
    assert_eq!(open(&options).unwrap().report.warnings, []);
}

#[test]
fn blobs_are_refused_and_left_alone() {
    let (_dir, options) = journal();
    let blob = options.sled_dir().join("blobs/17");
    fs::write(&blob, b"no value of ours").unwrap();
    let refused = open(&options).err().expect("refused").to_string();
    assert!(refused.contains("sled/blobs is not empty"), "{refused}");
    fs::remove_file(&blob).unwrap();
    assert_eq!(open(&options).unwrap().report.records, 1);
}

#[test]
fn a_value_that_was_lost_in_silence_is_noticed_once() {
    let (_dir, options) = journal();
    let opened = open(&options).unwrap();
    let written = opened.meta.census;
    let key = opened.db.iter().keys().last().unwrap().unwrap();
    opened.db.remove(key).unwrap();
    opened.db.flush().unwrap();
    drop(opened);
    let opened = open(&options).unwrap();
    let found = Census::default();
    let expected = [Warning::CensusMismatch { written, found }];
    assert_eq!(opened.report.warnings, expected);
    drop(opened);
    assert_eq!(open(&options).unwrap().report.warnings, []);
}

#[test]
fn lost_bookkeeping_is_noticed() {
    let (_dir, options) = journal();
    let opened = open(&options).unwrap();
    let found = opened.meta.census;
    opened.db.remove(key::META).unwrap();
    opened.db.insert(b"zoo", b"lion").unwrap();
    opened.db.flush().unwrap();
    drop(opened);
    let opened = open(&options).unwrap();
    let expected = [
        Warning::CensusMissing { found },
        Warning::UnknownKeys { count: 1 },
    ];
    assert_eq!(opened.report.warnings, expected);
}

#[test]
fn a_journal_that_ends_before_its_mark_is_noticed_once() {
    let (_dir, options) = journal();
    let mark = Mark {
        epoch: 70,
        batches: 9,
    };
    MarkFile::open(&options.mark_path())
        .unwrap()
        .set(mark)
        .unwrap();
    let opened = open(&options).unwrap();
    let (written, found) = (9, 0);
    let expected = [Warning::RolledBack { written, found }];
    assert_eq!(opened.report.warnings, expected);
    assert_eq!(opened.epoch, 71, "no epoch is used twice");
    drop(opened);
    let opened = open(&options).unwrap();
    assert_eq!((opened.report.warnings, opened.epoch), (vec![], 72));
}

#[test]
fn another_programs_store_is_refused_with_its_path() {
    let dir = TempDir::new().unwrap();
    let options = options(&dir);
    let other = sled::Config::new().path(options.sled_dir());
    drop(other.segment_size(512 << 10).open().unwrap());
    let refused = open(&options).err().expect("refused").to_string();
    assert!(
        refused.contains("state/journal/sled is damaged"),
        "{refused}"
    );
}

#[test]
fn damaged_settings_of_sleds_cost_nothing() {
    let (_dir, options) = journal();
    fs::write(options.sled_dir().join("conf"), b"nonsense").unwrap();
    let opened = open(&options).unwrap();
    assert_eq!((opened.report.records, opened.report.warnings), (1, vec![]));
}

#[test]
fn a_directory_that_is_a_file_is_refused_with_its_path() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("state"), b"").unwrap();
    let refused = open(&options(&dir)).err().expect("refused").to_string();
    assert!(refused.starts_with("cannot make "), "{refused}");
    assert!(refused.contains("state/journal"), "{refused}");
}

#[test]
fn a_store_whose_lock_is_never_freed_does_not_hang_the_daemon() {
    let (_dir, mut options) = journal();
    // sled's own lock, held by somebody who does not know of ours. He who wrote the journal may
    // not have let go of it yet.
    let held = open_sled(
        &options.sled_dir(),
        options.cache_bytes,
        Duration::from_secs(60),
    )
    .unwrap();
    options.deadline = Duration::from_millis(200);
    let refused = open(&options).err().expect("refused");
    assert!(
        matches!(refused, OpenError::Damaged { .. } | OpenError::Hung { .. }),
        "{refused}"
    );
    drop(held);
    options.deadline = Duration::from_secs(60);
    assert_eq!(open(&options).unwrap().report.records, 1);
}

#[test]
fn only_a_store_that_was_there_can_have_lost_its_bookkeeping() {
    let dir = TempDir::new().unwrap();
    let db = sled::open(dir.path()).unwrap();
    let warnings = |existed| {
        let loaded = read_everything(db.clone()).unwrap();
        examine(&loaded, existed, &Mark::default())
    };
    assert_eq!(warnings(false), []);
    assert!(matches!(
        warnings(true)[..],
        [Warning::CensusMissing { .. }]
    ));
    // What has values was there before, whatever its file says.
    let (key, value) = pair();
    db.insert(key, value).unwrap();
    assert!(matches!(
        warnings(false)[..],
        [Warning::CensusMissing { .. }]
    ));
}

#[test]
fn what_the_kernel_says_is_told_as_it_is() {
    let refused = |error: std::io::Error| {
        let failure = SledFailure::Error(sled::Error::Io(error));
        super::refused(Path::new("/journal"), failure)
    };
    let full = refused(std::io::ErrorKind::StorageFull.into());
    assert!(matches!(full, OpenError::NoSpace { .. }), "{full}");
    let denied = refused(std::io::Error::from_raw_os_error(13));
    assert!(matches!(denied, OpenError::Io { .. }), "{denied}");
    // Words of sled's own, in the clothes of the kernel's.
    let invented = refused(std::io::Error::other("a page is torn"));
    assert!(matches!(invented, OpenError::Damaged { .. }), "{invented}");
}

#[test]
fn a_lock_that_is_held_is_told_from_any_other_refusal() {
    use std::io::{Error, ErrorKind};
    assert!(is_lock_held(&ErrorKind::WouldBlock.into()));
    assert!(is_lock_held(&Error::other(
        "could not acquire lock on \"db\""
    )));
    assert!(!is_lock_held(&ErrorKind::PermissionDenied.into()));
}

/// A file on a directory's path is neither absent nor readable.
#[test]
fn what_is_not_there_is_none_and_what_cannot_be_read_is_an_error() {
    let dir = TempDir::new().unwrap();
    assert!(refuse_blobs(dir.path()).is_ok());
    assert!(open_data(dir.path()).unwrap().is_none());
    fs::write(dir.path().join("db"), b"").unwrap();
    assert!(open_data(dir.path()).unwrap().is_some());
    let no_directory = dir.path().join("db");
    for error in [
        refuse_blobs(&no_directory).unwrap_err(),
        open_data(&no_directory).unwrap_err(),
    ] {
        assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
    }
}

#[test]
fn an_opening_that_needs_more_room_than_there_is_is_refused() {
    let dir = TempDir::new().unwrap();
    assert!(require_space(dir.path(), Some(0)).is_ok());
    let refused = require_space(dir.path(), Some(u64::MAX / 2)).unwrap_err();
    assert!(
        matches!(&refused, OpenError::NoSpace { free, needed, .. } if free < needed),
        "{refused:?}"
    );
}

/// A path of one name has no parent that could be opened.
#[test]
fn what_is_synced_must_be_there() {
    let sled_dir = TempDir::new().unwrap();
    let here = Path::new("src");
    assert!(here.is_dir(), "the crate's own directory");
    let missing = sync_all(here, sled_dir.path()).unwrap_err();
    assert!(missing.to_string().contains("conf"), "{missing}");
    for name in ["conf", "db"] {
        fs::write(sled_dir.path().join(name), b"").unwrap();
    }
    sync_all(here, sled_dir.path()).unwrap();
}

/// Only a lock is waited for.
#[test]
fn an_error_that_stays_is_told_at_once() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let refused = open_sled(&file, 4 << 20, Duration::MAX).unwrap_err();
    assert!(matches!(refused, sled::Error::Io(_)), "{refused:?}");
}
