//! Sizes exactly at their limits, and one byte beyond.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "what is not as expected fails the test")]

use podwalk_engine::clock::Stamp;
use podwalk_engine::id::{BootId, PodId};
use podwalk_engine::pod::{Obituary, Pod, fold};
use podwalk_engine::record::{Cause, CreateIntent, Entry, Goal, Intent, Record};
use podwalk_engine::spec::*;
use podwalk_store::format::{
    RECORD_LIMIT, SNAPSHOT_LIMIT, TooLarge, decode, decode_obituary, encode, encode_obituary,
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
    fold(&[entry(0, goal), entry(1, intent(spec))]).unwrap()
}

fn intent(spec: PodSpec) -> Record {
    let intent = CreateIntent {
        spec: spec.into(),
        sandbox_key: None,
    };
    Record::Intent(Intent::Create(Box::new(intent)))
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

/// A spec with so many of one thing.
type Filled = fn(u32) -> PodSpec;

fn named() -> PodSpec {
    PodSpec {
        name: "web".to_owned(),
        namespace: "default".to_owned(),
        ..PodSpec::default()
    }
}

fn with(change: impl FnOnce(&mut PodSpec)) -> PodSpec {
    let mut spec = named();
    change(&mut spec);
    spec
}

fn port(number: u32) -> PortMapping {
    PortMapping {
        protocol: Protocol::Tcp,
        pod_port: 1,
        host_port: 1,
        host_ip: std::net::Ipv4Addr::from_bits(0x0100_0000 + number).to_string(),
    }
}

/// Everything that a client may send without end.
const FILLED: [(&str, Filled); 8] = [
    ("labels", |count| {
        let label = |number: u32| (number.to_string(), String::new());
        with(|spec| spec.labels = (0..count).map(label).collect())
    }),
    ("annotations", |count| {
        let text = "x".repeat(count as usize);
        with(|spec| spec.annotations = [("note".to_owned(), text)].into())
    }),
    ("options", |count| {
        with(|spec| spec.dns.options = vec!["a".to_owned(); count as usize])
    }),
    ("ports", |count| {
        with(|spec| spec.ports = (0..count).map(port).collect())
    }),
    ("groups", |count| {
        with(|spec| spec.security.supplemental_groups = vec![0; count as usize])
    }),
    ("huge pages", |count| {
        let limit = |number| (format!("{number}KB"), 0);
        with(|spec| spec.resources.hugepages = (1..=count).map(limit).collect())
    }),
    ("huge pages of the overhead", |count| {
        let limit = |number| (format!("{number}KB"), 0);
        with(|spec| spec.overhead.hugepages = (1..=count).map(limit).collect())
    }),
    ("unified", |count| {
        let file = |number| (format!("a.{number}"), String::new());
        with(|spec| spec.resources.unified = (0..count).map(file).collect())
    }),
];

/// What the fields that every spec has take, its numbers and options.
const FIXED_BYTES: usize = 1024;

#[test]
fn the_largest_spec_that_is_valid_fits_into_a_record_and_twice_into_a_snapshot() {
    for (what, filled) in FILLED {
        let is_valid = |count| filled(count).validate().is_ok();
        let (mut fits, mut over) = (1, 1 << 19);
        assert!(is_valid(fits) && !is_valid(over), "{what}");
        while over - fits > 1 {
            let half = fits.midpoint(over);
            *(if is_valid(half) { &mut fits } else { &mut over }) = half;
        }
        let bytes = encode(entry(1, intent(filled(fits)))).unwrap().len();
        // What is counted is what is written, or a little more.
        let bound = MAX_SPEC_BYTES / 2..=MAX_SPEC_BYTES + FIXED_BYTES;
        assert!(bound.contains(&bytes), "{fits} {what}: {bytes} bytes");
    }
    const { assert!(MAX_SPEC_BYTES + FIXED_BYTES <= RECORD_LIMIT) }
    // The folded pod has the spec and, in a slot, the intent with the spec.
    const { assert!(2 * (MAX_SPEC_BYTES + FIXED_BYTES) <= SNAPSHOT_LIMIT) }
}

/// The kernel's limit of 340 comes before that of bytes.
#[test]
fn the_largest_user_namespace_fits_into_a_record() {
    let mapping = |id| IdMapping {
        container_id: id,
        host_id: id,
        length: 1,
    };
    let all: Vec<_> = (0..340).map(mapping).collect();
    let both = UserMappings {
        uids: all.clone(),
        gids: all,
    };
    let without = encode(entry(1, intent(named()))).unwrap().len();
    let with = with(|spec| spec.security.user_namespace = Some(both));
    assert_eq!(with.validate(), Ok(()));
    let bytes = encode(entry(1, intent(with))).unwrap().len();
    assert_eq!(bytes - without, 2 * (8 + 340 * 12));
}
