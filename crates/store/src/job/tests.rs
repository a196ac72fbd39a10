//! Groups of waiting calls.

use super::*;
use crate::samples::{note, obituary, pod_id, sized, snapshot};

fn job(work: Work, durability: Durability) -> Job {
    let (answer, _) = oneshot::channel();
    Job {
        payload: work.payload(),
        work,
        durability,
        answer,
    }
}

fn append(batch: Vec<Entry>) -> Job {
    job(Work::append(batch).unwrap(), Durability::Process)
}

#[test]
fn a_group_is_as_durable_as_its_strictest_call() {
    let mut group = Group::new(append(vec![note(1, 0)]));
    assert_eq!(group.durability, Durability::Process);
    group.push(job(
        Work::append(vec![note(2, 0)]).unwrap(),
        Durability::Power,
    ));
    group.push(append(vec![note(3, 0)]));
    assert_eq!(group.durability, Durability::Power);
}

#[test]
fn a_group_ends_at_the_bound() {
    let first = append(vec![sized(1, 0, 1_000)]);
    let bound = first.payload * 2;
    let group = Group::new(first);
    assert!(group.takes(&append(vec![sized(2, 0, 1_000)]), bound));
    assert!(!group.takes(&append(vec![sized(2, 0, 1_001)]), bound));
}

#[test]
fn a_batch_of_the_largest_size_is_taken_and_no_larger_one() {
    let rest = crate::format::encode(sized(1, 0, 0)).unwrap().len();
    let largest = |sequence| sized(1, sequence, crate::format::RECORD_LIMIT - rest);
    let full = vec![largest(0), largest(1)];
    assert_eq!(SNAPSHOT_LIMIT, 2 * crate::format::RECORD_LIMIT);
    assert!(Work::append(full.clone()).is_ok());
    let more = [full, vec![note(1, 2)]].concat();
    assert!(Work::append(more).is_err());
}

#[test]
fn what_removes_does_not_join_what_writes_the_same_pod() {
    let group = Group::new(append(vec![note(1, 0), note(2, 0)]));
    let mut sweeping = vec![
        Work::compact(snapshot(2, 1)).unwrap(),
        Work::bury(obituary(2, 1)).unwrap(),
        Work::Drop {
            pod: pod_id(2),
            records: true,
        },
    ];
    for work in sweeping.drain(..) {
        assert!(!group.takes(&job(work, Durability::Power), usize::MAX));
    }
    let other = job(Work::bury(obituary(3, 1)).unwrap(), Durability::Power);
    assert!(group.takes(&other, usize::MAX));
    assert!(group.takes(&append(vec![note(2, 1)]), usize::MAX));
}

#[test]
fn a_payload_is_what_will_be_written() {
    let work = Work::append(vec![sized(1, 0, 9_000)]).unwrap();
    let Work::Append { pods, puts } = &work else {
        unreachable!("an append is an append");
    };
    assert_eq!(pods, &[pod_id(1)]);
    assert_eq!(puts.len(), 3);
    assert_eq!(work.payload(), size(puts));
    assert!(work.payload() > 9_000 && work.payload() < 9_400);
    assert!(Work::bury(obituary(1, 1)).unwrap().payload() > 500);
}

#[test]
fn what_is_too_large_is_refused_before_it_is_queued() {
    let half = format::RECORD_LIMIT - 200;
    let two = vec![sized(1, 0, half), sized(1, 1, half)];
    assert!(Work::append(two.clone()).is_ok());
    let three = [two, vec![sized(1, 2, half)]].concat();
    let refused = Work::append(three).unwrap_err();
    assert!(
        matches!(refused, JournalError::TooLarge { bytes, limit: SNAPSHOT_LIMIT } if bytes > 3 * half),
        "{refused}"
    );
    let one = Work::append(vec![sized(1, 0, format::RECORD_LIMIT)]).unwrap_err();
    assert!(matches!(
        one,
        JournalError::TooLarge {
            limit: format::RECORD_LIMIT,
            ..
        }
    ));
}

#[test]
fn everybody_in_a_group_gets_the_same_answer() {
    let (first, mut first_answered) = oneshot::channel();
    let (second, mut second_answered) = oneshot::channel();
    let mut group = Group::new(Job {
        answer: first,
        ..append(vec![note(1, 0)])
    });
    group.push(Job {
        answer: second,
        ..append(vec![note(2, 0)])
    });
    let answer = Err(JournalError::Full {
        detail: "no room".to_owned(),
    });
    group.answer(&answer);
    assert_eq!(first_answered.try_recv(), Ok(answer.clone()));
    assert_eq!(second_answered.try_recv(), Ok(answer));
}
