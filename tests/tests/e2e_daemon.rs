//! The daemon as its clients and its supervisor see it: exits, events, logs, an orderly end.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use podwalk_testkit::lines;
use podwalk_testkit::scripted_plugin::{Answer, Script};
use podwalk_tests::conflist::Bridge;
use podwalk_tests::daemon::{Client, Config};
use podwalk_tests::node::{self, Layout};
use podwalk_tests::plugins::Plugins;
use podwalk_tests::scene::{End, Scene};
use podwalk_tests::wait;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

fn podnet() -> Bridge {
    Bridge::new("podnet", "10.88.0.0/24")
}

/// `podwalk events`, line by line.
struct Events {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Events {
    fn since(client: &Client, cursor: Option<&str>) -> Result<Self> {
        let mut arguments = vec!["events", "--output", "json"];
        if let Some(cursor) = cursor {
            arguments.extend(["--since", cursor]);
        }
        let mut command = client.command(arguments)?;
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = child.stdout.take().context("stdout")?;
        let lines = BufReader::new(stdout).lines();
        Ok(Self { child, lines })
    }

    /// The next event of this kind, and those that came before it.
    fn until(&mut self, kind: &str) -> Result<Vec<Value>> {
        let mut seen = Vec::new();
        loop {
            let line = self
                .lines
                .next()
                .with_context(|| format!("no {kind} in {seen:#?}"))??;
            let event: Value = serde_json::from_str(&line)?;
            let found = event["event"] == kind;
            seen.push(event);
            if found {
                return Ok(seen);
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether the daemon is asked now or later, the stream begins before the walk.
fn cursor_of(event: &Value) -> Result<&str> {
    event["cursor"].as_str().context("a cursor")
}

#[test]
fn an_exit_is_noticed_at_once_published_and_kept() -> Result<()> {
    node::run(Layout::V1, || {
        let scene = Scene::open(&[podnet()])?;
        let client = scene.client();
        let id = client.run(&["--name", "web"])?;
        let mut events = Events::since(&client, Some("0-0"))?;
        events.until("started")?;
        let pid = client.inspect(&id)?["sandbox"]["pid"]
            .as_i64()
            .context("pid")?;
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid)?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)?;

        let exited = events.until("exited")?.pop().context("an event")?;
        drop(events);
        ensure!(exited["pod"]["id"] == id.as_str(), "{exited}");
        ensure!(
            exited["pod"]["ready"] == false,
            "the status is older than the event: {exited}"
        );
        let pod = client.inspect(&id)?;
        ensure!(
            pod["ready"] == false && pod["sandbox"]["exited"] == true,
            "{pod:#}"
        );
        // Where the kernel tells the code, it is that of SIGKILL.
        let code = &pod["sandbox"]["exitCode"];
        ensure!(code.is_null() || *code == 137, "{code}");
        // The network is kept until stop.
        let address = pod["networkSettings"]["IPAddress"]
            .as_str()
            .context("address")?;
        ensure!(address.starts_with("10.88.0."), "{pod:#}");
        ensure!(pod["networkSettings"]["Activation"] == true);
        // A new pod of the same name may start now.
        let second = client.run(&["--name", "web"])?;
        ensure!(second != id);
        client.call(["rm", "-f", &id, &second])?.done()?;
        scene.close()
    })
}

#[test]
fn scenario_26_a_sandbox_that_died_while_the_daemon_was_down_is_not_ready() -> Result<()> {
    node::run(Layout::V2, || {
        let scene = Scene::open(&[podnet()])?;
        let id = scene.client().run(&["--name", "web"])?;
        let before = scene.client().inspect(&id)?;
        let pid = before["sandbox"]["pid"].as_i64().context("pid")?;
        let config = scene.daemon().config().clone();
        let oracle_scene = scene.end(End::Kill)?;
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(i32::try_from(pid)?),
            nix::sys::signal::Signal::SIGKILL,
        )?;
        let scene = oracle_scene.begin(&config)?;
        let client = scene.client();
        let dead = wait::until(PATIENCE, || {
            let pod = client.inspect(&id)?;
            Ok((pod["sandbox"]["exited"] == true).then_some(pod))
        })?;
        let pod = dead.context("its end is not noticed")?;
        ensure!(pod["ready"] == false, "{pod:#}");
        let address = |pod: &Value| pod["networkSettings"]["IPAddress"].clone();
        ensure!(
            address(&pod) == address(&before),
            "the network is kept until stop"
        );
        client.stop(&id)?;
        client.remove(&id)?;
        scene.close()
    })
}

#[test]
fn events_go_on_from_a_cursor_and_say_when_they_cannot() -> Result<()> {
    node::run(Layout::V2, || {
        let scene = Scene::open(&[podnet()])?;
        let client = scene.client();
        let id = client.run(&["--name", "web"])?;
        let all = Events::since(&client, Some("0-0"))?.until("started")?;
        // A cursor of no opening of this journal: the client is told to look anew.
        ensure!(all[0]["event"] == "gap", "{all:#?}");
        let words: Vec<&str> = all[1..]
            .iter()
            .filter_map(|e| e["event"].as_str())
            .collect();
        let walk = [
            "asked",
            "created",
            "netns-mounted",
            "network-ready",
            "cni-configured",
            "started",
        ];
        ensure!(words == walk, "{words:?}");
        for event in &all[1..] {
            ensure!(
                event["pod"]["id"] == id.as_str(),
                "scenario 25, an empty status: {event}"
            );
        }
        let middle = cursor_of(&all[3])?;
        let rest = Events::since(&client, Some(middle))?.until("started")?;
        ensure!(rest == all[4..], "{rest:#?}");
        let refused = client.call(["events", "--since", "yesterday"])?;
        ensure!(
            refused.code == 1 && refused.stderr.contains("cursor"),
            "{refused:?}"
        );
        client.call(["rm", "-f", &id])?.done()?;
        scene.close()
    })
}

#[test]
fn events_of_a_daemon_that_was_killed_are_told_from_the_journal() -> Result<()> {
    node::run(Layout::V2, || {
        let scene = Scene::open(&[podnet()])?;
        let client = scene.client();
        let id = client.run(&["--name", "web"])?;
        let all = Events::since(&client, Some("0-0"))?.until("started")?;
        let before = cursor_of(&all[3])?.to_owned();
        let scene = scene.restart(End::Kill)?;
        let client = scene.client();
        let told = Events::since(&client, Some(&before))?.until("started")?;
        let plain = |events: &[Value]| -> Vec<(Value, Value, Value)> {
            let fields = |e: &Value| (e["event"].clone(), e["at"].clone(), e["pod"]["id"].clone());
            events.iter().map(fields).collect()
        };
        ensure!(told[0]["event"] == "gap", "{told:#?}");
        ensure!(plain(&told[1..]) == plain(&all[1..]), "{told:#?}");
        ensure!(told[1]["pod"]["id"] == id.as_str());
        let on = cursor_of(&told[told.len() - 2])?;
        let rest = Events::since(&client, Some(on))?.until("started")?;
        ensure!(
            rest == told[told.len() - 1..],
            "a cursor of this opening needs no gap: {rest:#?}"
        );
        client.call(["rm", "-f", &id])?.done()?;
        scene.close()
    })
}

#[test]
fn logs_are_json_when_asked_for() -> Result<()> {
    node::run(Layout::V2, || {
        let config = Config {
            file: Some("[log]\nformat = 'json'\nfilter = 'debug'\n".to_owned()),
            ..Config::default()
        };
        let scene = Scene::open_with(&config, &[podnet()])?;
        let client = scene.client();
        let id = client.run(&["--name", "web"])?;
        client.call(["rm", "-f", &id])?.done()?;
        let log = lines::whole(&config.log())?;
        for line in &log {
            let line: Value = serde_json::from_str(line).with_context(|| line.clone())?;
            ensure!(
                line["level"].is_string() && line["timestamp"].is_string(),
                "{line}"
            );
        }
        ensure!(log.len() > 1, "{log:?}");
        scene.close()
    })
}

#[test]
fn sigterm_waits_for_the_effect_under_way_and_the_next_daemon_goes_on() -> Result<()> {
    node::run(Layout::V1, || {
        let mut config = Config::default();
        let plugins = Plugins::before(&mut config)?;
        let go = node::disk().join("go");
        let slow = Answer {
            wait_for: Some(go.clone()),
            result: Some(json!({"cniVersion": "1.0.0"})),
            ..Answer::default()
        };
        let slow = plugins.scripted("slow", &Script::new().on("ADD", slow))?;
        let scene = Scene::open_with(&config, &[podnet().then(json!({"type": "slow"}))])?;
        let mut run = scene.client().command(["run", "--name", "web"])?.spawn()?;
        let called = wait::until(PATIENCE, || {
            Ok(slow.commands()?.contains(&"ADD".to_owned()).then_some(()))
        })?;
        called.context("ADD is not called")?;
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(i32::try_from(scene.daemon().pid())?),
            nix::sys::signal::Signal::SIGTERM,
        )?;
        let ending = wait::until(PATIENCE, || {
            Ok(scene.daemon().log().contains("no new effect").then_some(()))
        })?;
        ending.context("SIGTERM is not noticed")?;
        std::fs::write(&go, "")?;
        ensure!(
            !run.wait()?.success(),
            "the caller is told that the daemon ends"
        );
        let scene = scene.end(End::Awaited)?.begin(&config)?;
        // ADD was recorded, so that it is not run a second time.
        let client = scene.client();
        let up = wait::until(PATIENCE, || {
            let pods = client.list(true)?;
            Ok(pods.iter().any(|pod| pod["ready"] == true).then_some(()))
        })?;
        up.with_context(|| format!("the start does not go on: {}", scene.daemon().log()))?;
        ensure!(slow.commands()? == ["ADD"], "{:?}", slow.commands()?);
        client.call(["rm", "-f", "web"])?.done()?;
        scene.close()
    })
}

#[test]
fn a_stop_during_start_kills_at_once() -> Result<()> {
    node::run(Layout::V2, || {
        // A runtime that never comes to an end.
        let runtime = node::disk().join("sleepy");
        std::fs::write(&runtime, "#!/bin/sh\nexec sleep 1000\n")?;
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&runtime, executable)?;
        let config = Config {
            file: Some(format!(
                "[runtime.handlers.sleepy]\nbinary = '{}'\nstart_seconds = 100\n",
                runtime.display()
            )),
            ..Config::default()
        };
        let scene = Scene::open_with(&config, &[podnet()])?;
        let client = scene.client();
        let mut run = client
            .command(["run", "--name", "web", "--runtime", "sleepy"])?
            .spawn()?;
        let starting = wait::until(PATIENCE, || {
            let pods = client.list(true)?;
            Ok(pods
                .iter()
                .any(|pod| pod["state"] == "CniConfigured")
                .then_some(()))
        })?;
        starting.context("it does not come to Start")?;
        // Far below the runtime's deadline: else this test's own would end it.
        let removed = client.call(["rm", "-f", "web"])?;
        ensure!(
            !run.wait()?.success(),
            "a pod that was removed did not start"
        );
        let names: BTreeSet<String> = client
            .list(true)?
            .iter()
            .map(|pod| pod["name"].to_string())
            .collect();
        ensure!(removed.code == 0, "{removed:?} {names:?}");
        scene.close()
    })
}

#[test]
fn networks_declared_exclusive_are_collected_after_a_restart() -> Result<()> {
    node::run(Layout::V2, || {
        let mut config = Config {
            file: Some("[cni]\nexclusive_networks = ['mine']\n".to_owned()),
            ..Config::default()
        };
        let plugins = Plugins::before(&mut config)?;
        let add = Answer {
            result: Some(json!({"cniVersion": "1.1.0"})),
            ..Answer::default()
        };
        let plugin = plugins.scripted("tracker", &Script::new().on("ADD", add))?;
        for name in ["mine", "shared"] {
            let list =
                json!({"cniVersion": "1.1.0", "name": name, "plugins": [{"type": "tracker"}]});
            let path = config.cni_conf_dir.join(format!("10-{name}.conflist"));
            std::fs::create_dir_all(&config.cni_conf_dir)?;
            std::fs::write(path, list.to_string())?;
        }
        let scene = Scene::open_with(&config, &[])?;
        let id = scene.client().run(&["--name", "web"])?;
        let scene = scene.restart(End::Kill)?;
        let collected = wait::until(PATIENCE, || {
            let records = plugin.records()?.into_iter();
            let mut gc = records
                .filter(|r| r.command == "GC" && r.stdin["cni.dev/valid-attachments"] != json!([]));
            Ok(gc.next())
        })?;
        let gc = collected.context("GC is not run")?;
        ensure!(gc.stdin["name"] == "mine", "{:#}", gc.stdin);
        let valid = json!([{"containerID": id, "ifname": "eth0"}]);
        ensure!(
            gc.stdin["cni.dev/valid-attachments"] == valid,
            "{:#}",
            gc.stdin
        );
        scene.client().call(["rm", "-f", &id])?.done()?;
        scene.close()
    })
}

#[test]
fn torn_addresses_are_given_back_only_where_the_network_is_ours_alone() -> Result<()> {
    node::run(Layout::V2, || {
        let config = Config {
            file: Some("[cni]\nexclusive_networks = ['mine']\n".to_owned()),
            ..Config::default()
        };
        let networks = [
            Bridge::new("mine", "10.71.0.0/24"),
            Bridge::new("shared", "10.72.0.0/24"),
        ];
        let scene = Scene::open_with(&config, &networks)?;
        let id = scene.client().run(&["--name", "web"])?;
        // One in which host-local has worked for somebody else.
        std::fs::create_dir("/var/lib/cni/networks/shared")?;
        std::fs::write("/var/lib/cni/networks/shared/lock", "")?;
        // What is left of a host-local that dies between two of its system calls.
        let torn = Path::new("/var/lib/cni/networks/mine/10.71.0.99");
        let reserved = Path::new("/var/lib/cni/networks/shared/10.72.0.99");
        for path in [torn, reserved] {
            std::fs::write(path, "")?;
        }
        let scene = scene.restart(End::Kill)?;
        let gone = wait::until(PATIENCE, || Ok((!torn.exists()).then_some(())))?;
        ensure!(gone.is_some(), "{} is not given back", torn.display());
        let held = std::fs::read_to_string("/var/lib/cni/networks/mine/10.71.0.2")?;
        ensure!(!held.is_empty(), "a pod's address is no longer its own");
        scene.client().call(["rm", "-f", &id])?.done()?;
        ensure!(
            reserved.exists(),
            "an operator may have kept {} free",
            reserved.display()
        );
        std::fs::remove_file(reserved)?;
        std::fs::remove_file("/var/lib/cni/networks/shared/lock")?;
        scene.close()
    })
}

#[test]
fn a_daemon_that_is_down_is_planned_for_and_read_from_a_copy() -> Result<()> {
    node::run(Layout::V2, || {
        let scene = Scene::open(&[podnet()])?;
        let client = scene.client();
        let id = client.run(&["--name", "web"])?;
        let live = client.json(&["plan"])?;
        ensure!(live["pods"][0]["verdict"] == "adopt", "{live:#}");
        let config = scene.daemon().config().clone();
        let state = config.state_dir.to_str().context("a path")?.to_owned();
        let records = client.json(&["journal", "web"])?;
        let scene = scene.end(End::Kill)?;
        let plan = client.json(&["plan", "--state-dir", &state])?;
        ensure!(plan == live, "{plan:#}");
        let copy = client.json(&["journal", &id[..12], "--state-dir", &state])?;
        ensure!(copy == records, "{copy:#}");
        let none = client.call(["journal", "nobody", "--state-dir", &state])?;
        ensure!(none.code == 3, "{none:?}");
        let down = client.call(["ps"])?;
        ensure!(
            down.code == 4 && down.stderr.contains("podwalk serve"),
            "{down:?}"
        );
        let scene = scene.begin(&config)?;
        scene.client().call(["rm", "-f", &id])?.done()?;
        scene.close()
    })
}

#[test]
fn exit_codes_tell_usage_missing_pods_and_missing_daemons_apart() -> Result<()> {
    node::run(Layout::V2, || {
        let scene = Scene::open(&[podnet()])?;
        let client = scene.client();
        for (arguments, code) in [
            (&["inspect", "nobody"][..], 3),
            (&["stop", "nobody"], 3),
            (&["rm", "nobody"], 3),
            (&["rm", "-f", "nobody"], 0),
            (&["journal", "nobody"], 3),
            (&["frobnicate"], 2),
            (&["stop"], 2),
            (&["run"], 2),
            (&["run", "--name", "x", "--port", "0:80"], 2),
        ] {
            let answer = client.call(arguments)?;
            ensure!(answer.code == code, "{arguments:?}: {answer:?}");
        }
        let id = client.run(&["--name", "web"])?;
        let runs = client.call(["rm", "web"])?;
        ensure!(runs.code == 1 && runs.stderr.contains("rm -f"), "{runs:?}");
        client.call(["rm", "-f", &id])?.done()?;
        scene.close()
    })
}
