//! The daemon, its plugins and its journal on one disk, whose plug is pulled.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use podwalk_testkit::scripted_plugin::{Answer, Installed, Record, Script};
use podwalk_tests::conflist::Bridge;
use podwalk_tests::counts;
use podwalk_tests::daemon::{Client, Config, Daemon};
use podwalk_tests::disk::{self, Disk, Kind};
use podwalk_tests::machine::Machine;
use podwalk_tests::node::{self, Layout};
use podwalk_tests::oracle::{Oracle, Places};
use podwalk_tests::plugins::Plugins;
use podwalk_tests::{outside, wait};
use serde_json::{Value, json};

/// Guards against a hang, no measures of speed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(900);
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Where the disk is mounted; `/var/lib/cni` lies on it.
const MOUNT: &str = "/mnt";
const CNI: &str = "/var/lib/cni";
/// A machine with one disk, a network, and a scripted plugin behind it.
pub(crate) struct Site {
    disk: Disk,
    machine: Machine,
    config: Config,
    plugin: Installed,
    oracle: Oracle,
}

impl Site {
    pub(crate) fn make(kind: Kind, script: &Script) -> Result<Self> {
        let disk = Disk::insert(kind, 192, Path::new(MOUNT))?;
        fs::create_dir(Path::new(MOUNT).join("cni"))?;
        mount_cni()?;
        let mut config = Config {
            state_dir: Path::new(MOUNT).join("podwalk"),
            ..Config::default()
        };
        let plugin = Plugins::before(&mut config)?.scripted("scripted", script)?;
        let network = Bridge::new("podnet", "10.88.0.0/24").and("fd00:88::/64");
        let network = network.then(json!({"type": "scripted"}));
        network.write(&config.cni_conf_dir, 10)?;
        let machine = Machine::boot(Layout::V2)?;
        let oracle = machine.enter(|| Oracle::new(Places::of(&config)?))?;
        Ok(Self {
            disk,
            machine,
            config,
            plugin,
            oracle,
        })
    }

    pub(crate) fn start(&self) -> Result<(Daemon, Client)> {
        let daemon = self.machine.start(&self.config)?;
        Ok((daemon, self.machine.client(&self.config)))
    }

    /// Pulls the plug at this instant. The machine is up again then, with what was on the platter, and
    /// without a daemon.
    pub(crate) fn pull(&mut self, daemon: Daemon) -> Result<()> {
        let left = self.disk.copy()?;
        let disk = &mut self.disk;
        self.machine.reboot_after(Some(daemon), || {
            outside::output(Command::new("umount").arg(CNI))?;
            disk.replace(left)?;
            mount_cni()
        })?;
        counts::add("disk-copies", 1)
    }

    /// The calls of the plugin since there were so many.
    fn calls_since(&self, earlier: usize) -> Result<Vec<Record>> {
        Ok(self.plugin.records()?.split_off(earlier))
    }

    /// Removes all pods, and expects that nothing is left, of the disk's own mounts excepted.
    pub(crate) fn close(self, daemon: Daemon, client: &Client) -> Result<()> {
        for row in client.list(true)? {
            let id = row["id"].as_str().context("id")?;
            client.call(["rm", "-f", id])?.done()?;
        }
        ensure!(daemon.terminate()?.success());
        let leftovers = || -> Result<Vec<String>> {
            let mut left = self.machine.enter(|| self.oracle.leftovers())?;
            // After a pulled plug the same is mounted from another loop device.
            left.retain(|line| {
                ![MOUNT, CNI]
                    .iter()
                    .any(|at| line.starts_with(&format!("mount {at} ")))
            });
            Ok(left)
        };
        let clean = wait::until(PATIENCE, || Ok(leftovers()?.is_empty().then_some(())))?;
        clean.with_context(|| format!("nobody owns: {:?}", leftovers()))?;
        drop(self.machine);
        outside::output(Command::new("umount").arg(CNI))?;
        self.disk.put_away()
    }
}

fn mount_cni() -> Result<()> {
    let mut command = Command::new("mount");
    outside::output(command.args(["--bind", "/mnt/cni", CNI])).map(drop)
}

/// host-local's files that are named after an address.
fn addresses() -> Result<usize> {
    let entries = fs::read_dir("/mnt/cni/networks/podnet")
        .into_iter()
        .flatten();
    let mut count = 0;
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        count += usize::from(name.starts_with("10.88.0.") || name.starts_with("fd00:88:"));
    }
    Ok(count)
}

pub(crate) fn come_to_be_free() -> Result<()> {
    let free = wait::until(PATIENCE, || Ok((addresses()? == 0).then_some(())))?;
    free.with_context(|| format!("{:?} addresses are left", addresses()))
}

/// Everything that is written so far goes to the platter.
fn sync() -> Result<()> {
    outside::output(Command::new("sync").args(["-f", MOUNT])).map(drop)
}

fn fine() -> Answer {
    Answer {
        succeed: true,
        ..Answer::default()
    }
}

/// Down, with nothing owed, and not to be started by itself.
fn is_down(row: &Value) -> bool {
    row["goal"] == "Stop" && row["state"] == "Created" && row["owed"] == 0
}

/// Waits until every pod is down, and gives their names.
pub(crate) fn all_come_down(client: &Client) -> Result<Vec<String>> {
    let mut last = Vec::new();
    let down = wait::until(PATIENCE, || {
        last = client.list(true)?;
        Ok(last.iter().all(is_down).then_some(()))
    })?;
    down.with_context(|| format!("it does not come to rest: {last:?}"))?;
    let names = last.iter().filter_map(|row| row["name"].as_str());
    Ok(names.map(str::to_owned).collect())
}

/// Expects DEL and nothing else, each without a namespace.
fn are_releases_without_a_namespace(calls: &[Record]) -> Result<()> {
    ensure!(!calls.is_empty(), "no DEL");
    for call in calls {
        let netns = call.environment.get("CNI_NETNS").map_or("", String::as_str);
        ensure!(call.command == "DEL" && netns.is_empty(), "{call:?}");
    }
    Ok(())
}

/// Power fails while a plugin works. Whether its address had reached the platter or not, its DEL is
/// owed, and runs.
#[test]
fn scenario_24_a_power_cut_amid_add_on_a_disk_owes_its_del() -> Result<()> {
    node::run_where(Layout::V2, DEADLINE, disk::lacking, || {
        let waiting = Answer {
            wait_for: Some(node::disk().join("never")),
            ..fine()
        };
        let mut site = Site::make(Kind::Journalled, &Script::new().on("ADD", waiting))?;
        let (mut daemon, mut client) = site.start()?;
        for (name, is_written) in [("unwritten", false), ("written", true)] {
            let calls = site.plugin.records()?.len();
            let mut run = client.command(["run", "--name", name])?;
            let run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            let mut run = run.context("podwalk run")?;
            let amid = wait::until(PATIENCE, || {
                let new = site.calls_since(calls)?;
                Ok(new.iter().any(|call| call.command == "ADD").then_some(()))
            })?;
            amid.context("no ADD")?;
            ensure!(addresses()? == 2, "{} addresses", addresses()?);
            if is_written {
                sync()?;
            }
            site.pull(daemon)?;
            ensure!(!run.wait()?.success(), "a start that was cut succeeds");
            ensure!(
                !is_written || addresses()? == 2,
                "{} are back",
                addresses()?
            );
            let calls = site.plugin.records()?.len();
            (daemon, client) = site.start()?;
            let names = all_come_down(&client)?;
            ensure!(
                names.contains(&name.to_owned()),
                "{name} is forgotten: {names:?}"
            );
            come_to_be_free()?;
            are_releases_without_a_namespace(&site.calls_since(calls)?)?;
        }
        site.plugin.set_script(&Script::new())?;
        site.close(daemon, &client)
    })
}

/// DEL is on the platter, what it has unlinked is there again: it runs once more, for the pod that is
/// stopped and for the one that is gone.
#[test]
fn scenario_56_what_a_disk_brings_back_after_del_is_released_again() -> Result<()> {
    node::run_where(Layout::V2, DEADLINE, disk::lacking, || {
        // A journal of the file system's could take the unlinking along with the record.
        let mut site = Site::make(Kind::Plain, &Script::new())?;
        let (daemon, client) = site.start()?;
        let stopped = client.run(&["--name", "stopped"])?;
        let removed = client.run(&["--name", "removed"])?;
        sync()?;
        client.stop(&stopped)?;
        client.call(["rm", "-f", &removed])?.done()?;
        ensure!(addresses()? == 0, "{} addresses", addresses()?);
        site.pull(daemon)?;
        ensure!(addresses()? == 4, "{} addresses are back", addresses()?);

        let calls = site.plugin.records()?.len();
        let (daemon, client) = site.start()?;
        come_to_be_free()?;
        let calls = site.calls_since(calls)?;
        are_releases_without_a_namespace(&calls)?;
        for id in [&stopped, &removed] {
            let is_its = |call: &Record| call.environment.get("CNI_CONTAINERID") == Some(id);
            ensure!(calls.iter().any(is_its), "no DEL for {id}");
        }
        let names = all_come_down(&client)?;
        ensure!(names == ["stopped"], "{names:?}");
        site.close(daemon, &client)
    })
}
