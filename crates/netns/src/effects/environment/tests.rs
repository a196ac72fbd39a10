use super::*;

#[test]
fn the_variable_is_found_whole_or_not_at_all() {
    let find = |block: &[u8]| value(block);
    assert_eq!(
        find(b"A=1\0PODWALK_EFFECT=pod-1\0B=2\0"),
        Some("pod-1".into())
    );
    assert_eq!(
        find(b"PODWALK_EFFECT=first\0PODWALK_EFFECT=second\0"),
        Some("first".into())
    );
    assert_eq!(find(b"PODWALK_EFFECT=a=b"), Some("a=b".into()));
    for other in [
        &b""[..],
        b"XPODWALK_EFFECT=pod-1\0",
        b"PODWALK_EFFECTS=pod-1\0",
        b"PODWALK_EFFECT\0",
        b"A=PODWALK_EFFECT=pod-1\0",
        b"PODWALK_EFFECT=\xff\0",
    ] {
        assert_eq!(find(other), None, "{other:?}");
    }
}

#[test]
fn we_are_never_on_the_list_and_our_neighbours_are() {
    let pids = processes().unwrap();
    assert!(!pids.contains(&std::process::id()));
    assert!(pids.contains(&1));
}

#[test]
fn a_process_that_is_gone_belongs_nowhere() {
    assert!(belonging([4_194_305], "pod").unwrap().is_empty());
}
