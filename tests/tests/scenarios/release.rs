//! DEL that fails, finds less than it was told, or meets another configuration.

use std::fs;

use anyhow::{Context, Result, ensure};
use podwalk_testkit::scripted_plugin::Script;
use podwalk_tests::conflist::Bridge;
use podwalk_tests::node::{self, Layout};
use podwalk_tests::scene::{self, End, Scene, Told};
use podwalk_tests::{outside, wait};
use serde_json::json;

use crate::{
    PATIENCE, Stage, begin, behind, comes_to_be, failing, fails, fine, has_been_called, lives,
    podnet, sandbox_of, says, succeeds, system, waiting_for,
};

/// DEL gets the configuration that ADD had, whatever became of the file, also after a restart.
#[test]
fn scenario_04_the_pinned_configuration_is_used_when_the_file_is_changed_or_gone() -> Result<()> {
    node::run(Layout::V2, || {
        let stage = Stage::set()?;
        let plugin = stage.scripted(fine(), fine())?;
        let marked = |mark: &str, subnet: &str| {
            Bridge::new("podnet", subnet).then(json!({"type": "scripted", "mark": mark}))
        };
        let first = marked("first", "10.88.0.0/24");
        let scene = Scene::open_with(&stage.config, &[first])?;
        let client = scene.client();
        client.run(&["--name", "one"])?;
        // Edited: another bridge and subnet, another mark. A new pod shows that it is seen.
        let mut second = marked("second", "10.99.0.0/24").json();
        second["plugins"][0]["bridge"] = json!("another");
        let file = stage.config.cni_conf_dir.join("10-podnet.conflist");
        fs::write(&file, second.to_string())?;
        let seen = wait::until(PATIENCE, || {
            client.run(&["--name", "two"])?;
            let ip = client.inspect("two")?["networkSettings"]["IPAddress"].clone();
            if ip.as_str().is_some_and(|ip| ip.starts_with("10.99.")) {
                return Ok(Some(()));
            }
            client.call(["rm", "-f", "two"])?.done()?;
            Ok(None)
        })?;
        seen.context("the edited network is not seen")?;
        let dels_of = |pod: &str| -> Result<String> {
            client.stop(pod)?;
            let last = plugin.records()?.pop().context("no record")?;
            ensure!(last.command == "DEL");
            Ok(last.stdin["mark"].to_string())
        };
        ensure!(dels_of("one")? == "\"first\"");
        // Deleted, and the daemon restarted.
        fs::remove_file(file)?;
        let scene = scene.restart(End::Kill)?;
        ensure!(dels_of("two")? == "\"second\"");
        for pod in ["one", "two"] {
            scene.client().remove(pod)?;
        }
        scene.close()
    })
}

/// DEL fails for ever: told for a while, then outlived; in the ledger until it is paid. Others go on.
#[test]
fn scenario_05_a_del_that_never_succeeds_is_a_debt_and_holds_nobody() -> Result<()> {
    node::run(Layout::V2, || {
        let mut stage = Stage::set()?;
        stage.config.file = Some("[debts]\ngrace_seconds = 3\n".to_owned());
        let plugin = stage.scripted(fine(), failing("controller unreachable"))?;
        let stuck = behind(Bridge::new("stuck", "10.99.0.0/24"));
        let scene = Scene::open_with(&stage.config, &[podnet(), stuck])?;
        let client = scene.client();
        let networks = "k8s.v1.cni.cncf.io/networks=stuck";
        let id = client.run(&["--name", "web", "--annotation", networks])?;
        let said = fails(begin(&client, &["stop", "web"])?)?;
        says(
            &said,
            &[
                &id,
                "owes",
                "ConfigureCni",
                "network stuck",
                "controller unreachable",
            ],
        )?;
        let row = comes_to_be(&client, "web", |row| row["owed"] == 1)?;
        ensure!(row["goal"] == "Stop" && row["ready"] == false, "{row}");
        let owed = client.inspect("web")?["owed"][0].clone();
        ensure!(
            owed["attachment"] == "stuck" && owed["step"] == "ConfigureCni",
            "{owed}"
        );

        // Another pod goes all the way, and the name and what lies under the debt stay held.
        let other = client.run(&["--name", "other"])?;
        client.call(["rm", "-f", &other])?.done()?;
        let said = fails(begin(&client, &["run", "--name", "web"])?)?;
        says(
            &said,
            &["the name web", &id, "owes the undo of ConfigureCni"],
        )?;

        // After the grace Stop and Remove succeed; a removed one is in no list but the ledger.
        let stopped = wait::until(PATIENCE, || {
            Ok((client.call(["stop", &id])?.code == 0).then_some(()))
        })?;
        stopped.context("Stop reports the debt for ever")?;
        client.remove(&id)?;
        ensure!(client.list(true)?.is_empty(), "{:?}", client.list(true)?);
        let detail = client.inspect(&id)?;
        let attempts = detail["owed"][0]["attempts"].as_u64();
        ensure!(attempts >= Some(2), "{detail:#}");
        ensure!(
            detail["goal"] == "Remove" && detail["state"] != "Created",
            "{detail:#}"
        );
        // It is recorded, survives the daemon, and the namespace is still pinned.
        let journal = client.call(["journal", &id, "--output", "json"])?;
        let journal = journal.done()?.stdout.replace(char::is_whitespace, "");
        // In a record of its own, or in the snapshot that has taken the place of many.
        let recorded = ["\"Outlived\"", "\"outlived\":\"Remove\""];
        ensure!(
            recorded.iter().any(|words| journal.contains(words)),
            "{journal}"
        );
        let scene = scene.restart(End::Kill)?;
        let client = scene.client();
        ensure!(client.list(true)?.is_empty());
        let key = detail["networkSettings"]["SandboxKey"]
            .as_str()
            .context("no key")?;
        ensure!(
            outside::namespace_on(key.as_ref())?.is_some(),
            "{key} is not pinned"
        );

        // Paid as soon as that is possible, by whoever asks or by the daemon itself.
        plugin.set_script(&Script::new())?;
        client.remove(&id)?;
        ensure!(
            client.call(["inspect", &id])?.code == 3,
            "the debt is not paid"
        );
        scene.close()
    })
}

/// A namespace file that is missing, empty or no namespace: Stop succeeds, twice, and CNI hears of no
/// namespace.
#[test]
fn scenario_09_a_namespace_file_that_is_none_holds_no_stop() -> Result<()> {
    node::run(Layout::V2, || {
        let stage = Stage::set()?;
        let plugin = stage.scripted(fine(), fine())?;
        let scene = stage.open()?;
        let client = scene.client();
        for variant in ["missing", "empty", "garbage"] {
            let id = client.run(&["--name", variant])?;
            let told = Told::by(&client.inspect(&id)?)?;
            let key = told.key.to_str().context("a path")?;
            system(&format!("umount {key}"))?;
            match variant {
                "missing" => fs::remove_file(key)?,
                "garbage" => fs::write(key, "garbage")?,
                _ => {}
            }
            for _ in 0..2 {
                client.stop(&id).context(variant)?;
            }
            let last = plugin.records()?.pop().context("no record")?;
            ensure!(last.command == "DEL", "{last:?}");
            let netns = last.environment.get("CNI_NETNS").map_or("", String::as_str);
            ensure!(netns.is_empty(), "{variant}: CNI_NETNS is {netns}");
            if variant == "garbage" {
                // What somebody has put there is not ours to delete.
                let said = fails(begin(&client, &["rm", &id])?)?;
                says(&said, &[key, "not a namespace file", "move it away"])?;
                fs::remove_file(key)?;
            }
            client.remove(&id).context(variant)?;
        }
        scene.close()
    })
}

/// The mount is held in another mount namespace: Stop and Remove converge. Looking changes nothing.
#[test]
fn scenario_13_a_mount_that_is_held_elsewhere_holds_no_stop() -> Result<()> {
    node::run(Layout::V2, || {
        let scene = Scene::open(&[podnet()])?;
        let client = scene.client();
        let id = client.run(&["--name", "web"])?;
        let told = scene::agrees_with_outside(&client.inspect(&id)?)?;
        let mut command = std::process::Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sleep", "infinity"]);
        let mut holder = command.spawn()?;
        let path = format!("/proc/{}/mountinfo", holder.id());
        // It becomes the sleeper when its mounts are made private, and not before.
        let held = wait::until(PATIENCE, || {
            let name = fs::read_to_string(format!("/proc/{}/comm", holder.id()))?;
            Ok((name == "sleep\n").then_some(()))
        })?;
        held.context("unshare does not come to its program")?;
        ensure!(
            fs::read_to_string(&path)?.contains(&id),
            "the mount is not held"
        );
        for _ in 0..5 {
            client.inspect(&id)?;
            client.list(true)?;
        }
        ensure!(
            outside::mounts_on(&told.key)? == 1,
            "a status call has unmounted"
        );
        client.stop(&id)?;
        scene::is_stopped(&told)?;
        client.stop(&id)?;
        ensure!(
            fs::read_to_string(&path)?.contains(&id),
            "it is not held any more"
        );
        client.remove(&id)?;
        ensure!(!told.key.exists());
        holder.kill()?;
        holder.wait()?;
        scene.close()
    })
}

/// Of three networks the second fails to let go: the others are released, the debt names the second.
#[test]
fn scenario_19_one_network_that_does_not_let_go_holds_no_other() -> Result<()> {
    node::run(Layout::V2, || {
        let stage = Stage::set()?;
        let plugin = stage.scripted(fine(), failing("stays"))?;
        let second = behind(Bridge::new("second", "10.89.0.0/24"));
        let third = Bridge::new("third", "10.90.0.0/24");
        let scene = Scene::open_with(&stage.config, &[podnet(), second, third])?;
        let client = scene.client();
        let networks = "k8s.v1.cni.cncf.io/networks=second,third";
        let id = client.run(&["--name", "web", "--annotation", networks])?;
        let said = fails(begin(&client, &["stop", &id])?)?;
        says(&said, &["network second", "stays"])?;
        ensure!(!said.contains("network third"), "{said}");
        let owed = client.inspect(&id)?["owed"].clone();
        ensure!(owed.as_array().map(Vec::len) == Some(1), "{owed}");
        ensure!(owed[0]["attachment"] == "second", "{owed}");
        let left = scene.oracle().leftovers()?;
        let addresses = left.iter().filter(|line| line.starts_with("address"));
        let of_second = |line: &&String| line.ends_with("of network second");
        ensure!(addresses.clone().all(|line| of_second(&line)), "{left:?}");
        plugin.set_script(&Script::new())?;
        client.call(["rm", "-f", &id])?.done()?;
        scene.close()
    })
}

/// The sandbox's process is gone before DEL begins.
#[test]
fn scenario_20_the_sandbox_is_gone_before_its_network() -> Result<()> {
    node::run(Layout::V2, || {
        let stage = Stage::set()?;
        let go = node::disk().join("go");
        let plugin = stage.scripted(fine(), waiting_for(&go))?;
        let scene = stage.open()?;
        let client = scene.client();
        let id = client.run(&["--name", "web"])?;
        let detail = client.inspect(&id)?;
        let (sandbox, told) = (sandbox_of(&detail)?, Told::by(&detail)?);
        ensure!(lives(sandbox));
        let stop = begin(&client, &["stop", &id])?;
        has_been_called(&plugin, &["ADD", "DEL"])?;
        ensure!(!lives(sandbox), "the sandbox lives while DEL runs");
        ensure!(
            outside::namespace_on(&told.key)?.is_some(),
            "unmounted before DEL"
        );
        let netns = plugin.records()?[1].environment.get("CNI_NETNS").cloned();
        ensure!(netns.as_deref() == told.key.to_str(), "{netns:?}");
        fs::write(&go, "")?;
        succeeds(stop)?;
        scene::is_stopped(&told)?;
        client.remove(&id)?;
        scene.close()
    })
}

/// An operator unmounts the namespace: real plugins are not told of a path that is none, so that DEL
/// succeeds and the address is free.
#[test]
fn scenario_51_an_operator_s_umount_does_not_keep_the_address() -> Result<()> {
    node::run(Layout::V2, || {
        let scene = Scene::open(&[podnet().with_ports()])?;
        let client = scene.client();
        let id = client.run(&["--name", "web", "--port", "8080:80"])?;
        let told = Told::by(&client.inspect(&id)?)?;
        system(&format!("umount {}", told.key.display()))?;
        client.stop(&id)?;
        scene::is_stopped(&told)?;
        client.remove(&id)?;
        scene.close()
    })
}
