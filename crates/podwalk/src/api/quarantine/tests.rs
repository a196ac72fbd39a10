use std::sync::Arc;

use podwalk_engine::clock::Stamp;
use podwalk_engine::id::{BootId, PodId};
use podwalk_engine::record::{Cause, CreateIntent, Entry, Goal};
use podwalk_engine::spec::PodSpec;

use super::*;

fn raw(sequence: u64, record: Record) -> RawRecord {
    let entry = Entry {
        pod: PodId([7; 16]),
        sequence,
        stamp: Stamp {
            boot: BootId([1; 16]),
            wall_ns: 1000 + sequence,
            boottime_ns: 5,
        },
        record,
    };
    RawRecord {
        sequence: Some(sequence),
        bytes: format::encode(entry).unwrap(),
    }
}

fn first_two() -> Vec<RawRecord> {
    let goal = Record::Goal {
        goal: Goal::Run,
        cause: Cause::Request,
    };
    let intent = CreateIntent {
        spec: Arc::new(PodSpec {
            name: "web".to_owned(),
            ..PodSpec::default()
        }),
        sandbox_key: None,
    };
    let intent = Record::Intent(Intent::Create(Box::new(intent)));
    vec![raw(0, goal.clone()), raw(1, intent), raw(2, goal)]
}

fn detail(raw: &[RawRecord]) -> QuarantineDetail {
    QuarantineDetail::of("0707".to_owned(), "record 2: damaged".to_owned(), raw)
}

#[test]
fn what_can_be_read_is_told_and_what_cannot_is_shown() {
    let mut records = first_two();
    let damaged = records[2].bytes.last_mut().unwrap();
    *damaged ^= 1;
    let detail = detail(&records);
    assert_eq!(detail.name, "web");
    assert_eq!(detail.records[0].error, None);
    let line = &detail.records[2];
    assert_eq!((line.sequence, &line.record), (Some(2), &None));
    assert!(line.error.as_ref().unwrap().contains("checksum"));
    // What the envelope of a damaged record claims is told all the same.
    let envelope = line.envelope.as_ref().unwrap();
    assert_eq!((envelope.sequence, envelope.at), (2, 1002));
    assert_eq!(line.hex.len(), line.bytes * 2);
    assert!(line.hex.starts_with("50574c4b0200"), "{}", line.hex);
    let summary = detail.summary();
    assert_eq!((summary.records, summary.last_record), (3, 1001));
    let bytes: usize = records.iter().map(|raw| raw.bytes.len()).sum();
    assert_eq!(summary.bytes, bytes);
}

#[test]
fn bytes_that_are_no_record_at_all_have_no_envelope_and_no_name() {
    let raw = RawRecord {
        sequence: None,
        bytes: b"damaged".to_vec(),
    };
    let detail = detail(&[raw]);
    assert_eq!(
        (detail.name.as_str(), detail.records[0].envelope.as_ref()),
        ("", None)
    );
    assert_eq!(detail.records[0].hex, "64616d61676564");
    assert_eq!(detail.summary().last_record, 0);
}

#[test]
fn an_id_a_prefix_or_a_name_means_it_and_nothing_means_nothing() {
    let detail = detail(&first_two());
    for text in ["0707", "07", "web"] {
        assert!(detail.is_meant_by(text), "{text}");
    }
    for text in ["", "7", "we"] {
        assert!(!detail.is_meant_by(text), "{text}");
    }
}
