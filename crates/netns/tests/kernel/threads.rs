//! No thread is left behind, and no identity is mistaken.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Barrier;

use podwalk_netns::{
    Error, Found, Identity, boot_id, enter, lo_up, pin, place, probe, unlink, unpin,
};

use crate::node::{eventually, mount_lines, node_tests};

/// The namespace of every thread of this process, as a link's text.
fn namespaces_of_threads() -> Vec<PathBuf> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    // A thread that has ended may still be listed without a namespace.
    tasks
        .filter_map(|task| fs::read_link(task.unwrap().path().join("ns/net")).ok())
        .collect()
}

fn pinned(path: &Path) -> Identity {
    place(path).unwrap();
    pin(path).unwrap()
}

node_tests! {
    fn scenario_22_after_1000_creations_no_thread_is_in_another_namespace() {
        let host = fs::read_link("/proc/self/ns/net").unwrap();
        let path = |number: usize| PathBuf::from(format!("/run/netns/pod-{number}"));
        for number in 0..1000 {
            let identity = pinned(&path(number));
            assert_eq!(namespaces_of_threads()[0], host);
            if number % 50 == 0 {
                lo_up(&path(number)).unwrap();
                let there = enter(&path(number), || fs::read_link("/proc/thread-self/ns/net")).unwrap();
                assert_eq!(there.unwrap(), PathBuf::from(format!("net:[{}]", identity.inode)));
                let panicked = std::panic::catch_unwind(|| {
                    enter(&path(number), || panic!("inside the namespace"))
                });
                assert!(panicked.is_err());
            }
        }
        eventually("every thread is in the host's namespace", || {
            namespaces_of_threads().iter().all(|namespace| *namespace == host)
        });
        assert_eq!(fs::read_link("/proc/thread-self/ns/net").unwrap(), host);
        for number in 0..1000 {
            unpin(&path(number)).unwrap();
            unlink(&path(number)).unwrap();
        }
        assert_eq!(fs::read_dir("/run/netns").unwrap().count(), 0);
    }

    fn scenario_50_a_reused_inode_is_told_apart_by_its_cookie() {
        let path = Path::new("/run/netns/pod");
        // Every namespace that was recorded, by its inode; each is gone when the next is made.
        let mut recorded: HashMap<u64, Identity> = HashMap::new();
        let mut reused = None;
        eventually("an inode is used again", || {
            let foreign = pinned(path);
            reused = recorded.insert(foreign.inode, foreign).map(|ours| (ours, foreign));
            if reused.is_none() {
                unpin(path).unwrap();
            }
            reused.is_some()
        });
        let (ours, foreign) = reused.unwrap();
        assert_eq!((foreign.device, foreign.inode), (ours.device, ours.inode));
        assert_eq!(foreign.boot_id, ours.boot_id);
        assert_ne!(foreign.cookie, ours.cookie);
        assert_ne!(foreign, ours);
        assert_eq!(probe(path).unwrap(), Found::Namespace { identity: foreign, mounts: 1 });
    }

    fn scenario_08_what_is_probed_is_what_was_pinned() {
        let paths: Vec<PathBuf> = (0..8).map(|n| format!("/run/netns/pod-{n}").into()).collect();
        let made: Vec<Identity> = paths.iter().map(|path| pinned(path)).collect();
        for (path, identity) in paths.iter().zip(&made) {
            assert_eq!(identity.boot_id, boot_id().unwrap());
            let found = Found::Namespace { identity: *identity, mounts: 1 };
            assert_eq!(probe(path).unwrap(), found);
            assert_eq!(probe(path).unwrap(), found);
        }
        let mut cookies: Vec<u64> = made.iter().map(|identity| identity.cookie).collect();
        cookies.sort_unstable();
        cookies.dedup();
        assert_eq!(cookies.len(), made.len());
    }

    fn scenario_16_of_many_pins_at_once_one_is_made() {
        let path = Path::new("/run/netns/pod");
        for _ in 0..20 {
            place(path).unwrap();
            let start = Barrier::new(8);
            let answers: Vec<_> = std::thread::scope(|scope| {
                let pins: Vec<_> = (0..8)
                    .map(|_| scope.spawn(|| { start.wait(); pin(path) }))
                    .collect();
                pins.into_iter().map(|pin| pin.join().unwrap()).collect()
            });
            let made: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
            assert_eq!(made.len(), 1, "{answers:?}");
            for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
                assert!(matches!(error, Error::Mounted { .. }), "{error}");
            }
            assert_eq!(mount_lines(path), 1);
            assert_eq!(probe(path).unwrap(), Found::Namespace { identity: *made[0], mounts: 1 });
            unpin(path).unwrap();
        }
    }
}
