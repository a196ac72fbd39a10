//! A reboot: what lives until then is gone, what lies on the disk is owed.
//!
//! A node cannot be rebooted, but it can be made to look so: the daemon and every process are killed,
//! the namespaces unpinned, `/run` and the cgroups emptied, and another boot id lies over the kernel's.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use podwalk_testkit::scripted_plugin::Script;
use podwalk_tests::daemon::Daemon;
use podwalk_tests::node::{self, Layout};
use podwalk_tests::oracle::{Oracle, Places};
use podwalk_tests::{outside, wait};
use serde_json::Value;

use crate::{
    PATIENCE, Stage, begin, behind, comes_to_be, failing, fails, fine, has_been_called, lives,
    podnet, says, system, waiting_for,
};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A machine that can be booted.
struct Machine {
    stage: Stage,
    oracle: Oracle,
    boots: u32,
}

impl Machine {
    fn make() -> Result<Self> {
        let stage = Stage::set()?;
        behind(podnet()).write(&stage.config.cni_conf_dir, 10)?;
        fs::write(Self::file(), Self::boot_id(0))?;
        system(&format!(
            "mount --bind {} {BOOT_ID}",
            Self::file().display()
        ))?;
        let oracle = Oracle::new(Places::of(&stage.config)?)?;
        Ok(Self {
            stage,
            oracle,
            boots: 0,
        })
    }

    fn file() -> PathBuf {
        node::disk().join("boot-id")
    }

    fn boot_id(number: u32) -> String {
        format!("00000000-0000-4000-8000-{number:012}\n")
    }

    fn start(&self) -> Result<Daemon> {
        Daemon::start(&self.stage.config)
    }

    /// Pulls the plug, with these processes still running beside the daemon, and boots.
    fn reboot(&mut self, daemon: Daemon, processes: &[u64]) -> Result<Daemon> {
        daemon.kill9()?;
        for pid in processes {
            system(&format!("kill -KILL {pid}"))?;
        }
        let gone = wait::until(PATIENCE, || {
            Ok(processes.iter().all(|pid| !lives(*pid)).then_some(()))
        })?;
        gone.context("a process does not die")?;
        // The directory is a mount itself, beneath those that are in it.
        for mount in outside::mounts()?.iter().rev() {
            if mount.kind == "nsfs" || mount.target == "/run/netns" {
                system(&format!("umount {}", mount.target))?;
            }
        }
        for directory in [&self.stage.config.netns_dir, &self.stage.config.run_dir] {
            fs::remove_dir_all(directory)?;
        }
        for group in ["podwalk", "podwalk-effects"] {
            let path = format!("/sys/fs/cgroup/{group}");
            system(&format!("find {path} -depth -type d -exec rmdir {{}} ;"))?;
        }
        system("ip link del podnet")?;
        self.boots += 1;
        fs::write(Self::file(), Self::boot_id(self.boots))?;
        self.start()
    }
}

fn sandboxes(daemon: &Daemon) -> Result<Vec<u64>> {
    let client = daemon.client();
    let mut found = Vec::new();
    for row in client.list(true)? {
        let detail = client.inspect(row["id"].as_str().context("id")?)?;
        found.extend(detail["sandbox"]["pid"].as_u64().filter(|pid| lives(*pid)));
    }
    Ok(found)
}

fn is_down(row: &Value) -> bool {
    row["goal"] == "Stop" && row["state"] == "Created" && row["ready"] == false && row["owed"] == 0
}

/// Address files outlive a reboot: DEL runs for each, with no namespace; the pods are there, and not
/// ready.
#[test]
fn scenario_07_after_a_reboot_no_address_is_kept() -> Result<()> {
    node::run(Layout::V2, || {
        let mut machine = Machine::make()?;
        let never = node::disk().join("never");
        let script = Script::new()
            .on("ADD", fine())
            .on("ADD", fine())
            .on("ADD", waiting_for(&never));
        let plugin = machine.stage.plugins.scripted("scripted", &script)?;
        let daemon = machine.start()?;
        let client = daemon.client();
        for name in ["runs", "stopped"] {
            client.run(&["--name", name])?;
        }
        client.stop("stopped")?;
        // And one in the middle of its ADD.
        let start = begin(&client, &["run", "--name", "starts"])?;
        has_been_called(&plugin, &["ADD", "ADD", "DEL", "ADD"])?;
        let mut processes = sandboxes(&daemon)?;
        processes.push(plugin.records()?[3].pid.into());
        let addresses = || -> Result<usize> {
            Ok(fs::read_dir("/var/lib/cni/networks/podnet")?
                .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                .filter(|name| name.starts_with("10.88.0.") || name.starts_with("fd00:88:"))
                .count())
        };
        ensure!(addresses()? == 4, "{} addresses", addresses()?);

        let calls = plugin.records()?.len();
        let daemon = machine.reboot(daemon, &processes)?;
        fails(start)?;
        let client = daemon.client();
        for name in ["runs", "stopped", "starts"] {
            comes_to_be(&client, name, is_down)?;
        }
        let freed = wait::until(PATIENCE, || Ok((addresses()? == 0).then_some(())))?;
        freed.with_context(|| format!("{:?} addresses are left", addresses()))?;
        let after = &plugin.records()?[calls..];
        ensure!(after.len() >= 2, "{after:?}");
        for call in after {
            let netns = call.environment.get("CNI_NETNS").map_or("", String::as_str);
            ensure!(call.command == "DEL" && netns.is_empty(), "{call:?}");
        }
        // Its client starts it anew, as another pod.
        plugin.set_script(&Script::new())?;
        let again = client.run(&["--name", "runs"])?;
        for row in client.list(true)? {
            let id = row["id"].as_str().context("id")?;
            ensure!((row["ready"] == true) == (id == again), "{row}");
            client.call(["rm", "-f", id])?.done()?;
        }
        ensure!(daemon.terminate()?.success());
        machine.oracle.assert_clean()
    })
}

/// Remove, Stop and a reboot in every order: it ends removed.
#[test]
fn scenario_57_a_removed_pod_stays_removed_whatever_comes_after() -> Result<()> {
    node::run(Layout::V2, || {
        let mut machine = Machine::make()?;
        // Nothing comes to an end before all three have happened.
        let plugin = machine.stage.scripted(fine(), failing("not yet"))?;
        let daemon = machine.start()?;
        let orders: [(&str, &[&str], &[&str]); 6] = [
            ("rm-stop-boot", &["rm", "stop"], &[]),
            ("stop-rm-boot", &["stop", "rm"], &[]),
            ("rm-boot-stop", &["rm"], &["stop"]),
            ("stop-boot-rm", &["stop"], &["rm"]),
            ("boot-rm-stop", &[], &["rm", "stop"]),
            ("boot-stop-rm", &[], &["stop", "rm"]),
        ];
        for (name, _, _) in orders {
            daemon.client().run(&["--name", name])?;
        }
        let processes = sandboxes(&daemon)?;
        for (name, before, _) in orders {
            for verb in before {
                let said = fails(begin(&daemon.client(), &command(verb, name))?)?;
                says(&said, &["owes", "not yet"])?;
            }
        }
        let processes: Vec<u64> = processes.into_iter().filter(|pid| lives(*pid)).collect();
        let daemon = machine.reboot(daemon, &processes)?;
        let client = daemon.client();
        for (name, before, after) in orders {
            for verb in after {
                // That something is owed may be old enough by now to be outlived.
                client.call(command(verb, name))?;
            }
            let detail = client.inspect(name)?;
            ensure!(
                before.len() + after.len() == 2 && detail["goal"] == "Remove",
                "{detail:#}"
            );
            ensure!(detail["owed"][0]["step"] == "ConfigureCni", "{detail:#}");
        }
        plugin.set_script(&Script::new())?;
        for (name, _, _) in orders {
            // Nobody asks for it again: it was asked for, and is never forgotten.
            let gone = wait::until(PATIENCE, || {
                Ok((client.call(["inspect", name])?.code == 3).then_some(()))
            })?;
            gone.with_context(|| format!("{name} is still there"))?;
        }
        ensure!(daemon.terminate()?.success());
        machine.oracle.assert_clean()
    })
}

fn command<'a>(verb: &'a str, name: &'a str) -> Vec<&'a str> {
    match verb {
        "rm" => vec!["rm", "-f", name],
        _ => vec![verb, name],
    }
}
