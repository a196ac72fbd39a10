use super::*;
use std::collections::BTreeSet;

fn allowed() -> BTreeSet<String> {
    let profile = default_profile();
    let rules = profile.syscalls().clone().unwrap();
    rules.iter().flat_map(|rule| rule.names().clone()).collect()
}

#[test]
fn refuses_what_is_not_named() {
    let profile = default_profile();
    assert_eq!(profile.default_action(), LinuxSeccompAction::ScmpActErrno);
    assert_eq!(profile.architectures().as_ref().unwrap().len(), 1);
}

#[test]
fn allows_what_the_pause_process_calls() {
    for name in [
        "execve",
        "rt_sigprocmask",
        "rt_sigtimedwait",
        "wait4",
        "exit_group",
    ] {
        assert!(allowed().contains(name), "{name}");
    }
}

#[test]
fn reaches_nothing_beyond_the_process() {
    let beyond = [
        "add_key",
        "bpf",
        "clone",
        "clone3",
        "fork",
        "init_module",
        "io_uring_setup",
        "kexec_load",
        "keyctl",
        "kill",
        "memfd_create",
        "mount",
        "move_mount",
        "perf_event_open",
        "pivot_root",
        "ptrace",
        "reboot",
        "setns",
        "socket",
        "unshare",
        "userfaultfd",
        "vfork",
        "process_vm_readv",
        "chroot",
        "personality",
    ];
    for name in beyond {
        assert!(!allowed().contains(name), "{name}");
    }
}

#[test]
fn names_nothing_twice() {
    assert_eq!(allowed().len(), PAUSE.len() + RUNTIME.len());
}
