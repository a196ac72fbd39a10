//! What is left of a machine that is rebooted, and what is not.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use podwalk_tests::daemon::Config;
use podwalk_tests::machine::Machine;
use podwalk_tests::node::init::BOOT_ID;
use podwalk_tests::node::{self, Layout};
use podwalk_tests::oracle::{Oracle, Places};
use podwalk_tests::{outside, wait};

fn run(line: &str) -> Result<String> {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().context("a command")?);
    outside::output(command.args(words))
}

/// The kinds of things that a machine has: everything here must go, but what is on its disks.
fn everything() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for directory in ["/run", "/run/netns", "/var/lib/cni", "/run/node-disk/state"] {
        for entry in fs::read_dir(directory).into_iter().flatten() {
            found.push(entry?.path().display().to_string());
        }
    }
    for mount in outside::mounts()? {
        if mount.kind == "nsfs" {
            found.push(format!("pinned {}", mount.target));
        }
    }
    let links = run("ip -brief link")?;
    let links = links.lines().filter_map(|line| line.split(' ').next());
    found.extend(links.map(|name| format!("link {name}")));
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        if let Ok(name) = fs::read_to_string(path.join("comm"))
            && name.trim() == "sleep"
        {
            found.push("sleep".to_owned());
        }
    }
    found.sort();
    Ok(found)
}

fn leave_things() -> Result<()> {
    fs::create_dir_all("/run/podwalk")?;
    fs::create_dir_all("/var/lib/cni/networks")?;
    fs::create_dir_all("/run/node-disk/state/journal")?;
    run("ip netns add pod")?;
    run("ip link add veth1 type veth peer name eth0 netns pod")?;
    orphan()
}

/// A process that nobody waits for, as a sandbox is one.
fn orphan() -> Result<()> {
    let script = "setsid sleep infinity >/dev/null 2>&1 &";
    let mut command = Command::new("sh");
    let status = command.args(["-c", script]).stdin(Stdio::null()).status()?;
    ensure!(status.success());
    let there = wait::until(std::time::Duration::from_secs(60), || {
        Ok(everything()?.contains(&"sleep".to_owned()).then_some(()))
    })?;
    there.context("no sleep")
}

fn reboots(layout: Layout, group: &str) -> Result<()> {
    let mut machine = Machine::boot(layout)?;
    let clean = machine.enter(everything)?;
    let places = Places::of(&Config::default())?;
    let oracle = machine.enter(|| Oracle::new(places))?;
    machine.enter(leave_things)?;
    let boot_id = machine.enter(|| Ok(fs::read_to_string(BOOT_ID)?))?;
    machine.enter(|| Ok(fs::create_dir(group)?))?;
    let before = machine.enter(everything)?;
    for thing in [
        "/run/podwalk",
        "pinned /run/netns/pod",
        "link veth1@",
        "sleep",
    ] {
        let is_there = before.iter().any(|one| one.starts_with(thing));
        ensure!(is_there, "no {thing} in {before:?}");
    }
    // The oracle sees in there what it sees in a node.
    let left = machine.enter(|| oracle.leftovers())?.join("\n");
    for thing in [
        "(nsfs,",
        "file /run/netns/pod",
        "interface veth1",
        "sleep (state",
        group,
    ] {
        ensure!(left.contains(thing), "{thing} is not in {left}");
    }

    machine.reboot(None)?;
    machine.enter(|| oracle.assert_clean())?;
    let after = machine.enter(everything)?;
    let mut kept = after.clone();
    kept.retain(|thing| !clean.contains(thing));
    let disks = ["/run/node-disk/state/journal", "/var/lib/cni/networks"];
    ensure!(kept == disks, "{kept:?} is left");
    ensure!(clean.iter().all(|thing| after.contains(thing)), "{after:?}");
    let now = machine.enter(|| Ok(fs::read_to_string(BOOT_ID)?))?;
    ensure!(now != boot_id && now.len() == 37, "{boot_id:?}, {now:?}");
    machine.enter(|| {
        ensure!(!Path::new(group).exists(), "{group} is left");
        Ok(())
    })
}

#[test]
fn what_lives_until_a_reboot_is_gone_and_disks_are_kept_on_v1() -> Result<()> {
    node::run(Layout::V1, || {
        reboots(Layout::V1, "/sys/fs/cgroup/pids/pod")
    })
}

#[test]
fn what_lives_until_a_reboot_is_gone_and_disks_are_kept_on_v2() -> Result<()> {
    node::run(Layout::V2, || reboots(Layout::V2, "/sys/fs/cgroup/pod"))
}

/// The clocks begin again with each boot, for a daemon too.
#[test]
fn a_daemon_in_the_machine_lives_by_its_clocks_and_dies_with_it() -> Result<()> {
    node::run(Layout::V2, || {
        let mut machine = Machine::boot(Layout::V2)?;
        let config = Config::default();
        for _ in 0..2 {
            let daemon = machine.start(&config)?;
            let pid = daemon.pid();
            let uptime = machine.enter(|| {
                let uptime = run("nsenter --time=/proc/1/ns/time cat /proc/uptime")?;
                let seconds = uptime.split('.').next().context("uptime")?;
                Ok(seconds.parse::<u64>()?)
            })?;
            ensure!(uptime < 3600, "{uptime}");
            let same = |kind: &str| -> Result<bool> {
                let of = |who: &str| fs::read_link(format!("/proc/{who}/ns/{kind}"));
                Ok(of(&pid.to_string())? == of("self")?)
            };
            for kind in ["pid", "mnt", "net", "ipc", "uts", "time"] {
                ensure!(
                    !same(kind)?,
                    "the daemon is in the node's own {kind} namespace"
                );
            }
            ensure!(machine.client(&config).list(true)?.is_empty());
            machine.reboot(Some(daemon))?;
            ensure!(!Path::new(&format!("/proc/{pid}")).exists(), "{pid} lives");
        }
        Ok(())
    })
}
