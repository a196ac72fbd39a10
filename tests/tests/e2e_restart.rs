//! The daemon ends and another takes its place: pods run on, as they were.
#![forbid(unsafe_code)]

use anyhow::{Result, ensure};
use podwalk_tests::conflist::Bridge;
use podwalk_tests::node::{self, Layout};
use podwalk_tests::scene::{self, End, Scene};

fn pods_run_on(end: End, runtime: &str) -> Result<()> {
    let network = Bridge::new("podnet", "10.88.0.0/24").and("fd00:88::/64");
    let mut scene = Scene::open(&[network])?;
    let ids: Vec<String> = ["one", "two", "three"]
        .iter()
        .map(|name| scene.client().run(&["--name", name, "--runtime", runtime]))
        .collect::<Result<_>>()?;
    // One that is stopped must stay so.
    scene.client().stop("three")?;
    let before = scene.client().list(true)?;
    let told: Vec<_> = ids[..2]
        .iter()
        .map(|id| scene::agrees_with_outside(&scene.client().inspect(id)?))
        .collect::<Result<_>>()?;

    for _ in 0..2 {
        scene = scene.restart(end)?;
        let client = scene.client();
        ensure!(client.list(true)? == before, "{:#?}", client.list(true)?);
        for (id, told) in ids.iter().zip(&told) {
            let again = scene::agrees_with_outside(&client.inspect(id)?)?;
            ensure!(again == *told, "{again:?} was {told:?}");
        }
        // The same request finds the pod that runs.
        let joined = client.run(&["--name", "one", "--runtime", runtime])?;
        ensure!(joined == ids[0], "{joined} in place of {}", ids[0]);
    }
    let client = scene.client();
    for (id, told) in ids.iter().zip(&told) {
        client.stop(id)?;
        scene::is_stopped(told)?;
    }
    for id in &ids {
        client.remove(id)?;
    }
    scene.close()
}

#[test]
fn scenario_12_addresses_are_the_same_after_sigterm() -> Result<()> {
    node::run(Layout::V2, || pods_run_on(End::Terminate, "crun"))
}

#[test]
fn scenario_12_addresses_are_the_same_after_sigkill() -> Result<()> {
    node::run(Layout::V1, || pods_run_on(End::Kill, "crun"))
}

#[test]
fn scenario_12_addresses_are_the_same_after_sigkill_with_runc() -> Result<()> {
    node::run(Layout::V1, || pods_run_on(End::Kill, "runc"))
}
