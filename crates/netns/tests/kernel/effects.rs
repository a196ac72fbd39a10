//! Quieting what an effect left running, in the three layouts.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use podwalk_netns::effects::{CgroupLayout, Effects, Error};
use podwalk_netns::process::{PidFd, ProcessId};
use podwalk_process::{Command, Stdio};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::node::{self, GUARD, node_tests, sh};

/// A process, its child in a session of its own, and that one's child, each printing its pid.
pub(crate) const FAMILY: &str =
    "echo $$; setsid sh -c 'echo $$; sh -c \"echo \\$\\$; exec sleep 1000\" & wait' & wait";

pub(crate) fn effects(layout: &CgroupLayout) -> Effects {
    Effects::new(layout.clone(), &node::name()).unwrap()
}

/// A process of an effect, fed and listened to through pipes.
pub(crate) struct Started {
    pidfd: OwnedFd,
    pub(crate) stdin: Option<PipeWriter>,
    stdout: PipeReader,
}

impl Started {
    /// Starts `script` as a process of `pod`'s effect.
    pub(crate) fn new(effects: &Effects, pod: &str, script: &str) -> Result<Self, Error> {
        let (input, stdin) = std::io::pipe().unwrap();
        let (stdout, output) = std::io::pipe().unwrap();
        let command = Command {
            program: Path::new("/bin/sh"),
            arguments: vec![OsStr::new("-c"), OsStr::new(script)],
            environment: vec![("PATH", std::env::var_os("PATH").unwrap())],
            directory: Path::new("/"),
        };
        let errors = std::io::stderr();
        let stdio = Stdio {
            input: input.as_fd(),
            output: output.as_fd(),
            errors: errors.as_fd(),
        };
        let spawned = effects.spawn(pod, &command, stdio)?;
        Ok(Self {
            pidfd: spawned.pidfd,
            stdin: Some(stdin),
            stdout,
        })
    }

    /// Reaps it; its exit code, if no signal ended it.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let ended = waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED);
        ended.unwrap().unwrap().exit_status()
    }

    /// All that it says, to the end.
    pub(crate) fn said(&mut self) -> String {
        let mut said = String::new();
        self.stdout.read_to_string(&mut said).unwrap();
        said
    }
}

/// Starts `script` as a process of `pod`'s effect; returns it with the processes whose pids it printed.
pub(crate) fn start(
    effects: &Effects,
    pod: &str,
    script: &str,
    pids: usize,
) -> (Started, Vec<PidFd>) {
    let started = Started::new(effects, pod, script).unwrap();
    let lines = BufReader::new(&started.stdout).lines();
    let open = |line: std::io::Result<String>| {
        let pid = line.unwrap().trim().parse().unwrap();
        ProcessId::of(pid)
            .unwrap()
            .unwrap()
            .open()
            .unwrap()
            .unwrap()
    };
    let family = lines.take(pids).map(open).collect();
    (started, family)
}

fn alive(family: &[PidFd]) -> Vec<bool> {
    family
        .iter()
        .map(|process| process.is_alive().unwrap())
        .collect()
}

fn a_family_is_ended(layout: &CgroupLayout) {
    let effects = effects(layout);
    let (mut child, family) = start(&effects, "pod-1", FAMILY, 3);
    let (mut neighbour, others) = start(&effects, "pod-11", FAMILY, 3);
    assert_eq!(effects.leftovers().unwrap(), ["pod-1", "pod-11"]);
    assert!(effects.quiet("pod-1", GUARD).unwrap() >= 3);
    assert_eq!(alive(&family), [false; 3]);
    assert_eq!(alive(&others), [true; 3], "a neighbour's effect goes on");
    assert_eq!(effects.quiet("pod-1", GUARD).unwrap(), 0);
    assert_eq!(effects.leftovers().unwrap(), ["pod-11"]);
    assert!(effects.quiet("pod-11", GUARD).unwrap() >= 3);
    assert!(effects.leftovers().unwrap().is_empty());
    effects.disband().unwrap();
    effects.disband().unwrap();
    child.wait();
    neighbour.wait();
}

/// `depart` is what a runtime does to the sandbox: it takes its own shell out of the effect.
fn who_was_moved_lives_on(layout: &CgroupLayout, depart: &str) {
    let effects = effects(layout);
    let script = format!("echo $$; sh -c 'echo $$; {depart} sleep 1000' & wait");
    let (mut child, family) = start(&effects, "pod-1", &script, 2);
    node::eventually("the sandbox has left the effect", || {
        let comm = fs::read_to_string(format!("/proc/{}/comm", family[1].id().pid)).unwrap();
        comm == "sleep\n"
    });
    assert_eq!(effects.quiet("pod-1", GUARD).unwrap(), 1);
    assert_eq!(alive(&family), [false, true]);
    family[1]
        .kill(podwalk_netns::process::Signal::KILL)
        .unwrap();
    assert!(family[1].wait_exit(GUARD).unwrap());
    effects.disband().unwrap();
    child.wait();
}

/// The thread that starts a plugin may end before the plugin does.
fn the_starting_thread_may_end(layout: &CgroupLayout) {
    let effects = effects(layout);
    let (mut child, family) = std::thread::scope(|scope| {
        let starting = scope.spawn(|| start(&effects, "pod-1", "echo $$; read line; exit 3", 1));
        starting.join().unwrap()
    });
    // The thread is gone. The plugin ends when it is told to, by itself and not by a signal.
    drop(child.stdin.take());
    assert_eq!(child.wait(), Some(3));
    assert!(!family[0].is_alive().unwrap());
    assert_eq!(effects.quiet("pod-1", GUARD).unwrap(), 0);
    effects.disband().unwrap();
}

/// Who ends by itself within the grace is not killed; who does not, is.
fn what_is_about_to_end_may(layout: &CgroupLayout) {
    let effects = effects(layout);
    let (mut child, family) = start(&effects, "pod-1", "echo $$; read line; exit 3", 1);
    std::thread::scope(|scope| {
        let killed = scope.spawn(|| effects.quiet_after("pod-1", GUARD, GUARD).unwrap());
        drop(child.stdin.take());
        // It ends when it is told to, and not by a signal.
        assert_eq!(child.wait(), Some(3));
        assert_eq!(killed.join().unwrap(), 0);
    });
    assert_eq!(alive(&family), [false]);
    let (mut child, family) = start(&effects, "pod-1", "echo $$; read line; exit 3", 1);
    let grace = Duration::from_millis(20);
    assert_eq!(effects.quiet_after("pod-1", grace, GUARD).unwrap(), 1);
    assert_eq!(alive(&family), [false]);
    assert_eq!(child.wait(), None, "killed");
    effects.disband().unwrap();
}

fn a_brood_that_grows_is_ended(layout: &CgroupLayout) {
    let effects = effects(layout);
    let script = "echo $$; while :; do setsid sleep 1000 & done";
    let (mut child, family) = start(&effects, "pod-1", script, 1);
    assert!(effects.quiet("pod-1", GUARD).unwrap() >= 1);
    assert_eq!(alive(&family), [false]);
    assert_eq!(effects.quiet("pod-1", GUARD).unwrap(), 0);
    assert!(
        !sh("ps -e -o stat=,comm=")
            .lines()
            .any(|line| line.contains("sleep") && !line.starts_with('Z'))
    );
    effects.disband().unwrap();
    child.wait();
}

fn a_cgroup_made_beneath_is_emptied_and_removed(layout: &CgroupLayout) {
    let effects = effects(layout);
    let (mut child, family) = start(&effects, "pod-1", FAMILY, 3);
    let group = root(layout).join(node::name()).join("pod-1");
    let beneath = group.join("of-its-own/deeper");
    fs::create_dir_all(&beneath).unwrap();
    fs::write(beneath.join("cgroup.procs"), family[2].id().pid.to_string()).unwrap();
    assert_eq!(effects.quiet("pod-1", GUARD).unwrap(), 3);
    assert_eq!(alive(&family), [false; 3]);
    assert!(!group.exists());
    effects.disband().unwrap();
    child.wait();
}

/// A frozen cgroup of version 1, which holds its processes even against SIGKILL, until it is dropped.
struct Frozen(PathBuf);

impl Frozen {
    fn group(group: &Path) -> Self {
        let frozen = Self(group.join("freezer.state"));
        fs::write(&frozen.0, "FROZEN").unwrap();
        node::eventually("the cgroup is frozen", || {
            fs::read_to_string(&frozen.0).unwrap() == "FROZEN\n"
        });
        frozen
    }

    /// Freezes one process, in a cgroup that no layout knows.
    fn process(process: &PidFd) -> Self {
        sh("mkdir /run/freezer; mount -t cgroup -o freezer none /run/freezer");
        let group = Path::new("/run/freezer").join(node::name());
        fs::create_dir(&group).unwrap();
        fs::write(group.join("cgroup.procs"), process.id().pid.to_string()).unwrap();
        Self::group(&group)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = fs::write(&self.0, "THAWED");
    }
}

fn the_deadline_names(effects: &Effects, frozen: &PidFd) {
    let error = effects
        .quiet("pod-1", Duration::from_millis(20))
        .unwrap_err();
    let Error::Alive { pod, pids } = &error else {
        panic!("{error}")
    };
    assert_eq!(
        (pod.as_str(), pids.0.as_slice()),
        ("pod-1", &[frozen.id().pid][..])
    );
    assert!(frozen.is_alive().unwrap());
    assert_eq!(effects.leftovers().unwrap(), ["pod-1"]);
}

/// Whether a SIGKILL waits for the process, which cannot take it.
fn is_being_killed(process: &PidFd) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id().pid)).unwrap();
    let pending = |line: &str| {
        let mask = line
            .strip_prefix("SigPnd:")
            .or(line.strip_prefix("ShdPnd:"))?;
        Some(u64::from_str_radix(mask.trim(), 16).unwrap() & (1 << 8) != 0)
    };
    status.lines().filter_map(pending).any(|killed| killed)
}

/// Moves the shell into a cgroup beside the effects'.
fn join(layout: &CgroupLayout) -> String {
    let sandbox = root(layout).join(format!("{}-sandbox", node::name()));
    fs::create_dir(&sandbox).unwrap();
    format!("echo 0 > {}/cgroup.procs; exec", sandbox.display())
}

fn root(layout: &CgroupLayout) -> &Path {
    match layout {
        CgroupLayout::V1 { hierarchy: root } | CgroupLayout::V2 { root } => root,
        CgroupLayout::None => panic!("no cgroups in this layout"),
    }
}

node_tests! {
    fn scenario_49_a_family_is_ended_v1() {
        a_family_is_ended(&node::cgroup_v1("pids"));
    }

    fn scenario_49_a_family_is_ended_v2() {
        a_family_is_ended(&node::cgroup_v2());
    }

    fn scenario_49_a_family_is_ended_without_cgroups() {
        a_family_is_ended(&node::no_cgroups());
    }

    fn who_was_moved_lives_on_v1() {
        let layout = node::cgroup_v1("pids");
        who_was_moved_lives_on(&layout, &join(&layout));
    }

    fn who_was_moved_lives_on_v2() {
        let layout = node::cgroup_v2();
        who_was_moved_lives_on(&layout, &join(&layout));
    }

    fn who_has_an_environment_of_its_own_lives_on_without_cgroups() {
        who_was_moved_lives_on(&node::no_cgroups(), "exec env -i");
    }

    fn what_is_about_to_end_may_v1() {
        what_is_about_to_end_may(&node::cgroup_v1("pids"));
    }

    fn what_is_about_to_end_may_v2() {
        what_is_about_to_end_may(&node::cgroup_v2());
    }

    fn what_is_about_to_end_may_without_cgroups() {
        what_is_about_to_end_may(&node::no_cgroups());
    }

    fn the_starting_thread_may_end_v1() {
        the_starting_thread_may_end(&node::cgroup_v1("pids"));
    }

    fn the_starting_thread_may_end_v2() {
        the_starting_thread_may_end(&node::cgroup_v2());
    }

    fn the_starting_thread_may_end_without_cgroups() {
        the_starting_thread_may_end(&node::no_cgroups());
    }

    fn a_brood_that_grows_is_ended_v1() {
        a_brood_that_grows_is_ended(&node::cgroup_v1("pids"));
    }

    fn a_brood_that_grows_is_ended_v2() {
        a_brood_that_grows_is_ended(&node::cgroup_v2());
    }

    fn a_brood_that_grows_is_ended_without_cgroups() {
        a_brood_that_grows_is_ended(&node::no_cgroups());
    }

    fn a_cgroup_made_beneath_is_emptied_and_removed_v1() {
        a_cgroup_made_beneath_is_emptied_and_removed(&node::cgroup_v1("pids"));
    }

    fn a_cgroup_made_beneath_is_emptied_and_removed_v2() {
        a_cgroup_made_beneath_is_emptied_and_removed(&node::cgroup_v2());
    }

    fn who_cannot_be_killed_is_named_at_the_deadline() {
        let layout = node::cgroup_v1("freezer");
        let effects = effects(&layout);
        let (mut child, family) = start(&effects, "pod-1", "echo $$; exec sleep 1000", 1);
        let frozen = Frozen::group(&root(&layout).join(node::name()).join("pod-1"));
        the_deadline_names(&effects, &family[0]);
        drop(frozen);
        effects.quiet("pod-1", GUARD).unwrap();
        assert!(family[0].wait_exit(GUARD).unwrap());
        effects.disband().unwrap();
        child.wait();
    }

    fn who_cannot_be_killed_is_named_at_the_deadline_without_cgroups() {
        let effects = effects(&node::no_cgroups());
        let (mut child, family) = start(&effects, "pod-1", "echo $$; exec sleep 1000", 1);
        let frozen = Frozen::process(&family[0]);
        the_deadline_names(&effects, &family[0]);
        drop(frozen);
        // It dies of the first signal, and is on no list as soon as it runs no program.
        effects.quiet("pod-1", GUARD).unwrap();
        assert!(family[0].wait_exit(GUARD).unwrap());
        child.wait();
    }

    fn who_came_while_others_were_killed_is_ended_too() {
        let effects = effects(&node::no_cgroups());
        let (mut child, family) = start(&effects, "pod-1", "echo $$; exec sleep 1000", 1);
        let frozen = Frozen::process(&family[0]);
        let (mut late, latecomers) = std::thread::scope(|scope| {
            let quiet = scope.spawn(|| effects.quiet("pod-1", GUARD).unwrap());
            node::eventually("the first round waits", || is_being_killed(&family[0]));
            let late = start(&effects, "pod-1", "echo $$; exec sleep 1000", 1);
            drop(frozen);
            assert_eq!(quiet.join().unwrap(), 2);
            late
        });
        assert_eq!([alive(&family), alive(&latecomers)], [[false], [false]]);
        child.wait();
        late.wait();
    }

    fn a_process_that_execs_for_ever_is_ended_without_cgroups() {
        let effects = effects(&node::no_cgroups());
        fs::write("/run/restless", "exec /bin/sh /run/restless").unwrap();
        for _ in 0..20 {
            let (mut child, family) = start(&effects, "pod-1", "echo $$; exec /bin/sh /run/restless", 1);
            assert_eq!(effects.quiet("pod-1", GUARD).unwrap(), 1);
            assert_eq!(alive(&family), [false]);
            child.wait();
        }
    }

    fn a_program_is_born_in_its_cgroup_and_leads_its_process_group_with_no_signal_blocked() {
        let look = "cat /proc/self/cgroup; echo $PODWALK_EFFECT; cut -d' ' -f1,5 /proc/$$/stat; \
                    grep -E '^Sig(Blk|Ign)' /proc/$$/status | cut -f2";
        for mount in [|| node::cgroup_v1("pids"), node::cgroup_v2] {
            let effects = effects(&mount());
            let mut started = Started::new(&effects, "pod-1", look).unwrap();
            let said = started.said();
            assert_eq!(started.wait(), Some(0));
            let place = format!("/{}/pod-1", node::name());
            let lines: Vec<&str> = said.lines().collect();
            assert!(lines.iter().any(|line| line.ends_with(&place)), "{said}");
            let [.., effect, pids, blocked, ignored] = lines[..] else {
                panic!("{said}");
            };
            assert_eq!(effect, "pod-1");
            let (pid, group) = pids.split_once(' ').unwrap();
            assert_eq!(pid, group);
            assert_eq!(blocked, "0000000000000000");
            let ignored = u64::from_str_radix(ignored, 16).unwrap();
            assert_eq!(ignored & 1 << (nix::libc::SIGPIPE - 1), 0, "as we do, it ignores SIGPIPE");
            effects.quiet("pod-1", GUARD).unwrap();
            effects.disband().unwrap();
        }
    }

    fn many_threads_start_programs_at_once() {
        let effects = effects(&node::cgroup_v2());
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let effects = &effects;
                scope.spawn(move || {
                    let pod = format!("pod-{thread}");
                    for number in 0..25 {
                        let mut started = Started::new(effects, &pod, &format!("exit {number}")).unwrap();
                        assert_eq!(started.wait(), Some(number));
                    }
                    effects.quiet(&pod, GUARD).unwrap();
                });
            }
        });
        effects.disband().unwrap();
    }

    fn the_layout_that_is_mounted_is_detected() {
        let layouts = [|| node::cgroup_v1("pids"), node::cgroup_v2, node::no_cgroups];
        for mount in layouts {
            let layout = mount();
            assert_eq!(CgroupLayout::detect().unwrap(), layout);
        }
        let layout = node::cgroup_v1("freezer");
        sh("mkdir /sys/fs/cgroup/unified; mount -t cgroup2 none /sys/fs/cgroup/unified");
        assert_eq!(CgroupLayout::detect().unwrap(), layout, "the hybrid layout counts as version 1");
        sh("mount -o remount,bind,ro /sys/fs/cgroup/freezer");
        let root = "/sys/fs/cgroup/unified".into();
        assert_eq!(CgroupLayout::detect().unwrap(), CgroupLayout::V2 { root });
    }
}
