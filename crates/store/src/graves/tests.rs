//! Which obituaries go.

use super::*;
use crate::samples::{obituary, pod_id, stamp};

/// So many graves, of pods with the same numbers, released at that moment.
fn filled(count: u64, released: Option<Stamp>) -> Graves {
    let mut graves = Graves::default();
    for number in 0..count {
        let mut grave = Grave::of(number, &obituary(number, 2));
        grave.released = released;
        graves.dig(grave);
    }
    graves
}

fn numbers(graves: &[Grave]) -> Vec<u64> {
    graves.iter().map(|grave| grave.number).collect()
}

const FULL: u64 = OBITUARIES as u64;

#[test]
fn none_goes_until_there_are_too_many() {
    let graves = filled(FULL - 1, None);
    assert_eq!(graves.to_clear(pod_id(9_999), &stamp(0)), []);
    let graves = filled(FULL, None);
    assert_eq!(numbers(&graves.to_clear(pod_id(9_999), &stamp(0))), [0]);
}

#[test]
fn a_backlog_goes_a_few_at_a_time() {
    let graves = filled(FULL + 50, None);
    let gone = graves.to_clear(pod_id(9_999), &stamp(0));
    assert_eq!(numbers(&gone), [0, 1, 2, 3]);
}

#[test]
fn what_a_power_cut_may_bring_back_stays() {
    let graves = filled(FULL, Some(stamp(1_000)));
    let after = |duration: Duration| stamp(1_000 + duration.as_nanos() as u64);
    let early = after(KEPT_AFTER_RELEASE);
    assert_eq!(graves.to_clear(pod_id(9_999), &early), []);
    let late = after(KEPT_AFTER_RELEASE + Duration::from_nanos(1));
    assert_eq!(numbers(&graves.to_clear(pod_id(9_999), &late)), [0]);
}

#[test]
fn an_older_obituary_of_the_same_pod_goes() {
    let graves = filled(3, Some(stamp(0)));
    assert_eq!(numbers(&graves.to_clear(pod_id(1), &stamp(0))), [1]);
    let full = filled(FULL, None);
    assert_eq!(numbers(&full.to_clear(pod_id(0), &stamp(0))), [0]);
}

#[test]
fn an_unreadable_one_stays_until_it_is_dropped() {
    let mut graves = Graves::default();
    graves.dig(Grave::unreadable(0, pod_id(1)));
    for number in 1..=FULL {
        let mut grave = Grave::of(number, &obituary(number, 2));
        grave.released = None;
        graves.dig(grave);
    }
    let gone = graves.to_clear(pod_id(1), &stamp(0));
    assert_eq!(numbers(&gone), [1, 2]);
    assert_eq!(graves.of(pod_id(1)).count(), 2);
    graves.clear(0);
    assert_eq!(graves.of(pod_id(1)).count(), 1);
}

#[test]
fn numbers_go_on_after_the_newest() {
    let mut graves = filled(3, None);
    assert_eq!(graves.next_number(), 3);
    graves.clear(0);
    assert_eq!((graves.next_number(), graves.len()), (3, 2));
    assert_eq!(Graves::default().next_number(), 0);
}

#[test]
fn the_floor_is_the_newest_obituarys() {
    let mut graves = filled(2, None);
    graves.dig(Grave::of(2, &obituary(1, 9)));
    assert_eq!(graves.floor(pod_id(1)), 9);
    assert_eq!(graves.floor(pod_id(0)), 2);
    assert_eq!(graves.floor(pod_id(77)), 0);
}
