//! What is the same in memory as on disk is in `sled_journal/tests.rs`; here
//! is the rest.

use futures_executor::block_on;

use super::*;
use crate::samples::{note, obituary, pod_id, sized, snapshot};

#[test]
fn a_reopened_handle_sees_the_same_data_under_a_new_epoch() {
    let journal = MemoryJournal::new();
    block_on(journal.append(vec![note(1, 0)], Durability::Power)).unwrap();
    let again = journal.reopen();
    assert_eq!((journal.epoch(), again.epoch()), (1, 2));
    assert_eq!(block_on(again.read(pod_id(1))).unwrap(), [note(1, 0)]);
    assert_eq!(again.clone().epoch(), 2);
    assert_eq!(journal.reopen().epoch(), 3);
}

#[test]
fn every_append_is_remembered_as_it_was_made() {
    let journal = MemoryJournal::default();
    block_on(journal.append(vec![note(1, 0), note(1, 1)], Durability::Process)).unwrap();
    block_on(journal.bury(obituary(1, 2))).unwrap();
    block_on(journal.append(vec![note(2, 0)], Durability::Power)).unwrap();
    let expected = [
        Append {
            batch: vec![note(1, 0), note(1, 1)],
            durability: Durability::Process,
        },
        Append {
            batch: vec![note(2, 0)],
            durability: Durability::Power,
        },
    ];
    assert_eq!(journal.appends(), expected);
}

#[test]
fn what_is_refused_leaves_nothing() {
    let journal = MemoryJournal::new();
    let large = sized(1, 0, crate::format::RECORD_LIMIT);
    let refused = block_on(journal.append(vec![note(2, 0), large], Durability::Process));
    assert!(matches!(refused, Err(JournalError::TooLarge { .. })));
    assert_eq!(journal.appends(), []);
    assert!(block_on(journal.replay()).unwrap().pods.is_empty());
    assert_eq!(journal.admits(), Ok(()));
}

#[test]
fn a_replay_can_be_held() {
    let first = MemoryJournal::new();
    block_on(first.append(vec![note(1, 0)], Durability::Process)).unwrap();
    block_on(first.compact(snapshot(2, 4))).unwrap();
    block_on(first.bury(obituary(3, 2))).unwrap();
    let held = MemoryJournal::holding(block_on(first.replay()).unwrap());
    let (one, other) = (
        block_on(first.replay()).unwrap(),
        block_on(held.replay()).unwrap(),
    );
    assert_eq!(one.pods, other.pods);
    assert_eq!(one.obituaries, other.obituaries);
}

#[test]
fn who_is_buried_is_no_pod_any_more() {
    let journal = MemoryJournal::new();
    let batch = vec![note(1, 0), note(2, 0)];
    block_on(journal.append(batch, Durability::Power)).unwrap();
    block_on(journal.bury(obituary(1, 1))).unwrap();
    let replay = block_on(journal.replay()).unwrap();
    assert_eq!(replay.pods, [(pod_id(2), vec![note(2, 0)])]);
    assert_eq!(replay.obituaries, [obituary(1, 1)]);
}
