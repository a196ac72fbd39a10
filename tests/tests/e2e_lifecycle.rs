//! One pod up and down, with each runtime on each cgroup layout, checked from outside.
#![forbid(unsafe_code)]

use anyhow::{Result, ensure};
use podwalk_tests::conflist::Bridge;
use podwalk_tests::node::{self, Layout};
use podwalk_tests::scene::{self, Scene};

fn up_and_down(runtime: &str) -> Result<()> {
    let network = Bridge::new("podnet", "10.88.0.0/24").and("fd00:88::/64");
    let scene = Scene::open(&[network])?;
    let client = scene.client();
    let id = client.run(&["--name", "web", "--runtime", runtime])?;

    let inspected = client.inspect(&id)?;
    let told = scene::agrees_with_outside(&inspected)?;
    ensure!(told.addresses.len() == 2, "not dual stack: {told:?}");
    ensure!(inspected["name"] == "web" && inspected["runtimeHandler"] == runtime);
    ensure!(inspected["networkSettings"]["Bridge"] == "podnet");
    ensure!(inspected["networkSettings"]["SandboxID"] == id.as_str());
    ensure!(inspected["networkSettings"]["Activation"] == true);
    ensure!(told.key.to_string_lossy().contains(&id), "{told:?}");

    client.stop("web")?;
    scene::is_stopped(&told)?;
    let stopped = client.inspect(&id)?;
    ensure!(stopped["state"] == "Created" && stopped["ready"] == false);
    ensure!(stopped["networkSettings"]["Activation"] == false);
    ensure!(stopped["networkSettings"]["SandboxKey"] == inspected["networkSettings"]["SandboxKey"]);
    client.stop(&id)?;

    client.remove(&id)?;
    ensure!(!told.key.exists(), "{} is still there", told.key.display());
    ensure!(client.call(["inspect", &id])?.code == 3);
    scene.close()
}

#[test]
fn crun_with_cgroup_version_1() -> Result<()> {
    node::run(Layout::V1, || up_and_down("crun"))
}

#[test]
fn crun_with_cgroup_version_2() -> Result<()> {
    node::run(Layout::V2, || up_and_down("crun"))
}

#[test]
fn runc_with_cgroup_version_1() -> Result<()> {
    node::run(Layout::V1, || up_and_down("runc"))
}

#[test]
fn runc_with_cgroup_version_2() -> Result<()> {
    node::run(Layout::V2, || up_and_down("runc"))
}
