//! What goes wrong while ADD runs, and what DEL then does.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use podwalk_testkit::scripted_plugin::{Answer, Delegate, Script};
use podwalk_tests::node::{self, Layout};
use podwalk_tests::scene;
use podwalk_tests::{outside, wait};
use serde_json::json;

use crate::{
    PATIENCE, Stage, begin, behind, comes_to_be, failing, fails, fine, has_been_called, lives,
    podnet, says, succeeds, waiting_for,
};

/// The client goes away in the middle of ADD: the walk goes on without it, up as well as down.
#[test]
fn scenario_02_a_caller_that_goes_away_changes_nothing() -> Result<()> {
    node::run(Layout::V2, || {
        let stage = Stage::set()?;
        let go = node::disk().join("go");
        let plugin = stage.scripted(waiting_for(&go), fine())?;
        let scene = stage.open()?;
        let client = scene.client();
        let mut caller = begin(&client, &["run", "--name", "web"])?;
        has_been_called(&plugin, &["ADD"])?;
        caller.kill()?;
        caller.wait()?;
        fs::write(&go, "")?;
        let row = comes_to_be(&client, "web", |row| row["ready"] == true)?;
        let id = row["id"].as_str().context("id")?;
        scene::agrees_with_outside(&client.inspect(id)?)?;
        client.call(["rm", "-f", id])?.done()?;

        // The same with an ADD that fails: DEL runs to its end although nobody waits for it.
        fs::remove_file(&go)?;
        let fail = Answer {
            wait_for: Some(go.clone()),
            ..failing("too late")
        };
        plugin.set_script(&Script::new().on("ADD", fail))?;
        let mut caller = begin(&client, &["run", "--name", "web"])?;
        has_been_called(&plugin, &["ADD", "DEL", "ADD"])?;
        caller.kill()?;
        caller.wait()?;
        fs::write(&go, "")?;
        has_been_called(&plugin, &["ADD", "DEL", "ADD", "DEL"])?;
        crate::comes_to_be_empty(&client)?;
        scene.close()
    })
}

/// Two requests with the same metadata are one pod, also while the first one is in flight.
#[test]
fn scenario_10_a_retry_joins_the_walk_and_gets_its_id() -> Result<()> {
    node::run(Layout::V2, || {
        let stage = Stage::set()?;
        let go = node::disk().join("go");
        let plugin = stage.scripted(waiting_for(&go), fine())?;
        let scene = stage.open()?;
        let client = scene.client();
        let first = begin(&client, &["run", "--name", "web"])?;
        has_been_called(&plugin, &["ADD"])?;
        let second = begin(&client, &["run", "--name", "web"])?;
        // Another attempt at the same pod joins too.
        let file = node::disk().join("attempt.json");
        fs::write(&file, r#"{"metadata": {"name": "web", "attempt": 1}}"#)?;
        let third = begin(&client, &["run", file.to_str().context("a path")?])?;
        are_connected(3, client.address())?;
        fs::write(&go, "")?;
        let id = succeeds(first)?;
        ensure!(succeeds(second)? == id && succeeds(third)? == id);
        ensure!(client.run(&["--name", "web"])? == id);
        ensure!(plugin.commands()? == ["ADD"] && client.list(true)?.len() == 1);
        client.call(["rm", "-f", &id])?.done()?;
        scene.close()
    })
}

/// Waits until so many clients hold a connection to the daemon.
fn are_connected(count: usize, socket: &Path) -> Result<()> {
    let socket = socket.to_str().context("a path")?;
    let connected = wait::until(PATIENCE, || {
        let sockets = fs::read_to_string("/proc/net/unix")?;
        // The sixth field is the state; 03 is a connection that was accepted or waits for that.
        let mut fields = sockets
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let is_one = |line: &Vec<&str>| line.get(5) == Some(&"03") && line.last() == Some(&socket);
        let found = fields.by_ref().filter(is_one).count();
        Ok((found >= count).then_some(()))
    })?;
    connected.with_context(|| format!("not {count} connections"))
}

/// A plugin hangs and its grandchild holds its pipes: status is answered all the while, and at the
/// deadline both are killed.
#[test]
fn scenario_14_a_hanging_plugin_delays_nobody_and_dies_with_its_family() -> Result<()> {
    node::run(Layout::V2, || {
        let mut stage = Stage::set()?;
        // Short for a test, and long for a plugin on a busy machine.
        stage.config.file = Some("[cni]\nplugin_seconds = 10\n".to_owned());
        let pid_file = node::disk().join("grandchild");
        let hang = Answer {
            grandchild: Some(Delegate {
                pid_file: Some(pid_file.clone()),
                ..Delegate::default()
            }),
            hang: true,
            ..Answer::default()
        };
        let plugin = stage.scripted(hang, fine())?;
        let scene = stage.open()?;
        let client = scene.client();
        let mut start = begin(&client, &["run", "--name", "web"])?;
        let mut answered = 0;
        while start.try_wait()?.is_none() {
            let rows = client.list(true)?;
            ensure!(rows.iter().all(|row| row["ready"] == false), "{rows:?}");
            let alone = client.run(&["--name", "alone", "--network", "none"])?;
            client.call(["rm", "-f", &alone])?.done()?;
            answered += 1;
        }
        ensure!(answered >= 2, "only {answered} rounds in ten seconds");
        says(&fails(start)?, &["no end within 10s", "killed", "scripted"])?;
        ensure!(plugin.commands()? == ["ADD", "DEL"]);
        let grandchild = fs::read_to_string(pid_file)?.parse()?;
        ensure!(!lives(grandchild), "the grandchild {grandchild} lives");
        scene.close()
    })
}

/// Stop, and remove, while ADD runs: its end is waited for, and DEL follows.
#[test]
fn scenario_15_a_stop_or_remove_during_add_is_followed_by_del() -> Result<()> {
    node::run(Layout::V2, || {
        let stage = Stage::set()?;
        let go = node::disk().join("go");
        let plugin = stage.scripted(waiting_for(&go), fine())?;
        let scene = stage.open()?;
        let client = scene.client();
        let mut called = Vec::new();
        for (end, goal) in [
            (&["stop", "web"][..], "Stop"),
            (&["rm", "-f", "web"], "Remove"),
        ] {
            let start = begin(&client, &["run", "--name", "web"])?;
            called.push("ADD");
            has_been_called(&plugin, &called)?;
            let end = begin(&client, end)?;
            comes_to_be(&client, "web", |row| row["goal"] == goal)?;
            ensure!(plugin.commands()? == called, "DEL beside ADD");
            fs::write(&go, "")?;
            says(&fails(start)?, &["was stopped while it started"])?;
            succeeds(end)?;
            called.push("DEL");
            ensure!(plugin.commands()? == called, "{:?}", plugin.commands()?);
            fs::remove_file(&go)?;
            if goal == "Stop" {
                let row = client.list(true)?.remove(0);
                ensure!(row["state"] == "Created" && row["owed"] == 0, "{row}");
                client.remove("web")?;
            }
        }
        scene.close()
    })
}

/// Whatever ADD has printed, it may have done its work: DEL is sent.
#[test]
fn scenario_35_an_add_whose_result_cannot_be_read_is_followed_by_del() -> Result<()> {
    node::run(Layout::V2, || {
        let stage = Stage::set()?;
        let plugin = stage.scripted(fine(), fine())?;
        let scene = stage.open()?;
        let client = scene.client();
        let old = r#"{"cniVersion": "0.2.0", "ip4": {"ip": "10.0.0.300/24"}}"#;
        for (text, words) in [
            ("panic: out of order\ngoroutine 1", "panic: out of order"),
            ("", "cannot be read"),
            (old, "10.0.0.300"),
        ] {
            let add = Answer {
                stdout: Some(text.to_owned()),
                ..Answer::default()
            };
            plugin.set_script(&Script::new().on("ADD", add))?;
            let before = plugin.commands()?.len();
            let said = fails(begin(&client, &["run", "--name", "web"])?)?;
            says(
                &said,
                &["ConfigureCni", "network podnet", "plugin scripted", words],
            )?;
            ensure!(plugin.commands()?[before..] == ["ADD", "DEL"]);
            scene.oracle().assert_clean()?;
        }
        scene.close()
    })
}

/// The first cause comes first, and after it what the clean-up met.
#[test]
fn scenario_36_the_first_cause_is_told_first() -> Result<()> {
    node::run(Layout::V2, || {
        let stage = Stage::set()?;
        let plugin = stage.scripted(failing("no uplink"), failing("lost the lease"))?;
        let scene = stage.open()?;
        let client = scene.client();
        let said = fails(begin(&client, &["run", "--name", "web"])?)?;
        let at = |word: &str| {
            said.find(word)
                .with_context(|| format!("no {word:?}: {said}"))
        };
        ensure!(at("no uplink")? < at("undoing ConfigureCni")?, "{said}");
        ensure!(
            at("undoing ConfigureCni")? < at("lost the lease")?,
            "{said}"
        );
        // It stays so however often the undo fails.
        says(
            &fails(begin(&client, &["stop", "web"])?)?,
            &["lost the lease"],
        )?;
        let detail = client.inspect("web")?;
        let step = detail["steps"][3].clone();
        ensure!(step["step"] == "ConfigureCni", "{step}");
        says(step["error"].as_str().unwrap_or_default(), &["no uplink"])?;
        plugin.set_script(&Script::new())?;
        client.call(["rm", "-f", "web"])?.done()?;
        scene.close()
    })
}

/// The bandwidth that annotations ask for reaches the plugin, in both directions.
#[test]
fn scenario_43_bandwidth_reaches_the_plugin() -> Result<()> {
    node::run(Layout::V2, || {
        let stage = Stage::set()?;
        let plugin = stage.scripted(fine(), fine())?;
        let entry = json!({"type": "scripted", "capabilities": {"bandwidth": true}});
        let network = podnet().then(entry).then(json!({
            "type": "bandwidth", "capabilities": {"bandwidth": true}
        }));
        let scene = scene::Scene::open_with(&stage.config, &[network])?;
        let client = scene.client();
        let id = client.run(&[
            "--name",
            "web",
            "--annotation",
            "kubernetes.io/ingress-bandwidth=10M",
            "--annotation",
            "kubernetes.io/egress-bandwidth=20M",
        ])?;
        let asked = plugin.records()?[0].stdin["runtimeConfig"]["bandwidth"].clone();
        ensure!(asked["ingressRate"] == 10_000_000, "{asked}");
        ensure!(asked["egressRate"] == 20_000_000, "{asked}");
        // And the real plugin has made queues of it.
        let queues = outside::output(Command::new("tc").args(["qdisc", "show"]))?;
        ensure!(
            queues.contains("tbf") && queues.contains("10Mbit"),
            "{queues}"
        );
        client.call(["rm", "-f", &id])?.done()?;
        scene.close()
    })
}

/// The first plugin of a chain has succeeded, the last one is not there: what is owed runs when it is.
#[test]
fn scenario_03_a_del_that_is_owed_runs_when_the_binary_is_back() -> Result<()> {
    node::run(Layout::V2, || {
        let stage = Stage::set()?;
        let scene = scene::Scene::open_with(&stage.config, &[behind(podnet())])?;
        let client = scene.client();
        let said = fails(begin(&client, &["run", "--name", "web"])?)?;
        let words = [
            "ConfigureCni failed: ADD",
            "plugin scripted",
            "in none of",
            "install it",
            "undoing",
        ];
        says(&said, &words)?;
        let row = client.list(false)?.remove(0);
        ensure!(row["owed"] == 1 && row["ready"] == false, "{row}");
        let owed = client.inspect("web")?["owed"][0].clone();
        ensure!(
            owed["step"] == "ConfigureCni" && owed["attachment"] == "podnet",
            "{owed}"
        );
        says(
            owed["lastError"].as_str().unwrap_or_default(),
            &["DEL", "scripted"],
        )?;
        // It outlives the daemon.
        let scene = scene.restart(scene::End::Kill)?;
        let client = scene.client();
        comes_to_be(&client, "web", |row| row["owed"] == 1)?;
        // Nobody asks: the daemon tries again by itself.
        stage.plugins.scripted("scripted", &Script::new())?;
        crate::comes_to_be_empty(&client)?;
        scene.close()
    })
}
