//! The shared directory, and mount tables other than ours.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use podwalk_netns::{
    Found, is_host_mount_namespace, pin, place, probe, share_directory, unlink, unpin,
};

use crate::node::{self, mount_lines, node_tests, sh};

const DIRECTORY: &str = "/run/netns";
const POD: &str = "/run/netns/pod";

/// A process with a copy of the mount table, which it has when this returns.
struct Holder(Child);

impl Holder {
    fn with(propagation: &str) -> Self {
        let mut child = Command::new("unshare")
            .args([
                "-m",
                "--propagation",
                propagation,
                "/bin/sh",
                "-c",
                "echo ready; exec sleep 1000",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
        Self(child)
    }

    fn sees(&self, point: &str) -> bool {
        let table = fs::read_to_string(format!("/proc/{}/mountinfo", self.0.id())).unwrap();
        table
            .lines()
            .any(|line| line.split(' ').nth(4) == Some(point))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_shared(point: &str) -> bool {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table
        .lines()
        .rfind(|line| line.split(' ').nth(4) == Some(point))
        .unwrap();
    line.contains(" shared:")
}

fn pod() -> &'static Path {
    Path::new(POD)
}

node_tests! {
    fn scenario_13_a_mount_held_in_another_mount_namespace_does_not_stop_us() {
        place(pod()).unwrap();
        pin(pod()).unwrap();
        let holder = Holder::with("private");
        assert!(holder.sees(POD));
        unpin(pod()).unwrap();
        assert_eq!(probe(pod()).unwrap(), Found::Empty);
        assert!(holder.sees(POD), "a private copy is the holder's own");
        unlink(pod()).unwrap();
        assert_eq!(probe(pod()).unwrap(), Found::Missing);
        place(pod()).unwrap();
        let identity = pin(pod()).unwrap();
        assert_eq!(probe(pod()).unwrap(), Found::Namespace { identity, mounts: 1 });
    }

    fn beneath_a_shared_directory_an_unpin_reaches_every_copy() {
        share_directory(Path::new(DIRECTORY)).unwrap();
        place(pod()).unwrap();
        pin(pod()).unwrap();
        let holder = Holder::with("slave");
        assert!(holder.sees(POD));
        unpin(pod()).unwrap();
        assert!(!holder.sees(POD));
        pin(pod()).unwrap();
        assert!(holder.sees(POD), "a pin shows there too");
    }

    fn sharing_twice_changes_nothing_and_stacks_nothing() {
        let directory = Path::new("/run/deep/netns");
        sh("mount --make-shared /run");
        for _ in 0..3 {
            share_directory(directory).unwrap();
            assert_eq!(mount_lines(directory), 1);
            assert!(is_shared("/run/deep/netns"));
        }
        let path = directory.join("pod");
        place(&path).unwrap();
        pin(&path).unwrap();
        assert_eq!(mount_lines(&path), 1, "no twin on the directory beneath");
    }

    fn namespaces_of_other_clients_are_not_hidden_by_sharing() {
        // As containerd leaves them: pinned in a directory that is no mount.
        for of_the_parent in ["private", "shared"] {
            sh(&format!("mount --make-{of_the_parent} /run"));
            place(pod()).unwrap();
            let theirs = pin(pod()).unwrap();
            share_directory(Path::new(DIRECTORY)).unwrap();
            let found = probe(pod()).unwrap();
            assert_eq!(found, Found::Namespace { identity: theirs, mounts: 1 });
            unpin(pod()).unwrap();
            unlink(pod()).unwrap();
            assert_eq!(mount_lines(pod()), 0);
        }
        share_directory(Path::new(DIRECTORY)).unwrap();
        assert!(is_shared(DIRECTORY), "as soon as there is nothing to hide");
    }

    fn a_crash_between_bind_and_share_is_made_good() {
        for finished in ["true", "mount --make-private /run/netns"] {
            sh(&format!("mount --make-shared /run; mount --bind {DIRECTORY} {DIRECTORY}; {finished}"));
            share_directory(Path::new(DIRECTORY)).unwrap();
            assert_eq!(mount_lines(Path::new(DIRECTORY)), 1);
            assert!(is_shared(DIRECTORY));
            sh(&format!("umount {DIRECTORY}"));
        }
    }

    fn a_twin_on_the_directory_beneath_is_no_stack_and_goes_too() {
        // What 'ip netns add' leaves where /run is shared: the bind is a peer of its parent.
        sh(&format!("mount --make-shared /run; mount --bind {DIRECTORY} {DIRECTORY}"));
        place(pod()).unwrap();
        let identity = pin(pod()).unwrap();
        assert_eq!(mount_lines(pod()), 2);
        assert_eq!(probe(pod()).unwrap(), Found::Namespace { identity, mounts: 1 });
        unpin(pod()).unwrap();
        assert_eq!(mount_lines(pod()), 0);
        unlink(pod()).unwrap();
    }

    fn a_mount_hidden_beneath_another_mount_of_the_directory_is_reported() {
        place(pod()).unwrap();
        pin(pod()).unwrap();
        sh(&format!("mount -t tmpfs none {DIRECTORY}"));
        let error = unpin(pod()).unwrap_err();
        assert!(error.to_string().starts_with("1 mounts are left on /run/netns/pod"), "{error}");
        sh(&format!("umount {DIRECTORY}"));
        unpin(pod()).unwrap();
    }

    fn the_mount_namespace_of_process_1_is_told_from_another() {
        const TEST: &str = "mounts::the_mount_namespace_of_process_1_is_told_from_another";
        if node::role().is_some() {
            assert!(!is_host_mount_namespace().unwrap());
            return;
        }
        assert!(is_host_mount_namespace().unwrap());
        let played = node::play(TEST, "elsewhere");
        let mut elsewhere = Command::new("unshare");
        elsewhere.arg("-m").arg(played.get_program()).args(played.get_args());
        for (name, value) in played.get_envs() {
            elsewhere.env(name, value.unwrap());
        }
        assert!(elsewhere.status().unwrap().success());
    }
}
