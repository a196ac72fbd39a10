//! A pod's whole journal, from bytes to decisions.
//!
//! 1. The bytes are cut into frames: one byte of time, two of length, then a record's payload. The
//!    envelope around it is made here, in order, for a fuzzer never gets past a checksum by itself.
//! 2. Each payload is decoded; what decodes is written and read again.
//! 3. The records are folded as a journal's are, with those left out that cannot follow.
//! 4. Recovery plans what comes next for the pod.

use podwalk_engine::clock::Stamp;
use podwalk_engine::decide::{Next, Policy};
use podwalk_engine::id::{BootId, PodId};
use podwalk_engine::pod::{self, Obituary, Pod};
use podwalk_engine::ports::Replay;
use podwalk_engine::record::{Entry, Record};
use podwalk_engine::recovery::{HostFacts, RecoveryPlan, recovery_plan};
use podwalk_store::format::{self, DecodeError, ENVELOPE_BYTES, FORMAT_VERSION};

/// Whose records they are.
const POD: PodId = PodId([7; 16]);
/// The bytes in front of each frame's payload.
const FRAME_BYTES: usize = 3;

/// Any bytes as a journal of one pod.
pub fn fold(bytes: &[u8]) {
    if let (kept, Some(pod)) = read(bytes) {
        check_fold(&pod, &kept, bytes.len());
        check_plans(&pod, &kept);
    }
}

/// The records that could follow one another, and what they come to.
#[must_use]
pub fn read(bytes: &[u8]) -> (Vec<Entry>, Option<Pod>) {
    let mut kept: Vec<Entry> = Vec::new();
    let mut known: Option<Pod> = None;
    for (moment, payload) in frames(bytes) {
        let Some(mut entry) = decoded(moment, payload) else {
            continue;
        };
        entry.sequence = kept.len() as u64;
        fit(&mut entry);
        match &mut known {
            Some(pod) => take_in(pod, &mut kept, entry),
            None => known = begin(&mut kept, entry),
        }
    }
    (kept, known)
}

/// The frames; the last one may be shorter than it says.
fn frames(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (head, rest) = bytes.split_first_chunk::<FRAME_BYTES>()?;
        let length = usize::from(u16::from_le_bytes([head[1], head[2]]));
        let (payload, rest) = rest.split_at(length.min(rest.len()));
        bytes = rest;
        Some((head[0], payload))
    })
}

/// Two bits choose the boot, the others the time in it.
fn stamp(moment: u8) -> Stamp {
    let seconds = u64::from(moment >> 2) * 10;
    Stamp {
        boot: BootId([moment & 3; 16]),
        wall_ns: (1_700_000_000 + seconds) * 1_000_000_000,
        boottime_ns: seconds * 1_000_000_000,
    }
}

fn decoded(moment: u8, payload: &[u8]) -> Option<Entry> {
    let sealed = seal(&stamp(moment), payload);
    match format::decode(&sealed) {
        Ok(entry) => {
            crate::record(&sealed);
            Some(entry)
        }
        Err(DecodeError::Payload { .. }) => None,
        Err(error) => panic!("an envelope in order is refused: {error}"),
    }
}

/// The envelope of `FORMAT.md` around a payload, as an independent writer would make it.
fn seal(stamp: &Stamp, payload: &[u8]) -> Vec<u8> {
    let mut head = Vec::with_capacity(ENVELOPE_BYTES + payload.len());
    head.extend_from_slice(b"PWLK");
    head.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    head.extend_from_slice(&POD.0);
    head.extend_from_slice(&0_u64.to_le_bytes());
    head.extend_from_slice(&stamp.boot.0);
    head.extend_from_slice(&stamp.wall_ns.to_le_bytes());
    head.extend_from_slice(&stamp.boottime_ns.to_le_bytes());
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    head.extend_from_slice(&length.to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&head), payload);
    head.extend_from_slice(&checksum.to_le_bytes());
    head.extend_from_slice(payload);
    head
}

/// A snapshot says twice whose it is and how many records it counts: the other checks come after.
fn fit(entry: &mut Entry) {
    if let Record::Snapshot(pod) = &mut entry.record {
        pod.id = POD;
        pod.next_sequence = entry.sequence + 1;
    }
}

/// The first records: a goal with the intent to create, or a snapshot.
fn begin(kept: &mut Vec<Entry>, entry: Entry) -> Option<Pod> {
    kept.push(entry);
    let folded = pod::fold(kept.iter());
    let waits = kept.len() == 1 && matches!(kept[0].record, Record::Goal { .. });
    if folded.is_err() && !waits {
        kept.clear();
    }
    folded.ok()
}

fn take_in(pod: &mut Pod, kept: &mut Vec<Entry>, entry: Entry) {
    let before = pod.clone();
    match pod.apply(&entry) {
        Ok(()) => kept.push(entry),
        Err(_) => assert_eq!(*pod, before, "what cannot follow has changed the pod"),
    }
    assert_eq!(pod.broken_invariant(), None);
}

/// The fold of all is the fold of a snapshot, and no larger than what it was made of.
fn check_fold(pod: &Pod, kept: &[Entry], given: usize) {
    assert_eq!(pod::fold(kept).as_ref(), Ok(pod));
    let mut folded = pod.clone();
    folded.next_sequence += 1;
    let snapshot = Entry {
        pod: pod.id,
        sequence: pod.next_sequence,
        stamp: pod.last,
        record: Record::Snapshot(Box::new(folded.clone())),
    };
    let Ok(written) = format::encode(snapshot.clone()) else {
        panic!("{given} bytes of records make no snapshot");
    };
    // An intent, an error and a result stand in two places each at most.
    assert!(
        written.len() <= 2 * given + 4096,
        "{given} bytes of records make a snapshot of {}",
        written.len()
    );
    assert_eq!(format::decode(&written).as_ref(), Ok(&snapshot));
    assert_eq!(pod::fold([&snapshot]), Ok(folded));
}

/// Whatever a journal holds, a plan for it comes to an end, in this boot and in the next.
fn check_plans(pod: &Pod, kept: &[Entry]) {
    for boot in [pod.last.boot, BootId([9; 16])] {
        for resume in [true, false] {
            let host = HostFacts {
                now: Stamp { boot, ..pod.last },
                policy: Policy {
                    resume,
                    ..Policy::default()
                },
            };
            let living = Replay {
                pods: vec![(pod.id, kept.to_vec())],
                ..Replay::default()
            };
            check_plan(pod, &recovery_plan(&living, &host), 1);
            let gone = Replay {
                obituaries: vec![Obituary { pod: pod.clone() }],
                ..Replay::default()
            };
            check_plan(pod, &recovery_plan(&gone, &host), 0);
        }
    }
}

fn check_plan(pod: &Pod, recovery: &RecoveryPlan, at_least: usize) {
    let planned = recovery.pods.len() + recovery.quarantined.len();
    assert!((at_least..=1).contains(&planned));
    assert!(recovery.quarantined.is_empty(), "it was folded before");
    for planned in &recovery.pods {
        assert_eq!(planned.pod.id, pod.id);
        assert!(
            matches!(planned.steps.last(), Some(Next::Rest | Next::Forget)),
            "the plan does not end: {:?}",
            planned.steps
        );
    }
}
