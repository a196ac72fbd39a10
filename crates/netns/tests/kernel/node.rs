//! A node for a test: namespaces of its own, so that nothing it does reaches the host.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use podwalk_netns::effects::CgroupLayout;

/// How long anything may take before the test calls it hung. Nothing is timed by it.
pub(crate) const GUARD: Duration = Duration::from_secs(60);

/// Set inside a node, to a name that no other node has.
const NODE: &str = "PODWALK_NODE";

/// Set in a test's binary that was started by the test inside the node, to play another part.
const ROLE: &str = "PODWALK_ROLE";

/// What a test prints in its node, so that a node in which no test ran is a failure.
const RAN: &str = "the test ran to its end";

/// Declares tests that run in a node. The body runs inside; what it asserts, the outer test reports.
macro_rules! node_tests {
    ($($(#[$note:meta])* fn $name:ident() $body:block)*) => {
        $(
            $(#[$note])*
            #[test]
            fn $name() {
                let module = module_path!().split_once("::").map_or("", |(_, module)| module);
                crate::node::run(&format!("{module}::{}", stringify!($name)), || $body);
            }
        )*
    };
}
pub(crate) use node_tests;

/// Runs `body` in a node, by running this binary's test `name` again inside one.
pub(crate) fn run(name: &str, body: impl FnOnce()) {
    if std::env::var_os(NODE).is_some() {
        if std::env::var_os(ROLE).is_none() {
            prepare();
        }
        body();
        println!("{RAN}");
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI must run {name} as root"
        );
        eprintln!("SKIPPED: {name} needs root");
        return;
    }
    let node = format!(
        "podwalk-test-{}-{}",
        std::process::id(),
        name.replace("::", "-")
    );
    let output = Command::new("timeout")
        .args(["-s", "KILL", "120", "unshare", "-m", "-n", "-p", "-i", "-u"])
        .args(["--fork", "--kill-child", "--mount-proc"])
        .arg(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(NODE, &node)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    remove_cgroups(&node);
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    print!("{text}");
    assert!(
        output.status.success(),
        "{name} failed in its node:\n{text}\n{errors}"
    );
    assert!(
        text.contains(RAN),
        "{name} did not run in its node:\n{text}\n{errors}"
    );
}

/// The name of this node: what is made outside its namespaces (cgroups) carries it.
pub(crate) fn name() -> String {
    std::env::var(NODE).unwrap()
}

/// The part that this process plays, if it was started by [`play`].
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// This binary, started again within the node as the same test, to play `role`.
pub(crate) fn play(test: &str, role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([test, "--exact", "--nocapture"])
        .env(ROLE, role)
        .stdin(Stdio::null());
    command
}

/// Runs a command of the system, which must succeed; returns what it printed.
pub(crate) fn sh(script: &str) -> String {
    let output = Command::new("/bin/sh")
        .args(["-ec", script])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "'{script}' failed: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Looks until `holds`, which must come true.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + GUARD;
    while !holds() {
        assert!(Instant::now() < end, "this never came true: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Mounts one hierarchy of version 1 and nothing else. Where version 2 has the controller that
/// cannot be: the test is skipped, which is a failure where `CI` is set.
pub(crate) fn cgroup_v1(controller: &str) -> CgroupLayout {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap();
    if !groups.contains(&format!(":{controller}:")) {
        assert!(std::env::var_os("CI").is_none(), "needs cgroup version 1");
        eprintln!("SKIPPED: needs cgroup version 1");
        println!("{RAN}");
        std::process::exit(0);
    }
    sh("mount -t tmpfs none /sys/fs/cgroup");
    let hierarchy = PathBuf::from("/sys/fs/cgroup").join(controller);
    let point = hierarchy.display();
    sh(&format!(
        "mkdir {point}; mount -t cgroup -o {controller} none {point}"
    ));
    CgroupLayout::V1 { hierarchy }
}

/// Mounts version 2 and nothing else.
pub(crate) fn cgroup_v2() -> CgroupLayout {
    sh("mount -t tmpfs none /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup");
    CgroupLayout::V2 {
        root: "/sys/fs/cgroup".into(),
    }
}

/// Hides every cgroup file system.
pub(crate) fn no_cgroups() -> CgroupLayout {
    sh("mount -t tmpfs none /sys/fs/cgroup");
    CgroupLayout::None
}

/// How many lines of the mount table have this mount point.
pub(crate) fn mount_lines(point: &Path) -> usize {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let point = point.to_str().unwrap();
    table
        .lines()
        .filter(|line| line.split(' ').nth(4) == Some(point))
        .count()
}

fn prepare() {
    sh("mount -t tmpfs none /run; mkdir /run/netns");
}

/// cgroups do not go with a node's namespaces. Its processes are gone by now, unless a test that
/// failed left them frozen.
fn remove_cgroups(node: &str) {
    let script = format!(
        "mount -t tmpfs none /run; mkdir /run/pids /run/freezer /run/unified
         for controller in pids freezer; do
             if grep -q :$controller: /proc/self/cgroup; then
                 mount -t cgroup -o $controller none /run/$controller
             fi
         done
         mount -t cgroup2 none /run/unified
         for group in $(find /run/*/{node} /run/*/{node}-* -depth -type d 2>/dev/null); do
             if test -e $group/freezer.state; then echo THAWED > $group/freezer.state; fi
             for try in $(seq 500); do rmdir $group 2>/dev/null && break; sleep 0.01; done
             if test -e $group; then exit 1; fi
         done"
    );
    let status = Command::new("unshare")
        .args(["-m", "/bin/sh", "-c", &script])
        .status()
        .unwrap();
    assert!(status.success(), "the cgroups of {node} cannot be removed");
}
