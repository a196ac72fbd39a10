//! What is found under which keys.

use std::sync::Arc;

use std::convert::Infallible;

use podwalk_engine::record::{Cause, CreateIntent, Goal, Intent, Record};
use proptest::prelude::*;

use super::*;
use crate::key::{EPOCH, META, chunks};
use crate::samples::{entry, note, obituary, pod_id, sized, snapshot, spec};

fn record(entry: Entry) -> Vec<Pair> {
    let (pod, sequence) = (entry.pod, entry.sequence);
    raw_record(pod, sequence, &format::encode(entry).unwrap())
}

fn raw_record(pod: PodId, sequence: u64, bytes: &[u8]) -> Vec<Pair> {
    chunks(bytes)
        .map(|(chunk, value)| {
            (
                Key::Record {
                    pod,
                    sequence,
                    chunk,
                },
                value,
            )
        })
        .map(|(key, value)| (key.bytes().into(), value.into()))
        .collect()
}

fn grave(number: u64, pod: PodId, bytes: &[u8]) -> Vec<Pair> {
    chunks(bytes)
        .map(|(chunk, value)| (Key::Obituary { number, pod, chunk }, value))
        .map(|(key, value)| (key.bytes().into(), value.into()))
        .collect()
}

fn buried(number: u64, pod: u64, records: u64) -> Vec<Pair> {
    let bytes = format::encode_obituary(obituary(pod, records)).unwrap();
    grave(number, pod_id(pod), &bytes)
}

fn scanned(pairs: impl IntoIterator<Item = Vec<Pair>>) -> Scan {
    let mut pairs: Vec<Pair> = pairs.into_iter().flatten().collect();
    pairs.sort();
    scan(pairs.into_iter().map(Ok::<_, Infallible>)).unwrap_or_else(|never| match never {})
}

fn reason(scan: &Scan) -> &str {
    let [(pod, reason)] = scan.replay.quarantined.as_slice() else {
        panic!("one pod is in quarantine: {:?}", scan.replay);
    };
    assert_eq!(*pod, pod_id(1));
    reason
}

/// A pod that an earlier release has started: it is read, and goes on in the
/// format of today.
#[test]
fn a_walk_in_version_1_is_read_to_its_end() {
    let bytes = |line: &str| -> Vec<u8> {
        let digits = (0..line.len()).step_by(2);
        digits
            .map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap())
            .collect()
    };
    let walk = include_str!("../../tests/golden-walk/v1.hex").lines();
    let mut pairs: Vec<_> = (0..)
        .zip(walk)
        .map(|(sequence, line)| raw_record(pod_id(1), sequence, &bytes(line)))
        .collect();
    let stop = Record::Goal {
        goal: Goal::Stop,
        cause: Cause::Request,
    };
    let next = u64::try_from(pairs.len()).unwrap();
    pairs.push(record(entry(1, next, stop)));
    let found = scanned(pairs);
    let [(pod, entries)] = found.replay.pods.as_slice() else {
        panic!("one pod is read: {:?}", found.replay.quarantined);
    };
    assert_eq!((*pod, entries.len()), (pod_id(1), 12));
    let pod = podwalk_engine::pod::fold(entries).unwrap();
    assert_eq!((pod.goal, pod.is_started()), (Goal::Stop, true));
    assert!(!pod.has_late() && pod.plan.len() == 1);
}

#[test]
fn pods_are_told_apart_and_their_records_are_in_order() {
    let large = sized(1, 1, 9_000);
    let found = scanned([
        record(note(2, 0)),
        record(large.clone()),
        record(note(1, 0)),
        vec![
            ((&META).into(), b"x".into()),
            ((&EPOCH).into(), b"x".into()),
        ],
    ]);
    let pods = [
        (pod_id(1), vec![note(1, 0), large]),
        (pod_id(2), vec![note(2, 0)]),
    ];
    assert_eq!(found.replay.pods, pods);
    assert_eq!(found.census.pairs, 5);
    assert_eq!((found.unknown_keys, found.litter.len()), (0, 0));
}

#[test]
fn a_gap_puts_one_pod_in_quarantine_and_no_other() {
    let found = scanned([record(note(1, 0)), record(note(1, 2)), record(note(2, 0))]);
    assert_eq!(
        reason(&found),
        "record 2 stands where record 1 should be: some are missing"
    );
    assert_eq!(found.replay.pods, [(pod_id(2), vec![note(2, 0)])]);
    assert_eq!(found.litter, Vec::<Vec<u8>>::new());
}

#[test]
fn a_missing_beginning_is_a_gap_too() {
    let found = scanned([record(note(1, 1))]);
    assert_eq!(
        reason(&found),
        "record 1 stands where record 0 should be: some are missing"
    );
}

#[test]
fn a_flipped_bit_and_a_newer_version_are_told_apart() {
    let mut bytes = format::encode(note(1, 0)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let found = scanned([raw_record(pod_id(1), 0, &bytes)]);
    assert!(reason(&found).starts_with("record 0: the checksum is "));

    let bytes = newer(&format::encode(note(1, 1)).unwrap());
    let found = scanned([record(note(1, 0)), raw_record(pod_id(1), 1, &bytes)]);
    assert!(reason(&found).starts_with("record 1: the format version is 3"));
}

/// The same record as a release with format version 3 would write it.
fn newer(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[4] = 3;
    let head = crc32c::crc32c(&bytes[..66]);
    let checksum = crc32c::crc32c_append(head, &bytes[70..]);
    bytes[66..70].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

#[test]
fn a_missing_chunk_is_noticed() {
    let mut pairs = record(sized(1, 0, 9_000));
    pairs.remove(1);
    assert!(reason(&scanned([pairs])).contains("cut short"));
}

#[test]
fn a_record_under_another_pods_key_is_noticed() {
    let bytes = format::encode(note(2, 0)).unwrap();
    let found = scanned([raw_record(pod_id(1), 0, &bytes)]);
    let stranger = format!("record 0: it says that it is record 0 of pod {}", pod_id(2));
    assert_eq!(reason(&found), stranger);
}

#[test]
fn the_last_snapshot_is_the_beginning_and_the_rest_is_litter() {
    let found = scanned([
        record(note(1, 3)),
        record(sized(1, 4, 9_000)),
        record(snapshot(1, 5)),
        record(note(1, 6)),
    ]);
    let entries = vec![snapshot(1, 5), note(1, 6)];
    assert_eq!(found.replay.pods, [(pod_id(1), entries)]);
    assert_eq!(found.litter.len(), 4);
    let litter = found.litter.iter().map(|key| Key::parse(key));
    assert!(litter.flatten().all(|key| matches!(
        key,
        Key::Record {
            sequence: 3 | 4,
            ..
        }
    )));
}

#[test]
fn damage_before_the_last_snapshot_does_not_count() {
    let found = scanned([raw_record(pod_id(1), 4, b"damaged"), record(snapshot(1, 5))]);
    assert_eq!(found.replay.pods, [(pod_id(1), vec![snapshot(1, 5)])]);
    assert_eq!(found.litter.len(), 1);
}

#[test]
fn of_a_pod_in_quarantine_nothing_is_litter() {
    let found = scanned([
        record(note(1, 3)),
        record(snapshot(1, 5)),
        record(note(1, 7)),
    ]);
    assert!(reason(&found).starts_with("record 7 stands"));
    assert_eq!(found.litter, Vec::<Vec<u8>>::new());
}

#[test]
fn records_before_the_obituary_are_litter() {
    let found = scanned([buried(3, 1, 5), record(note(1, 3)), record(note(1, 4))]);
    assert_eq!(found.replay.pods, []);
    assert_eq!(found.replay.obituaries, [obituary(1, 5)]);
    assert_eq!(found.litter.len(), 2);
    assert_eq!(found.graves.floor(pod_id(1)), 5);
}

#[test]
fn a_pod_with_records_after_its_obituary_is_not_gone() {
    let found = scanned([buried(3, 1, 5), record(note(1, 4)), record(snapshot(1, 5))]);
    assert_eq!(found.replay.pods, [(pod_id(1), vec![snapshot(1, 5)])]);
    assert_eq!(found.replay.obituaries, []);
    assert_eq!(found.litter.len(), 1);
}

#[test]
fn of_two_obituaries_the_newer_counts() {
    let found = scanned([buried(3, 1, 5), buried(4, 2, 2), buried(5, 1, 8)]);
    assert_eq!(found.replay.obituaries, [obituary(2, 2), obituary(1, 8)]);
    assert_eq!(found.graves.len(), 3);
    assert_eq!(found.graves.next_number(), 6);
}

#[test]
fn an_unreadable_obituary_is_in_quarantine() {
    let found = scanned([grave(0, pod_id(1), b"PWLO and so on")]);
    assert!(reason(&found).starts_with("its obituary: the record is cut short"));
    assert!(found.graves.of(pod_id(1)).all(|grave| grave.unreadable));
}

#[test]
fn a_large_obituary_is_joined_from_its_chunks() {
    let mut large = obituary(1, 5);
    Arc::make_mut(&mut large.pod.spec).hostname = "h".repeat(20_000);
    let bytes = format::encode_obituary(large.clone()).unwrap();
    let found = scanned([grave(0, pod_id(1), &bytes)]);
    assert_eq!(found.replay.obituaries, [large]);
}

#[test]
fn keys_that_nobody_wrote_are_counted_and_left_alone() {
    let found = scanned([vec![(b"zoo".into(), b"lion".into())], record(note(1, 0))]);
    assert_eq!(found.unknown_keys, 1);
    assert_eq!(found.census.pairs, 1);
    assert_eq!(found.replay.pods.len(), 1);
}

proptest! {
    /// Whatever lies under pods' keys: no panic, and each pod is answered for
    /// exactly once, or is litter as a whole.
    #[test]
    fn arbitrary_values_are_quarantined_pod_by_pod(
        values in proptest::collection::vec((0_u64..4, 0_u64..6, any::<Vec<u8>>()), 0..12),
    ) {
        let pairs = values.iter().map(|(pod, sequence, value)| {
            let key = Key::Record { pod: pod_id(*pod), sequence: *sequence, chunk: 0 };
            vec![(key.bytes().into(), value.as_slice().into())]
        });
        let found = scanned(pairs);
        let mut expected: Vec<_> = values.iter().map(|(pod, ..)| pod_id(*pod)).collect();
        expected.sort();
        expected.dedup();
        let quarantined: Vec<_> = found.replay.quarantined.iter().map(|(pod, _)| *pod).collect();
        prop_assert_eq!(quarantined, expected);
    }
}

#[test]
fn a_pod_whose_records_are_all_litter_is_not_set_aside() {
    let scan = PodScan {
        entries: Ok(Vec::new()),
        begins: 3,
    };
    assert!(scan.makes_a_pod());
}

#[test]
fn a_pod_without_a_number_for_its_next_record_is_set_aside() {
    let create = CreateIntent {
        spec: spec().into(),
        sandbox_key: None,
    };
    let create = Record::Intent(Intent::Create(Box::new(create)));
    let (goal, cause) = (Goal::Run, Cause::Request);
    let run = Record::Goal { goal, cause };
    let pod = fold(&[entry(1, 0, run), entry(1, 1, create)]).unwrap();
    let makes_a_pod = |sequence| {
        let mut pod = pod.clone();
        pod.next_sequence = sequence + 1;
        let mut snapshot = entry(1, 2, Record::Snapshot(Box::new(pod)));
        snapshot.sequence = sequence;
        let bytes = format::encode(snapshot).unwrap();
        judge(pod_id(1), &vec![(sequence, bytes)], 0).makes_a_pod()
    };
    assert!(makes_a_pod(u64::MAX - 2));
    assert!(!makes_a_pod(u64::MAX - 1));
}
