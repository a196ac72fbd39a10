//! A machine for one test: the test runs itself again in namespaces of its own, with empty
//! `/run` and with cgroups mounted as asked. Nothing of it is seen from outside but cgroups.

use std::fs::{self, File};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use podwalk_oci::{
    Bundle, CgroupParent, Dns, Handler, OciRuntime, SandboxConfig, SandboxId, Spawn, Target,
};
use podwalk_process::{NotSpawned, Spawned, Unlisted};

/// A guard against a hang, not a measure.
const DEADLINE: Duration = Duration::from_secs(120);
/// Set within the node, to the name of the cgroup that the test may use.
const INSIDE: &str = "PODWALK_OCI_NODE";
/// Marks the processes of a runtime, so that they can be found after a crash.
pub(crate) const EFFECT: &str = "PODWALK_OCI_EFFECT";

/// How cgroups are mounted in the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    V1,
    V2,
    Hybrid,
}

/// Process 1 of the node: prepares it, runs the test, and reaps what is orphaned meanwhile.
/// `/run` is noexec as on Debian, where a sandbox must start all the same.
const PREPARE: &str = r#"
    layout=$1; program=$2; shift 2
    mount --make-rprivate /
    mount -t tmpfs -o nosuid,nodev,noexec tmpfs /run
    # The program itself may lie below /tmp, which is hidden next.
    touch /run/test-program
    mount --bind "$program" /run/test-program
    mount -t tmpfs tmpfs /tmp
    mount -t tmpfs tmpfs /sys/fs/cgroup
    cd /sys/fs/cgroup
    case $layout in
    V2) mount -t cgroup2 cgroup2 /sys/fs/cgroup ;;
    *)
        for controller in cpu cpuacct cpuset memory pids devices freezer blkio; do
            mkdir $controller
            mount -t cgroup -o $controller cgroup $controller
        done
        mkdir systemd
        mount -t cgroup -o none,name=systemd cgroup systemd ;;
    esac
    if [ $layout = Hybrid ]; then mkdir unified; mount -t cgroup2 cgroup2 unified; fi
    cd /
    ip netns add pod
    /run/test-program "$@" &
    wait $!"#;

/// Runs `body` in a node. `name` is the path of the test with the crate's name before it.
pub(crate) fn enter<F: Future<Output = ()>>(
    name: &str,
    layout: Layout,
    runtime: &str,
    body: fn(World) -> F,
) {
    if let Some(parent) = std::env::var_os(INSIDE) {
        let world = World::new(runtime, layout, parent.to_str().unwrap());
        let scheduler = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        return scheduler.unwrap().block_on(body(world));
    }
    if let Some(lack) = lacking(layout) {
        assert!(std::env::var_os("CI").is_none(), "this test {lack}");
        eprintln!("SKIPPED: {lack}");
        return;
    }
    let (_crate_name, name) = name.split_once("::").unwrap();
    let parent = format!(
        "podwalk-oci-{}-{}",
        std::process::id(),
        name.replace("::", "-")
    );
    let passed = run_node(name, layout, &parent);
    remove_cgroups(&parent);
    passed.unwrap_or_else(|said| panic!("{said}"));
}

/// What the machine has not, and a node of this layout needs. A hierarchy of version 1 cannot be
/// mounted where version 2 has its controllers.
fn lacking(layout: Layout) -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root");
    }
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap();
    let has_v1 = groups.contains(":pids:");
    (layout != Layout::V2 && !has_v1).then_some("needs cgroup version 1")
}

fn run_node(name: &str, layout: Layout, parent: &str) -> Result<(), String> {
    let said = tempfile::tempfile().unwrap();
    let output = || Stdio::from(said.try_clone().unwrap());
    let mut unshare = Command::new("unshare")
        .args([
            "-m",
            "-n",
            "-p",
            "-i",
            "-u",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .args(["sh", "-euc", PREPARE, "node", &format!("{layout:?}")])
        .arg(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--include-ignored"])
        .env(INSIDE, parent)
        .stdin(Stdio::null())
        .stdout(output())
        .stderr(output())
        .spawn()
        .unwrap();
    let started = Instant::now();
    let status = loop {
        match unshare.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if started.elapsed() > DEADLINE => {
                unshare.kill().unwrap();
                unshare.wait().unwrap();
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let said = read_all(said);
    // The harness inside must have run exactly this test: a wrong name would pass with none.
    if status.is_some_and(|status| status.success()) && said.contains("1 passed") {
        return Ok(());
    }
    Err(format!("in the node, {status:?}:\n{said}"))
}

fn read_all(mut file: File) -> String {
    io::Seek::rewind(&mut file).unwrap();
    io::read_to_string(file).unwrap()
}

/// Cgroups do not go with the namespaces; what a failed test left is removed here.
fn remove_cgroups(parent: &str) {
    for hierarchy in fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten()
    {
        remove_tree(&hierarchy.path().join(parent));
    }
    remove_tree(&Path::new("/sys/fs/cgroup").join(parent));
}

fn remove_tree(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_tree(&entry.path());
        }
    }
    let _ = fs::remove_dir(directory);
}

/// Marks processes by their environment.
pub(crate) struct Marked;

impl Spawn for Marked {
    fn spawn(
        &self,
        id: &str,
        command: &podwalk_process::Command<'_>,
        stdio: podwalk_process::Stdio<'_>,
    ) -> Result<Spawned, NotSpawned> {
        let mut marked = command.clone();
        marked.environment.push((EFFECT, id.into()));
        Unlisted.spawn(id, &marked, stdio)
    }
}

/// What a test works with, inside the node.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) runtime: OciRuntime,
    pub(crate) bundles: PathBuf,
    pub(crate) netns: PathBuf,
    pub(crate) layout: Layout,
    pub(crate) parent: String,
    /// The mounts of the node before anything was started.
    mounts: Vec<String>,
}

impl World {
    fn new(runtime: &str, layout: Layout, parent: &str) -> Self {
        let handler = Handler::new(runtime, runtime, format!("/run/podwalk/runtimes/{runtime}"));
        Self {
            runtime: OciRuntime::new(handler, Arc::new(Marked)),
            bundles: PathBuf::from("/run/podwalk/bundles"),
            netns: PathBuf::from("/run/netns/pod"),
            layout,
            parent: format!("/{parent}"),
            mounts: mounts(),
        }
    }

    /// The same with a changed handler.
    pub(crate) fn with_handler(mut self, change: impl FnOnce(&mut Handler)) -> Self {
        let mut handler = self.runtime.handler().clone();
        change(&mut handler);
        self.runtime = OciRuntime::new(handler, Arc::new(Marked));
        self
    }

    /// A sandbox in the pod's namespace, with something in every field that reaches the disk.
    pub(crate) fn config(&self) -> SandboxConfig {
        let mut config = SandboxConfig::new(SandboxId::new("pod-1").unwrap());
        config.hostname = Some("web-0".to_owned());
        config.netns = Some(self.netns.clone());
        config.addresses = vec!["10.1.2.3".parse().unwrap()];
        config.dns = Some(Dns {
            servers: vec!["10.0.0.10".to_owned()],
            searches: vec!["default.svc".to_owned(), "svc".to_owned()],
            options: vec!["ndots:5".to_owned()],
        });
        config.cgroup_parent = CgroupParent::Owned(self.parent.clone());
        config
    }

    pub(crate) fn target(&self) -> Target {
        self.config().target().unwrap()
    }

    /// Writes the usual bundle and starts it; the target knows the process.
    pub(crate) async fn start(&self) -> Target {
        let bundle = Bundle::write(&self.config(), &self.bundles).unwrap();
        let sandbox = self.runtime.create_and_start(&bundle).await.unwrap();
        Target {
            process: Some(sandbox.process),
            ..self.target()
        }
    }

    /// Where the cgroup of `target` is, in each hierarchy.
    pub(crate) fn cgroups(&self, target: &Target) -> Vec<PathBuf> {
        let relative = target.cgroup.as_str().trim_start_matches('/');
        let roots: Vec<PathBuf> = match self.layout {
            Layout::V2 => vec![PathBuf::from("/sys/fs/cgroup")],
            _ => fs::read_dir("/sys/fs/cgroup")
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect(),
        };
        roots.iter().map(|root| root.join(relative)).collect()
    }

    /// Nothing of the sandbox is left, whoever knows about it.
    pub(crate) fn assert_nothing_left(&self) {
        let target = self.target();
        for cgroup in self.cgroups(&target) {
            assert!(!cgroup.exists(), "{}", cgroup.display());
            assert!(
                !cgroup.parent().unwrap().exists(),
                "the parent of {}",
                cgroup.display()
            );
        }
        let root = &self.runtime.handler().root;
        assert_eq!(names(root), Vec::<String>::new(), "state of the runtime");
        let bundles = names(&self.bundles);
        assert!(bundles.iter().all(|name| name == ".pause"), "{bundles:?}");
        let pauses: Vec<u32> = processes()
            .filter(|pid| command_of(*pid) == "pause" && !is_zombie(*pid))
            .collect();
        assert_eq!(pauses, Vec::<u32>::new(), "pause processes");
        // The process that crun leaves behind its `run` ends a moment after it.
        until("the runtime's processes are gone", || {
            marked("pod-1").is_empty()
        });
        assert_eq!(
            names(Path::new("/tmp")),
            Vec::<String>::new(),
            "files of a runtime"
        );
        assert_eq!(mounts(), self.mounts, "mounts");
    }
}

fn mounts() -> Vec<String> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let point = |line: &str| line.split(' ').nth(4).unwrap().to_owned();
    mountinfo.lines().map(point).collect()
}

pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// The processes of the node.
fn processes() -> impl Iterator<Item = u32> {
    names(Path::new("/proc"))
        .into_iter()
        .filter_map(|name| name.parse().ok())
}

/// The processes of the node whose command's name begins so.
pub(crate) fn pids_of(name: &str) -> Vec<u32> {
    let of_name = processes().filter(|pid| command_of(*pid).starts_with(name));
    of_name.filter(|pid| !is_zombie(*pid)).collect()
}

fn command_of(pid: u32) -> String {
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    comm.trim().to_owned()
}

/// Ended, and process 1 has not come round to it yet.
fn is_zombie(pid: u32) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_err()
}

/// The processes of a runtime for `id`, by their environment.
pub(crate) fn marked(id: &str) -> Vec<u32> {
    let looks = processes().map(|pid| (pid, look_at(pid, id)));
    let marked = looks.filter(|(_, seen)| *seen == Seen::Marked);
    marked.map(|(pid, _)| pid).collect()
}

/// Ends the processes of a runtime that outlived their caller, as an owner must before it
/// probes or deletes.
pub(crate) fn quiet(id: &str) {
    until("the runtime's processes are gone", || {
        // One look at each process: one that is between programs in the first of two looks may
        // be through in the second.
        let seen: Vec<_> = processes().map(|pid| (pid, look_at(pid, id))).collect();
        for (pid, _) in seen.iter().filter(|(_, seen)| *seen == Seen::Marked) {
            let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        seen.iter().all(|(_, seen)| *seen == Seen::Strange)
    });
}

/// What one look at a process says.
#[derive(Clone, Copy, PartialEq)]
enum Seen {
    /// It is a runtime's.
    Marked,
    /// It executes another program, and shows an empty environment for a moment: whose it is will
    /// be seen in the next look.
    BetweenPrograms,
    /// It is none of the runtime's, or has ended.
    Strange,
}

fn look_at(pid: u32, id: &str) -> Seen {
    let mark = format!("{EFFECT}={id}");
    match fs::read(format!("/proc/{pid}/environ")) {
        Ok(environment) if environment.is_empty() => {
            if is_zombie(pid) || command_of(pid) == "pause" {
                Seen::Strange
            } else {
                Seen::BetweenPrograms
            }
        }
        Ok(environment)
            if environment
                .split(|byte| *byte == 0)
                .any(|v| v == mark.as_bytes()) =>
        {
            Seen::Marked
        }
        _ => Seen::Strange,
    }
}

/// Polls a condition, to a deadline that only guards against a hang.
pub(crate) fn until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(
            started.elapsed() < DEADLINE / 4,
            "waited in vain until {what}"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A test in four nodes: with crun and runc, on cgroups v1 and v2.
macro_rules! everywhere {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        mod $name {
            use crate::node::{Layout, enter};

            #[test]
            fn crun_v1() {
                enter(concat!(module_path!(), "::crun_v1"), Layout::V1, "crun", super::bodies::$name);
            }

            #[test]
            fn crun_v2() {
                enter(concat!(module_path!(), "::crun_v2"), Layout::V2, "crun", super::bodies::$name);
            }

            #[test]
            fn runc_v1() {
                enter(concat!(module_path!(), "::runc_v1"), Layout::V1, "runc", super::bodies::$name);
            }

            #[test]
            fn runc_v2() {
                enter(concat!(module_path!(), "::runc_v2"), Layout::V2, "runc", super::bodies::$name);
            }
        }
    )*};
}
