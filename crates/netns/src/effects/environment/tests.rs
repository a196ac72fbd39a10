use std::process::{Command, Stdio};

use super::*;

#[test]
fn who_is_in_exec_is_waited_for_and_not_killed() {
    let standings = [
        (Standing::Of("pod-1".into()), true, true),
        (Standing::Of("pod-11".into()), false, false),
        (Standing::Nobody, false, false),
        (Standing::Unsettled, false, true),
    ];
    for (standing, is, may_be) in standings {
        assert_eq!(standing.is_of("pod-1"), is, "{standing:?}");
        assert_eq!(standing.may_be_of("pod-1"), may_be, "{standing:?}");
    }
}

#[test]
fn a_process_in_exec_is_never_taken_for_nobodys() {
    // It execs itself for ever: one look in twenty finds it without an environment.
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("script");
    std::fs::write(&script, r#"exec /bin/sh "$0""#).unwrap();
    let mut restless = Command::new("/bin/sh")
        .arg(&script)
        .env(ENVIRONMENT, "restless")
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let standings: Vec<Standing> = (0..5000)
        .map(|_| standing(restless.id()).unwrap())
        .collect();
    restless.kill().unwrap();
    restless.wait().unwrap();
    assert!(!standings.contains(&Standing::Nobody));
    assert!(standings.contains(&Standing::Of("restless".into())));
}

#[test]
fn a_long_environment_is_read_to_its_end() {
    let mut wordy = Command::new("/bin/cat");
    wordy
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    // The kernel takes at most 128 KiB in one variable.
    for number in 0..4 {
        wordy.env(format!("A{number}"), "x".repeat(100_000));
    }
    let mut wordy = wordy.env(ENVIRONMENT, "wordy").spawn().unwrap();
    while standing(wordy.id()).unwrap() == Standing::Unsettled {}
    let last = standing(wordy.id()).unwrap();
    wordy.kill().unwrap();
    wordy.wait().unwrap();
    assert_eq!(last, Standing::Of("wordy".into()));
}

#[test]
fn an_empty_environment_is_nobodys() {
    let mut bare = Command::new("/bin/cat");
    let mut bare = bare.env_clear().stdin(Stdio::piped()).spawn().unwrap();
    // It may still be in exec at first: only that may delay the answer.
    while standing(bare.id()).unwrap() == Standing::Unsettled {}
    assert_eq!(standing(bare.id()).unwrap(), Standing::Nobody);
    bare.kill().unwrap();
    bare.wait().unwrap();
    assert_eq!(standing(bare.id()).unwrap(), Standing::Nobody);
}

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
