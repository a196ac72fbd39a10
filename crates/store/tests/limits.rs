//! Sizes exactly at their limits, and one byte beyond.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "what is not as expected fails the test")]

use podwalk_engine::clock::Stamp;
use podwalk_engine::id::{BootId, PodId};
use podwalk_engine::pod::{Obituary, Pod, fold};
use podwalk_engine::record::{Cause, CreateIntent, Entry, Goal, Intent, Record};
use podwalk_engine::spec::PodSpec;
use podwalk_store::format::{
    SNAPSHOT_LIMIT, TooLarge, decode, decode_obituary, encode, encode_obituary,
};

fn entry(sequence: u64, record: Record) -> Entry {
    Entry {
        pod: PodId([7; 16]),
        sequence,
        stamp: Stamp {
            boot: BootId([1; 16]),
            wall_ns: 1,
            boottime_ns: 1,
        },
        record,
    }
}

/// A pod whose text has so many bytes.
fn pod(text: usize) -> Pod {
    let goal = Record::Goal {
        goal: Goal::Run,
        cause: Cause::Request,
    };
    let spec = PodSpec {
        log_directory: "a".repeat(text),
        ..PodSpec::default()
    };
    let intent = CreateIntent {
        spec,
        sandbox_key: None,
    };
    let intent = Record::Intent(Intent::Create(Box::new(intent)));
    fold(&[entry(0, goal), entry(1, intent)]).unwrap()
}

fn snapshot(text: usize) -> Entry {
    let pod = pod(text);
    entry(pod.next_sequence - 1, Record::Snapshot(Box::new(pod)))
}

fn obituary(text: usize) -> Obituary {
    Obituary { pod: pod(text) }
}

const BEYOND: Result<Vec<u8>, TooLarge> = Err(TooLarge {
    bytes: SNAPSHOT_LIMIT + 1,
    limit: SNAPSHOT_LIMIT,
});

#[test]
fn a_snapshot_of_exactly_the_limit_is_written_and_read() {
    let fits = SNAPSHOT_LIMIT - encode(snapshot(0)).unwrap().len();
    let bytes = encode(snapshot(fits)).unwrap();
    assert_eq!(bytes.len(), SNAPSHOT_LIMIT);
    assert_eq!(decode(&bytes), Ok(snapshot(fits)));
    assert_eq!(encode(snapshot(fits + 1)), BEYOND);
}

#[test]
fn an_obituary_of_exactly_the_limit_is_written_and_read() {
    let fits = SNAPSHOT_LIMIT - encode_obituary(obituary(0)).unwrap().len();
    let bytes = encode_obituary(obituary(fits)).unwrap();
    assert_eq!(bytes.len(), SNAPSHOT_LIMIT);
    assert_eq!(decode_obituary(&bytes), Ok(obituary(fits)));
    assert_eq!(encode_obituary(obituary(fits + 1)), BEYOND);
}
