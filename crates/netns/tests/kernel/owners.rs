//! Network namespaces that a user namespace owns.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use podwalk_netns::process::ProcessId;
use podwalk_netns::{
    Error, Found, IdMapping, Identity, Mappings, Unmappable, enter, links, lo_up, owned, pin,
    pin_owned, place, probe, set_sysctls, unlink, unpin, user_namespace,
};

use crate::node::{self, eventually, mount_lines, node_tests};
use crate::points::{AtPoint, Points};

const POD: &str = "/run/netns/pod";

const PING_GROUPS: &str = "/proc/sys/net/ipv4/ping_group_range";

fn run_of(inside: u32, outside: u32, length: u32) -> IdMapping {
    IdMapping {
        inside,
        outside,
        length,
    }
}

fn mappings() -> Mappings {
    Mappings {
        uids: vec![run_of(0, 100_000, 1000), run_of(5000, 300_000, 7)],
        gids: vec![run_of(0, 200_000, 1000)],
    }
}

fn pinned_owned(path: &str) -> (&Path, Identity) {
    let path = Path::new(path);
    place(path).unwrap();
    (path, pin_owned(path, &mappings()).unwrap())
}

/// Runs `script` as root of the user namespace of `of`, in the network namespace on `path`.
fn as_owner(of: &Path, path: &Path, script: &str) -> Output {
    let user = user_namespace(of).unwrap();
    let user = format!(
        "--user=/proc/{}/fd/{}",
        std::process::id(),
        user.as_raw_fd()
    );
    let run = || {
        Command::new("nsenter")
            .args([&user, "sh", "-ec", script])
            .output()
    };
    // While the descriptor is open.
    enter(path, run).unwrap().unwrap()
}

fn text(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let words = String::from_utf8_lossy(&output.stdout);
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The children of the process `pid`, ended ones included.
fn children(pid: u32) -> Vec<u32> {
    let mut children = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        // A thread that has ended may still be listed; its children are another's then.
        let listed = fs::read_to_string(thread.unwrap().path().join("children"));
        let listed = listed.unwrap_or_default();
        children.extend(
            listed
                .split_whitespace()
                .map(|child| child.parse::<u32>().unwrap()),
        );
    }
    children
}

fn no_child_is_left() {
    assert_eq!(children(std::process::id()), []);
}

fn sysctl(name: &str, value: &str) -> std::collections::BTreeMap<String, String> {
    [(name.to_owned(), value.to_owned())].into()
}

/// The daemon's part: pins, and stops for good at the crash point `at`.
fn be_the_daemon(at: &str) {
    let at = at.to_owned();
    let stop = AtPoint(move |point: &str| {
        if point == at {
            println!("stopped");
            loop {
                std::thread::park();
            }
        }
    });
    tracing::subscriber::with_default(stop, || pinned_owned(POD));
    panic!("no such crash point");
}

/// Kills the daemon at the crash point `at`; whether the namespace is pinned then.
fn a_daemon_killed_at(at: &str) -> bool {
    let test = "owners::a_killed_daemon_leaves_no_holder_and_what_it_pinned_can_be_unpinned";
    let mut daemon = node::play(test, at).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(daemon.stdout.take().unwrap()).lines();
    assert!(
        lines.any(|line| line.unwrap() == "stopped"),
        "{at} was not reached"
    );
    let holders: Vec<_> = children(daemon.id())
        .into_iter()
        .filter_map(|child| ProcessId::of(child).unwrap())
        .filter_map(|child| child.open().unwrap())
        .collect();
    assert_eq!(
        holders.len(),
        usize::from(at != "netns.holder_ended"),
        "{at}"
    );
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    eventually("the holder ends with the daemon", || {
        holders.iter().all(|holder| !holder.is_alive().unwrap())
    });
    match probe(Path::new(POD)).unwrap() {
        Found::Empty => false,
        Found::Namespace { mounts: 1, .. } => true,
        other => panic!("{at} left {other:?}"),
    }
}

fn cleared(path: &Path) {
    unpin(path).unwrap();
    unlink(path).unwrap();
    assert_eq!(probe(path).unwrap(), Found::Missing);
    assert_eq!(mount_lines(path), 0);
}

/// The part of a daemon that is root of a user namespace itself, which has the host's ids 0 to 999.
fn be_nested() {
    assert!(!owned(Path::new(POD)).unwrap(), "this one is ours in here");
    let hosts = Path::new("/run/netns/hosts");
    assert!(owned(hosts).unwrap());
    let error = user_namespace(hosts).unwrap_err().to_string();
    assert!(
        error.contains("ask the owner of /run/netns/hosts"),
        "{error}"
    );
    let inner = Path::new("/run/netns/inner");
    place(inner).unwrap();
    let mut mappings = Mappings {
        uids: vec![run_of(0, 100, 10)],
        gids: vec![run_of(0, 999, 2)],
    };
    let error = pin_owned(inner, &mappings).unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Unmappable {
                source: Unmappable::NotOurs { .. },
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(probe(inner).unwrap(), Found::Empty);
    mappings.gids[0].length = 1;
    pin_owned(inner, &mappings).unwrap();
    assert!(owned(inner).unwrap());
    lo_up(inner).unwrap();
    cleared(inner);
    // Limits of this user namespace and those beneath, not of the host.
    for (limit, what) in [("net", "network"), ("user", "user")] {
        fs::write(format!("/proc/sys/user/max_{limit}_namespaces"), "0").unwrap();
        place(inner).unwrap();
        let error = pin_owned(inner, &mappings).unwrap_err().to_string();
        assert!(
            error.contains(&format!("make a {what} namespace for {}", inner.display())),
            "{error}"
        );
        assert!(error.contains("raise user.max_"), "{error}");
        assert_eq!(probe(inner).unwrap(), Found::Empty);
    }
    no_child_is_left();
}

node_tests! {
    fn the_owner_maps_what_was_asked() {
        let (pod, _) = pinned_owned(POD);
        let of_self = |file: &str| text(&as_owner(pod, pod, &format!("cat /proc/self/{file}")));
        assert_eq!(of_self("uid_map"), "0 100000 1000 5000 300000 7");
        assert_eq!(of_self("gid_map"), "0 200000 1000");
        assert_eq!(of_self("setgroups"), "allow");
    }

    fn root_of_the_owner_sets_up_its_own_network_and_no_other() {
        let (pod, _) = pinned_owned(POD);
        let (other, _) = pinned_owned("/run/netns/other");
        let hosts = Path::new("/run/netns/hosts");
        place(hosts).unwrap();
        pin(hosts).unwrap();
        let script = "ip link add made0 type veth peer name made1";
        assert_eq!(text(&as_owner(pod, pod, script)), "");
        let names: Vec<_> = links(pod).unwrap().into_iter().map(|link| link.name).collect();
        assert_eq!(names, ["lo", "made1", "made0"]);
        for not_its_own in [other, hosts] {
            let refused = as_owner(pod, not_its_own, script);
            let errors = String::from_utf8_lossy(&refused.stderr);
            assert!(errors.contains("Operation not permitted"), "{errors}");
            assert_eq!(links(not_its_own).unwrap().len(), 1);
        }
    }

    fn its_files_are_born_with_the_right_owner() {
        let (pod, _) = pinned_owned(POD);
        let owner = as_owner(pod, pod, "stat -c %u:%g /proc/self/net/dev /proc/sys/net/ipv4/ip_forward");
        assert_eq!(text(&owner), "0:0 0:0");
    }

    fn the_pin_outlives_the_holder_and_goes_without_a_rest() {
        let (pod, identity) = pinned_owned(POD);
        no_child_is_left();
        assert_eq!(probe(pod).unwrap(), Found::Namespace { identity, mounts: 1 });
        assert_eq!(mount_lines(pod), 1);
        let user = user_namespace(pod).unwrap();
        cleared(pod);
        drop(user);
        assert_eq!(fs::read_dir("/run/netns").unwrap().count(), 0);
    }

    fn the_two_kinds_of_pin_are_told_apart() {
        let (pod, _) = pinned_owned(POD);
        let hosts = Path::new("/run/netns/hosts");
        place(hosts).unwrap();
        pin(hosts).unwrap();
        assert!(owned(pod).unwrap());
        assert!(!owned(hosts).unwrap());
        let link = |path: &Path| {
            let user = user_namespace(path).unwrap();
            fs::read_link(format!("/proc/self/fd/{}", user.as_raw_fd())).unwrap()
        };
        let ours = fs::read_link("/proc/self/ns/user").unwrap();
        assert_eq!(link(hosts), ours);
        assert_ne!(link(pod), ours);
        assert_eq!(link(pod), link(pod));
    }

    fn nothing_is_stacked() {
        let (pod, identity) = pinned_owned(POD);
        assert!(matches!(pin_owned(pod, &mappings()), Err(Error::Mounted { .. })));
        assert!(matches!(pin(pod), Err(Error::Mounted { .. })));
        assert_eq!(probe(pod).unwrap(), Found::Namespace { identity, mounts: 1 });
        no_child_is_left();
    }

    fn refused_mappings_leave_nothing() {
        let pod = Path::new(POD);
        place(pod).unwrap();
        let good = run_of(0, 100_000, 1000);
        for bad in [vec![], vec![run_of(0, 0, 0)], vec![run_of(0, u32::MAX, 1)], vec![good, run_of(1000, 100_999, 1)]] {
            let mappings = Mappings { uids: vec![good], gids: bad };
            let error = pin_owned(pod, &mappings).unwrap_err();
            assert!(matches!(error, Error::Unmappable { .. }), "{error}");
            assert_eq!(probe(pod).unwrap(), Found::Empty);
            no_child_is_left();
        }
    }

    fn a_daemon_that_is_itself_in_a_user_namespace_lends_what_it_has() {
        if node::role().is_some() {
            be_nested();
            return;
        }
        let hosts = Path::new("/run/netns/hosts");
        place(hosts).unwrap();
        pin(hosts).unwrap();
        let pod = Path::new(POD);
        place(pod).unwrap();
        let all = vec![run_of(0, 0, 1000)];
        pin_owned(pod, &Mappings { uids: all.clone(), gids: all }).unwrap();
        let user = user_namespace(pod).unwrap();
        let nested = node::play("owners::a_daemon_that_is_itself_in_a_user_namespace_lends_what_it_has", "nested");
        let environment = nested.get_envs().filter_map(|(name, value)| Some((name, value?)));
        let output = Command::new("nsenter")
            .arg(format!("--user=/proc/{}/fd/{}", std::process::id(), user.as_raw_fd()))
            .args(["unshare", "-m"])
            .arg(nested.get_program())
            .args(nested.get_args())
            .envs(environment)
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&output.stdout);
        assert!(text(&output).contains("1 passed"), "{words}");
    }

    fn lo_and_sysctls_of_an_owned_namespace_are_set_from_outside() {
        let (pod, _) = pinned_owned(POD);
        lo_up(pod).unwrap();
        assert!(links(pod).unwrap()[0].up);
        set_sysctls(pod, &sysctl("net.ipv4.ip_unprivileged_port_start", "0")).unwrap();
        set_sysctls(pod, &sysctl("net.ipv4.tcp_rmem", "4096 5000 6000")).unwrap();
        let files = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/tcp_rmem";
        assert_eq!(text(&as_owner(pod, pod, files)), "0 4096 5000 6000");
    }

    fn group_ids_in_a_sysctl_are_the_owners() {
        let (pod, _) = pinned_owned(POD);
        set_sysctls(pod, &sysctl("net.ipv4.ping_group_range", "0 0")).unwrap();
        no_child_is_left();
        let seen_inside = || text(&as_owner(pod, pod, &format!("cat {PING_GROUPS}")));
        let seen_outside = || enter(pod, || fs::read_to_string(PING_GROUPS)).unwrap().unwrap();
        assert_eq!(seen_inside(), "0 0");
        assert_eq!(seen_outside(), "200000\t200000\n");
        set_sysctls(pod, &sysctl("net.ipv4.ping_group_range", "5 999")).unwrap();
        assert_eq!(seen_outside(), "200005\t200999\n");
        let error = set_sysctls(pod, &sysctl("net.ipv4.ping_group_range", "0 1000")).unwrap_err();
        assert!(error.to_string().contains("does not take this value"), "{error}");
        assert_eq!(seen_inside(), "5 999");
        no_child_is_left();
        let hosts = Path::new("/run/netns/hosts");
        place(hosts).unwrap();
        pin(hosts).unwrap();
        set_sysctls(hosts, &sysctl("net.ipv4.ping_group_range", "0 7")).unwrap();
        let hosts_own = enter(hosts, || fs::read_to_string(PING_GROUPS)).unwrap().unwrap();
        assert_eq!(hosts_own, "0\t7\n");
    }

    /// With other threads that allocate, lock and fork meanwhile.
    fn many_at_once_beside_busy_threads() {
        let host = fs::read_link("/proc/self/ns/net").unwrap();
        let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
        let before = descriptors();
        let path = |number: usize| PathBuf::from(format!("/run/netns/pod-{number}"));
        let done = AtomicBool::new(false);
        let busy = || while !done.load(Ordering::Relaxed) {
            drop(vec![format!("{:?}", std::time::Instant::now()); 50]);
        };
        let forks = || while !done.load(Ordering::Relaxed) {
            assert!(Command::new("true").status().unwrap().success());
        };
        let pins = |first: usize| (first..first + 25).map(|number| {
            place(&path(number)).unwrap();
            pin_owned(&path(number), &mappings()).unwrap()
        }).collect::<Vec<_>>();
        let identities: HashSet<Identity> = std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(busy);
            }
            scope.spawn(forks);
            let pinning: Vec<_> = (0..4).map(|thread| scope.spawn(move || pins(thread * 25))).collect();
            let made = pinning.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
            done.store(true, Ordering::Relaxed);
            made
        });
        assert_eq!(identities.len(), 100);
        no_child_is_left();
        eventually("every thread has ended", || fs::read_dir("/proc/self/task").unwrap().count() <= 2);
        assert_eq!(descriptors(), before);
        assert_eq!(fs::read_link("/proc/self/ns/net").unwrap(), host);
        (0..100).for_each(|number| cleared(&path(number)));
    }

    fn of_two_at_once_on_one_file_one_is_refused() {
        let pod = Path::new(POD);
        for _ in 0..20 {
            place(pod).unwrap();
            let start = Barrier::new(2);
            let mut pinned = std::thread::scope(|scope| {
                let threads = [0, 1].map(|_| scope.spawn(|| {
                    start.wait();
                    pin_owned(pod, &mappings())
                }));
                threads.map(|thread| thread.join().unwrap())
            });
            pinned.sort_by_key(Result::is_err);
            let [Ok(identity), Err(Error::Mounted { .. })] = pinned else {
                panic!("{pinned:?}");
            };
            assert_eq!(probe(pod).unwrap(), Found::Namespace { identity, mounts: 1 });
            cleared(pod);
        }
        no_child_is_left();
    }

    fn each_step_is_followed_by_its_crash_point() {
        let points = Points::default();
        tracing::subscriber::with_default(points.subscriber(), || {
            let (pod, _) = pinned_owned(POD);
            let made = ["placed", "holder_made", "holder_mapped", "unshared", "bound", "holder_ended"];
            assert_eq!(points.taken(), made.map(|point| format!("netns.{point}")));
            owned(pod).unwrap();
            user_namespace(pod).unwrap();
            assert!(points.taken().is_empty(), "a look changes nothing");
            set_sysctls(pod, &sysctl("net.ipv4.ping_group_range", "0 0")).unwrap();
            assert_eq!(points.taken(), ["netns.sysctl_set"]);
        });
    }

    fn a_killed_daemon_leaves_no_holder_and_what_it_pinned_can_be_unpinned() {
        if let Some(at) = node::role() {
            be_the_daemon(&at);
            return;
        }
        let points = ["holder_made", "holder_mapped", "unshared", "bound", "holder_ended"];
        for (at, pinned) in points.into_iter().zip([false, false, false, true, true]) {
            assert_eq!(a_daemon_killed_at(&format!("netns.{at}")), pinned, "{at}");
            cleared(Path::new(POD));
        }
    }

    fn a_holder_that_is_killed_is_an_error_and_leaves_nothing() {
        let pod = Path::new(POD);
        for at in ["netns.holder_made", "netns.holder_mapped"] {
            place(pod).unwrap();
            let kill_it = AtPoint(move |point: &str| {
                if point == at {
                    for holder in children(std::process::id()) {
                        kill(Pid::from_raw(holder.cast_signed()), Signal::SIGKILL).unwrap();
                    }
                }
            });
            let error = tracing::subscriber::with_default(kill_it, || pin_owned(pod, &mappings()).unwrap_err());
            assert!(matches!(error, Error::HolderEnded { .. }), "{at}: {error}");
            assert_eq!(probe(pod).unwrap(), Found::Empty);
            no_child_is_left();
        }
    }
}
