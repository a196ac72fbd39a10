//! What is true of handlers that are shims.

use std::fs;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use podwalk_testkit::scripted_shim::{Act, Script};
use podwalk_tests::conflist::Bridge;
use podwalk_tests::daemon::{Client, Config};
use podwalk_tests::handlers::{Handler, SCRIPTED_SHIM, SHIM_RUNC, scripted};
use podwalk_tests::node::{self, Layout};
use podwalk_tests::scene::{self, End, Scene};
use podwalk_tests::wait;
use serde_json::Value;

use crate::PATIENCE;
use crate::suite::{becomes, says};

fn podnet() -> Bridge {
    Bridge::new("podnet", "10.88.0.0/24")
}

/// Ends a pod's shim, and nothing else of it.
fn kill_shim(id: &str) -> Result<()> {
    let record = fs::read(format!("/run/podwalk/bundles/{id}/shim.json"))?;
    let record: Value = serde_json::from_slice(&record)?;
    let pid = record["pid"].as_i64().context("the shim's pid")?;
    kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGKILL)?;
    Ok(())
}

fn start(client: &Client, handler: Handler, name: &str) -> Result<String> {
    client.run(&["--name", name, "--runtime", handler.name])
}

/// One shim dies beside the daemon, another without it; no pod is ready after that.
fn without_its_shim(handler: Handler) -> Result<()> {
    let config = handler.configured()?;
    let scene = Scene::open_with(&config, &[podnet()])?;
    let client = scene.client();
    let ids = ["web", "stays", "later"].map(|name| start(&client, handler, name));
    let [web, stays, later] = ids;
    let (_, later) = (stays?, later?);
    kill_shim(&web?)?;
    becomes(&client, "web", |pod| pod["ready"] == false)?;
    ensure!(is_ready(&client, "stays")?, "the others' shims live");
    client.call(["rm", "-f", "web"])?.done()?;
    let scene = scene.end(End::Kill)?;
    kill_shim(&later)?;
    let scene = scene.begin(&config)?;
    let client = scene.client();
    becomes(&client, "later", |pod| pod["ready"] == false)?;
    ensure!(is_ready(&client, "stays")?, "the others' shims live");
    for name in ["later", "stays"] {
        client.stop(name)?;
        client.remove(name)?;
    }
    scene.close()
}

fn is_ready(client: &Client, name: &str) -> Result<bool> {
    Ok(client.inspect(name)?["ready"] == true)
}

#[test]
fn scenario_46_a_pod_whose_shim_was_killed_goes_with_all_that_was_its_own() -> Result<()> {
    node::run(Layout::V1, || without_its_shim(SHIM_RUNC))
}

#[test]
fn scenario_46_a_machine_whose_shim_was_killed_goes_too() -> Result<()> {
    node::run(Layout::V2, || without_its_shim(SCRIPTED_SHIM))
}

#[test]
fn a_handler_whose_kind_is_changed_under_a_pod_owes_it_until_it_is_changed_back() -> Result<()> {
    node::run(Layout::V1, || {
        let before = SHIM_RUNC.configured()?;
        let scene = Scene::open_with(&before, &[podnet()])?;
        start(&scene.client(), SHIM_RUNC, "web")?;
        let mut other = before.clone();
        other.file =
            Some("[runtime.handlers.shim-runc]\nkind = 'oci'\nbinary = 'runc'\n".to_owned());
        let scene = scene.end(End::Kill)?.begin(&other)?;
        let client = scene.client();
        becomes(&client, "web", |pod| pod["ready"] == false)?;
        let answer = client.call(["rm", "-f", "web"])?;
        ensure!(answer.code == 1, "{answer:?}");
        says(
            &answer.stderr,
            &[
                "kind",
                "'shim-runc'",
                "set runtime.handlers.shim-runc.kind back",
            ],
        )?;
        let scene = scene.end(End::Kill)?.begin(&before)?;
        scene.client().call(["rm", "-f", "web"])?.done()?;
        scene.close()
    })
}

/// A start that was cut is not recorded as a shim's; its bundle tells.
#[test]
fn a_handler_whose_kind_is_changed_under_a_start_owes_it_too() -> Result<()> {
    node::run(Layout::V2, || {
        let hang = Act {
            hang: true,
            ..Act::default()
        };
        let (shim, file) = scripted("cut", &Script::new().on("Create", hang))?;
        let before = Config::with_file(file + "[recovery]\nresume = false\n");
        let scene = Scene::open_with(&before, &[podnet()])?;
        let run = ["run", "--name", "web", "--runtime", "cut"];
        let mut asked = scene.client().command(run)?.spawn()?;
        let created = wait::until(PATIENCE, || {
            let names = shim.names()?;
            Ok(names.contains(&"Create".to_owned()).then_some(()))
        })?;
        created.context("it is not asked to create")?;
        let interval = scene.end(End::Kill)?;
        ensure!(!asked.wait()?.success(), "it was cut");
        let other = "[runtime.handlers.cut]\nbinary = 'runc'\n".to_owned();
        let other = Config::with_file(other + "[recovery]\nresume = false\n");
        let scene = interval.begin(&other)?;
        let answer = scene.client().call(["rm", "-f", "web"])?;
        ensure!(answer.code == 1, "{answer:?}");
        says(&answer.stderr, &["set runtime.handlers.cut.kind back"])?;
        let scene = scene.end(End::Kill)?.begin(&before)?;
        let gone = wait::until(PATIENCE, || {
            Ok(scene.client().list(true)?.is_empty().then_some(()))
        })?;
        gone.context("it does not go")?;
        scene.close()
    })
}

/// A shim that does not do its part: the start fails in words that say which, and leaves nothing.
#[test]
fn scenario_33_shims_that_are_broken() -> Result<()> {
    node::run(Layout::V2, || {
        let fail = |why: &str| Act {
            fail: Some(why.to_owned()),
            ..Act::default()
        };
        let die = Act {
            die: true,
            ..Act::default()
        };
        let hang = Act {
            hang: true,
            ..Act::default()
        };
        let nonsense = Act {
            print: Some("http://nobody".to_owned()),
            ..Act::default()
        };
        let exits = Act {
            exit_first: true,
            ..Act::default()
        };
        let cases: [(&str, &str, Act, &[&str]); 9] = [
            ("no-start", "start", fail("no kernel"), &["no kernel"]),
            ("dead-start", "start", die.clone(), &["signal"]),
            ("slow-start", "start", hang.clone(), &["longer than 3s"]),
            ("nonsense", "start", nonsense, &["http://nobody"]),
            ("no-create", "Create", fail("no kvm"), &["Create", "no kvm"]),
            ("dead-create", "Create", die, &["Create"]),
            ("slow-create", "Create", hang, &["Create within"]),
            ("no-begin", "Start", fail("no boot"), &["Start", "no boot"]),
            ("short", "Start", exits, &["ended"]),
        ];
        let mut file = String::new();
        for (name, call, act, _) in &cases {
            let (_, configuration) = scripted(name, &Script::new().on(call, act.clone()))?;
            file += &format!("{configuration}vm = true\n");
            if name.starts_with("slow") {
                file += "start_seconds = 3\n";
            }
        }
        file += "[runtime.handlers.missing]\nkind = 'shim'\nbinary = '/opt/no-shim'\n";
        let scene = Scene::open_with(&Config::with_file(file), &[podnet()])?;
        let client = scene.client();
        let missing: (&str, &[&str]) = ("missing", &["/opt/no-shim", "was not found"]);
        let cases = cases.iter().map(|(name, _, _, words)| (*name, *words));
        for (name, words) in cases.chain([missing]) {
            let answer = client.call(["run", "--name", "web", "--runtime", name])?;
            ensure!(answer.code == 1, "{name}: {answer:?}");
            says(&answer.stderr, &[&["Start failed"], words].concat()).context(name)?;
            let left = client.list(true)?;
            ensure!(left.is_empty(), "{name}: refused, and there: {left:?}");
            scene.oracle().assert_clean().context(name)?;
        }
        client.run(&["--name", "web"])?;
        client.call(["rm", "-f", "web"])?.done()?;
        scene.close()
    })
}

/// Its pods are not touched, are told of as not ready, and are adopted when it is back.
#[test]
fn scenario_39_a_shim_s_handler_vanishes_and_comes_back() -> Result<()> {
    node::run(Layout::V2, || {
        let with = SCRIPTED_SHIM.configured()?;
        let scene = Scene::open_with(&with, &[podnet()])?;
        for name in ["web", "stays"] {
            start(&scene.client(), SCRIPTED_SHIM, name)?;
        }
        let scene = scene.end(End::Kill)?.begin(&Config::default())?;
        let client = scene.client();
        for name in ["web", "stays"] {
            becomes(&client, name, |pod| pod["ready"] == false)?;
        }
        let answer = client.call(["rm", "-f", "web"])?;
        ensure!(answer.code == 1, "{answer:?}");
        says(&answer.stderr, &["no runtime handler 'scripted'"])?;
        let scene = scene.end(End::Kill)?.begin(&with)?;
        let client = scene.client();
        let pod = becomes(&client, "stays", |pod| pod["ready"] == true)?;
        scene::agrees_with_outside(&pod)?;
        client.call(["rm", "-f", "web"])?.done()?;
        client.call(["rm", "-f", "stays"])?.done()?;
        scene.close()
    })
}
