//! What a lock file says.

use super::*;

#[test]
fn a_process_may_have_any_name() {
    let fields: Vec<String> = (3..=52).map(|field| field.to_string()).collect();
    let stat = format!("7 (a ) b (c) 9) {}\n", fields.join(" "));
    assert_eq!(start_time(&stat), Some(22));
    assert_eq!(start_time("7 (cut"), None);
    assert_eq!(start_time("7 (cut) S 1"), None);
}

#[test]
fn a_holder_reads_as_it_was_written() {
    let holder = Holder {
        pid: Some(7),
        start_time: None,
        host: Some("node one".to_owned()),
    };
    assert_eq!(holder.text(), "pid 7\nhost node one\n");
    assert_eq!(Holder::parse(&holder.text()), holder);
    assert_eq!(holder.to_string(), "pid 7 on node one");
    assert_eq!(Holder::parse("pid seven\nnonsense"), Holder::default());
}

#[test]
fn the_dead_are_told_from_the_living() {
    for (stat, dead) in [
        ("7 (a) Z 1", true),
        ("7 (a) X 1", true),
        ("7 (Z) S 1", false),
        ("7 (cut", false),
    ] {
        assert_eq!(is_dead(stat), dead, "{stat}");
    }
}

#[test]
fn who_has_no_process_has_ended_and_who_has_said_nothing_may_live() {
    // No kernel gives a pid above 2^22.
    let nobody = Holder {
        pid: Some(u32::MAX),
        ..Holder::default()
    };
    assert!(nobody.has_ended());
    assert!(!Holder::default().has_ended());
}
