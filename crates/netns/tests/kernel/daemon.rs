//! A daemon that is killed, what it leaves, and the points at which it can be killed.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;

use podwalk_netns::effects::CgroupLayout;
use podwalk_netns::process::{PidFd, ProcessId};
use podwalk_netns::{Found, lo_up, pin, place, probe, set_sysctls, share_directory, unlink, unpin};

use crate::effects::{FAMILY, Started, effects, start};
use crate::node::{self, GUARD, node_tests};
use crate::points::Points;

/// The daemon's part: pins a namespace, starts an effect that dawdles, and waits to be killed.
fn be_the_daemon(layout: &CgroupLayout) {
    let pod = Path::new("/run/netns/pod");
    place(pod).unwrap();
    pin(pod).unwrap();
    let (mut started, family) = start(&effects(layout), "pod-1", FAMILY, 3);
    for process in family {
        println!("{}", process.id().pid);
    }
    started.wait();
}

fn the_killed_daemons_effect_is_found(test: &str, layout: &CgroupLayout) {
    if node::role().is_some() {
        be_the_daemon(layout);
        return;
    }
    let mut daemon = node::play(test, "daemon")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let family: Vec<_> = BufReader::new(daemon.stdout.take().unwrap())
        .lines()
        .filter_map(|line| line.unwrap().parse().ok())
        .take(3)
        .map(|pid| {
            ProcessId::of(pid)
                .unwrap()
                .unwrap()
                .open()
                .unwrap()
                .unwrap()
        })
        .collect();
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert!(
        family.iter().all(|process| process.is_alive().unwrap()),
        "effects outlive the daemon"
    );
    let successor = effects(layout);
    assert_eq!(successor.leftovers().unwrap(), ["pod-1"]);
    assert_eq!(successor.quiet("pod-1", GUARD).unwrap(), 3);
    assert!(family.iter().all(|process| !process.is_alive().unwrap()));
    assert!(successor.leftovers().unwrap().is_empty());
    successor.disband().unwrap();
    let pod = Path::new("/run/netns/pod");
    assert!(
        matches!(probe(pod).unwrap(), Found::Namespace { mounts: 1, .. }),
        "the pin outlives it"
    );
    unpin(pod).unwrap();
    unlink(pod).unwrap();
}

/// Makes a cgroup whose file to join by is a full pipe: a child that is about to join waits there.
fn a_cgroup_that_cannot_be_joined_yet() -> File {
    let pod = Path::new("/run/cgroup").join(node::name()).join("pod-1");
    std::fs::create_dir_all(&pod).unwrap();
    let pipe = pod.join("tasks");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let flags = nix::libc::O_NONBLOCK;
    let mut held = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(&pipe)
        .unwrap();
    while held.write(&[0; 4096]).is_ok() {}
    held
}

/// The child of `pid` once it waits in write(2), that is, before exec.
fn child_about_to_join(pid: u32) -> PidFd {
    let mut found = None;
    node::eventually("the child is about to join", || {
        let children = node::sh(&format!("cat /proc/{pid}/task/*/children || true"));
        found = children
            .split_whitespace()
            .next()
            .map(|child| child.parse::<u32>().unwrap());
        let writes = format!("{} ", nix::libc::SYS_write);
        found.is_some_and(|child| {
            let call = std::fs::read_to_string(format!("/proc/{child}/syscall")).unwrap();
            call.starts_with(&writes)
        })
    });
    ProcessId::of(found.unwrap())
        .unwrap()
        .unwrap()
        .open()
        .unwrap()
        .unwrap()
}

/// In the daemon's part the node's cgroups are mounted already.
fn unless_mounted(mount: fn() -> CgroupLayout) -> CgroupLayout {
    if node::role().is_some() {
        CgroupLayout::detect().unwrap()
    } else {
        mount()
    }
}

node_tests! {
    fn scenario_49_the_killed_daemons_effect_is_found_v1() {
        let test = "daemon::scenario_49_the_killed_daemons_effect_is_found_v1";
        the_killed_daemons_effect_is_found(test, &unless_mounted(|| node::cgroup_v1("pids")));
    }

    fn scenario_49_the_killed_daemons_effect_is_found_v2() {
        let test = "daemon::scenario_49_the_killed_daemons_effect_is_found_v2";
        the_killed_daemons_effect_is_found(test, &unless_mounted(node::cgroup_v2));
    }

    fn scenario_49_the_killed_daemons_effect_is_found_without_cgroups() {
        let test = "daemon::scenario_49_the_killed_daemons_effect_is_found_without_cgroups";
        the_killed_daemons_effect_is_found(test, &unless_mounted(node::no_cgroups));
    }

    fn a_child_that_has_not_joined_yet_dies_with_the_daemon() {
        if node::role().is_some() {
            let root = "/run/cgroup".into();
            be_the_daemon(&CgroupLayout::V1 { hierarchy: root });
            return;
        }
        let _held = a_cgroup_that_cannot_be_joined_yet();
        let test = "daemon::a_child_that_has_not_joined_yet_dies_with_the_daemon";
        let mut daemon = node::play(test, "daemon").spawn().unwrap();
        let child = child_about_to_join(daemon.id());
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        assert!(child.wait_exit(GUARD).unwrap(), "it outlived the daemon and nobody can find it");
    }

    fn each_change_of_the_world_is_followed_by_its_crash_point() {
        let points = Points::default();
        let pod = Path::new("/run/netns/pod");
        tracing::subscriber::with_default(points.subscriber(), || {
            share_directory(Path::new("/run/netns")).unwrap();
            let shared = ["directory_made", "directory_bound", "directory_private", "directory_shared"];
            assert_eq!(points.taken(), shared.map(|point| format!("netns.{point}")));
            place(pod).unwrap();
            place(pod).unwrap();
            pin(pod).unwrap();
            lo_up(pod).unwrap();
            set_sysctls(pod, &[("net.ipv4.tcp_syncookies".into(), "0".into())].into()).unwrap();
            let made = ["placed", "unshared", "bound", "lo_up", "sysctl_set"];
            assert_eq!(points.taken(), made.map(|point| format!("netns.{point}")));
            probe(pod).unwrap();
            assert!(points.taken().is_empty(), "a look changes nothing");
            unpin(pod).unwrap();
            unpin(pod).unwrap();
            unlink(pod).unwrap();
            unlink(pod).unwrap();
            assert_eq!(points.taken(), ["netns.unmounted", "netns.unlinked"]);
        });
    }

    fn each_change_by_an_effect_is_followed_by_its_crash_point() {
        let points = Points::default();
        let effects = effects(&node::cgroup_v1("pids"));
        tracing::subscriber::with_default(points.subscriber(), || {
            let mut child = Started::new(&effects, "pod-1", "exec sleep 1000").unwrap();
            assert_eq!(points.taken(), ["netns.effect_group_made"]);
            effects.quiet("pod-1", GUARD).unwrap();
            effects.quiet("pod-1", GUARD).unwrap();
            assert_eq!(points.taken(), ["netns.effect_killed", "netns.effect_group_removed"]);
            child.wait();
        });
        effects.disband().unwrap();
    }
}
