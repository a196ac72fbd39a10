//! What a daemon finds that an earlier one left.

use std::fs;

use anyhow::{Context, Result, ensure};
use podwalk_testkit::scripted_plugin::{Answer, Delegate, Script};
use podwalk_tests::daemon::{Client, Config};
use podwalk_tests::node::{self, Layout};
use podwalk_tests::scene::{self, End, Scene};
use podwalk_tests::wait;

use crate::{
    PATIENCE, Stage, begin, comes_to_be, fails, fine, has_been_called, lives, podnet, sandbox_of,
    says, waiting_for,
};

/// A runtime handler vanishes from the configuration: its pods stay, are not ready, and are adopted
/// when it is back. Remove does what it can and owes the rest.
#[test]
fn scenario_39_pods_of_a_handler_that_has_vanished_stay() -> Result<()> {
    node::run(Layout::V2, || {
        let config = Config::with_file("[runtime.handlers.mine]\nbinary = '/usr/bin/crun'\n");
        let scene = Scene::open_with(&config, &[podnet()])?;
        let client = scene.client();
        for name in ["one", "two"] {
            client.run(&["--name", name, "--runtime", "mine"])?;
        }
        let before = client.inspect("one")?;
        let mut without = config.clone();
        without.file = None;
        let scene = scene.end(End::Terminate)?.begin(&without)?;
        let client = scene.client();
        let rows = client.list(true)?;
        ensure!(rows.len() == 2, "{rows:?}");
        ensure!(rows.iter().all(|row| row["ready"] == false), "{rows:?}");
        ensure!(lives(sandbox_of(&before)?), "its sandbox was killed");
        let said = fails(begin(&client, &["rm", "-f", "two"])?)?;
        says(
            &said,
            &[
                "undoing Start",
                "no runtime handler 'mine'",
                "runtime.handlers",
            ],
        )?;

        let scene = scene.end(End::Terminate)?.begin(&config)?;
        let client = scene.client();
        let row = comes_to_be(&client, "one", |row| row["ready"] == true)?;
        ensure!(row["ip"] == before["networkSettings"]["IPAddress"], "{row}");
        scene::agrees_with_outside(&client.inspect("one")?)?;
        for name in ["one", "two"] {
            client.call(["rm", "-f", name])?.done()?;
        }
        scene.close()
    })
}

/// The API answers before recovery has looked at anything, and no healthy pod is ever told dead.
#[test]
fn scenario_54_after_a_restart_no_healthy_pod_is_ever_not_ready() -> Result<()> {
    node::run(Layout::V2, || {
        let mut scene = Scene::open(&[podnet()])?;
        let count = 12;
        for number in 0..count {
            let name = format!("pod{number}");
            scene.client().run(&["--name", &name])?;
        }
        for end in [End::Kill, End::Terminate] {
            let before = recoveries(&scene);
            scene = scene.restart(end)?;
            // Until recovery has said that it is done, and once more after that.
            let mut done = false;
            while !done {
                done = recoveries(&scene) > before;
                are_ready(&scene.client(), count)?;
            }
        }
        for row in scene.client().list(true)? {
            let id = row["id"].as_str().context("id")?;
            scene.client().call(["rm", "-f", id])?.done()?;
        }
        scene.close()
    })
}

/// How often its daemons have said that they had recovered.
fn recoveries(scene: &Scene) -> usize {
    let log = scene.daemon().log();
    log.lines()
        .filter(|line| line.contains("recovered"))
        .count()
}

/// One pod hangs in recovery: the API answers at once, and all the others are there.
#[test]
fn scenario_45_one_pod_that_hangs_delays_no_other() -> Result<()> {
    node::run(Layout::V2, || {
        let mut stage = Stage::set()?;
        let long = "[cni]\nplugin_seconds = 100\nstep_seconds = 100\n";
        stage.config.file = Some(long.to_owned());
        let (never, go) = (node::disk().join("never"), node::disk().join("go"));
        let script = Script::new()
            .on("ADD", waiting_for(&never))
            .on("ADD", fine())
            .on("DEL", waiting_for(&go));
        let plugin = stage.plugins.scripted("scripted", &script)?;
        let scene = stage.open()?;
        let client = scene.client();
        let names: Vec<String> = (0..16).map(|number| format!("pod{number}")).collect();
        for name in &names {
            client.run(&["--name", name, "--network", "none"])?;
        }
        let start = begin(&client, &["run", "--name", "hangs"])?;
        has_been_called(&plugin, &["ADD"])?;
        let scene = scene.restart(End::Kill)?;
        fails(start)?;
        let client = scene.client();
        // From the first answer on, and while the one hangs.
        are_ready(&client, names.len())?;
        has_been_called(&plugin, &["ADD", "DEL"])?;
        are_ready(&client, names.len())?;
        client.call(["rm", "-f", "pod0"])?.done()?;
        client.run(&["--name", "new", "--network", "none"])?;
        ensure!(
            plugin.commands()? == ["ADD", "DEL"],
            "it does not hang any more"
        );
        fs::write(&go, "")?;
        comes_to_be(&client, "hangs", |row| row["ready"] == true)?;
        for row in client.list(true)? {
            let id = row["id"].as_str().context("id")?;
            client.call(["rm", "-f", id])?.done()?;
        }
        scene.close()
    })
}

fn are_ready(client: &Client, count: usize) -> Result<()> {
    let rows = client.list(false)?;
    let ready = rows.iter().filter(|row| row["ready"] == true).count();
    ensure!(ready == count, "{ready} of {count}: {rows:?}");
    Ok(())
}

/// A plugin and its delegate go on after the daemon was killed: recovery ends them before it undoes
/// anything, and nothing appears later.
fn a_plugin_outlives_the_daemon(name: &str) -> Result<()> {
    let stage = Stage::set()?;
    let disk = node::disk();
    let (pid_file, go, late) = (disk.join("delegate"), disk.join("go"), disk.join("late"));
    let dawdle = Answer {
        delegate: Some(Delegate {
            pid_file: Some(pid_file.clone()),
            wait_for: Some(go.clone()),
            touch: Some(late.clone()),
            ..Delegate::default()
        }),
        ..fine()
    };
    let script = Script::new().on("ADD", dawdle).on("ADD", fine());
    let plugin = stage.plugins.scripted("scripted", &script)?;
    let scene = stage.open()?;
    let start = begin(&scene.client(), &["run", "--name", name])?;
    let delegate = wait::until(PATIENCE, || Ok(fs::read_to_string(&pid_file).ok()))?;
    let delegate: u64 = delegate.context("no delegate")?.parse()?;
    let parent = u64::from(plugin.records()?[0].pid);
    let scene = scene.restart(End::Kill)?;
    fails(start)?;
    let client = scene.client();
    comes_to_be(&client, name, |row| row["ready"] == true)?;
    for pid in [delegate, parent] {
        ensure!(!lives(pid), "{pid} lives");
    }
    fs::write(&go, "")?;
    ensure!(
        plugin.commands()? == ["ADD", "DEL", "ADD"],
        "{:?}",
        plugin.commands()?
    );
    scene::agrees_with_outside(&client.inspect(name)?)?;
    client.call(["rm", "-f", name])?.done()?;
    ensure!(!late.exists(), "the delegate has finished");
    scene.close()
}

#[test]
fn scenario_49_a_plugin_that_outlives_the_daemon_is_ended_on_v1() -> Result<()> {
    node::run(Layout::V1, || a_plugin_outlives_the_daemon("web"))
}

#[test]
fn scenario_49_a_plugin_that_outlives_the_daemon_is_ended_on_v2() -> Result<()> {
    node::run(Layout::V2, || a_plugin_outlives_the_daemon("web"))
}
