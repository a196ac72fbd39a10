//! What is true of handlers that are shims.

use std::fs;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use podwalk_tests::conflist::Bridge;
use podwalk_tests::daemon::Client;
use podwalk_tests::handlers::{Handler, SCRIPTED_SHIM, SHIM_RUNC};
use podwalk_tests::node::{self, Layout};
use podwalk_tests::scene::{End, Scene};
use serde_json::Value;

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
