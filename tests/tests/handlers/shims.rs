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

/// One pod is removed at once, the other after a restart, which finds that it is not ready.
fn without_its_shim(handler: Handler) -> Result<()> {
    let scene = Scene::open_with(&handler.configured()?, &[podnet()])?;
    let client = scene.client();
    for name in ["web", "stays"] {
        kill_shim(&start(&client, handler, name)?)?;
    }
    client.call(["rm", "-f", "web"])?.done()?;
    let scene = scene.restart(End::Kill)?;
    let client = scene.client();
    becomes(&client, "stays", |pod| pod["ready"] == false)?;
    client.stop("stays")?;
    client.remove("stays")?;
    scene.close()
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
