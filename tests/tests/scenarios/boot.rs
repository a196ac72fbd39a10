//! A reboot: what lives until then is gone, what lies on the disk is owed.

use std::fs;

use anyhow::{Context, Result, ensure};
use podwalk_testkit::scripted_plugin::Script;
use podwalk_tests::daemon::{Client, Daemon};
use podwalk_tests::machine::Machine;
use podwalk_tests::node::{self, Layout};
use podwalk_tests::oracle::{Oracle, Places};
use podwalk_tests::wait;
use serde_json::Value;

use crate::{
    PATIENCE, Stage, begin, behind, comes_to_be, failing, fails, fine, has_been_called, podnet,
    says, waiting_for,
};

/// A machine with a daemon, watched by an oracle from before its first breath.
struct Booted {
    stage: Stage,
    machine: Machine,
    oracle: Oracle,
}

impl Booted {
    fn boot() -> Result<Self> {
        let stage = Stage::set()?;
        behind(podnet()).write(&stage.config.cni_conf_dir, 10)?;
        let machine = Machine::boot(Layout::V2)?;
        let places = Places::of(&stage.config)?;
        let oracle = machine.enter(|| Oracle::new(places))?;
        Ok(Self {
            stage,
            machine,
            oracle,
        })
    }

    fn start(&self) -> Result<Daemon> {
        self.machine.start(&self.stage.config)
    }

    fn client(&self) -> Client {
        self.machine.client(&self.stage.config)
    }

    /// Pulls the plug, boots, and starts the daemon again.
    fn reboot(&mut self, daemon: Daemon) -> Result<Daemon> {
        self.machine.reboot(Some(daemon))?;
        self.start()
    }

    fn close(self, daemon: Daemon) -> Result<()> {
        ensure!(daemon.terminate()?.success());
        self.machine.enter(|| self.oracle.assert_clean())
    }
}

fn is_down(row: &Value) -> bool {
    row["goal"] == "Stop" && row["state"] == "Created" && row["ready"] == false && row["owed"] == 0
}

/// Address files outlive a reboot: DEL runs for each, with no namespace; the pods are there, and not
/// ready.
#[test]
fn scenario_07_after_a_reboot_no_address_is_kept() -> Result<()> {
    node::run(Layout::V2, || {
        let mut booted = Booted::boot()?;
        let never = node::disk().join("never");
        let script = Script::new()
            .on("ADD", fine())
            .on("ADD", fine())
            .on("ADD", waiting_for(&never));
        let plugin = booted.stage.plugins.scripted("scripted", &script)?;
        let daemon = booted.start()?;
        let client = booted.client();
        for name in ["runs", "stopped"] {
            client.run(&["--name", name])?;
        }
        client.stop("stopped")?;
        // And one in the middle of its ADD.
        let start = begin(&client, &["run", "--name", "starts"])?;
        has_been_called(&plugin, &["ADD", "ADD", "DEL", "ADD"])?;
        let addresses = || -> Result<usize> {
            Ok(fs::read_dir("/var/lib/cni/networks/podnet")?
                .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                .filter(|name| name.starts_with("10.88.0.") || name.starts_with("fd00:88:"))
                .count())
        };
        ensure!(addresses()? == 4, "{} addresses", addresses()?);

        let calls = plugin.records()?.len();
        let daemon = booted.reboot(daemon)?;
        fails(start)?;
        let client = booted.client();
        for name in ["runs", "stopped", "starts"] {
            comes_to_be(&client, name, is_down)?;
        }
        says(
            &client.call(["journal", "runs"])?.done()?.stdout,
            &["Rebooted"],
        )?;
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
        booted.close(daemon)
    })
}

/// Remove, Stop and a reboot in every order: it ends removed.
#[test]
fn scenario_57_a_removed_pod_stays_removed_whatever_comes_after() -> Result<()> {
    node::run(Layout::V2, || {
        let mut booted = Booted::boot()?;
        // Nothing comes to an end before all three have happened.
        let plugin = booted.stage.scripted(fine(), failing("not yet"))?;
        let daemon = booted.start()?;
        let orders: [(&str, &[&str], &[&str]); 6] = [
            ("rm-stop-boot", &["rm", "stop"], &[]),
            ("stop-rm-boot", &["stop", "rm"], &[]),
            ("rm-boot-stop", &["rm"], &["stop"]),
            ("stop-boot-rm", &["stop"], &["rm"]),
            ("boot-rm-stop", &[], &["rm", "stop"]),
            ("boot-stop-rm", &[], &["stop", "rm"]),
        ];
        for (name, _, _) in orders {
            booted.client().run(&["--name", name])?;
        }
        for (name, before, _) in orders {
            for verb in before {
                let said = fails(begin(&booted.client(), &command(verb, name))?)?;
                says(&said, &["owes", "not yet"])?;
            }
        }
        let daemon = booted.reboot(daemon)?;
        let client = booted.client();
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
        booted.close(daemon)
    })
}

fn command<'a>(verb: &'a str, name: &'a str) -> Vec<&'a str> {
    match verb {
        "rm" => vec!["rm", "-f", name],
        _ => vec![verb, name],
    }
}
