//! The journal on disk, within one process. What needs processes, a full disk
//! or SIGKILL is in `tests/`.

use futures_executor::block_on;
use podwalk_engine::ports::{Durability, Journal};
use tempfile::TempDir;

use super::SledJournal;
use crate::OpenOptions;
use crate::samples::{note, obituary, pod_id, sized, snapshot};

fn open(dir: &TempDir) -> SledJournal {
    let mut options = OpenOptions::new(dir.path());
    options.reserve_bytes = 0;
    SledJournal::open(options).expect("the journal opens")
}

#[test]
fn what_was_appended_is_there_after_a_reopening() {
    let dir = TempDir::new().unwrap();
    let journal = open(&dir);
    assert_eq!(journal.epoch(), 1);
    assert!(block_on(journal.replay()).unwrap().pods.is_empty());
    let batch = vec![note(1, 0), sized(1, 1, 10_000)];
    block_on(journal.append(batch.clone(), Durability::Power)).unwrap();
    let other = vec![note(2, 0)];
    block_on(journal.append(other.clone(), Durability::Process)).unwrap();
    drop(journal);

    let journal = open(&dir);
    assert_eq!(journal.epoch(), 2);
    assert_eq!(journal.report().warnings, []);
    let expected = vec![(pod_id(1), batch.clone()), (pod_id(2), other)];
    assert_eq!(block_on(journal.replay()).unwrap().pods, expected);
    assert_eq!(block_on(journal.read(pod_id(1))).unwrap(), batch);
    block_on(journal.compact(snapshot(1, 2))).unwrap();
    assert_eq!(block_on(journal.read(pod_id(1))).unwrap(), [snapshot(1, 2)]);
    block_on(journal.bury(obituary(2, 1))).unwrap();
    let replay = block_on(journal.replay()).unwrap();
    assert_eq!(replay.pods, [(pod_id(1), vec![snapshot(1, 2)])]);
    assert_eq!(replay.obituaries, [obituary(2, 1)]);
    drop(journal);

    let journal = open(&dir);
    assert_eq!(journal.report().warnings, []);
    let replay = block_on(journal.replay()).unwrap();
    assert_eq!(replay.pods, [(pod_id(1), vec![snapshot(1, 2)])]);
    assert_eq!(replay.obituaries, [obituary(2, 1)]);
}
