//! Networks that are attached when the sandbox runs.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use podwalk_tests::conflist::Bridge;
use podwalk_tests::daemon::{Answer, Client, Config};
use podwalk_tests::late::{self, ANNOTATION, Plane};
use podwalk_tests::node::{self, Layout};
use podwalk_tests::scene::{self, End, Scene, Told};
use podwalk_tests::{outside, wait};
use serde_json::Value;

/// A guard against a hang, no measure of speed.
const PATIENCE: Duration = Duration::from_secs(60);

fn podnet() -> Bridge {
    Bridge::new("podnet", "10.88.0.0/24")
}

/// A daemon with the default network `podnet` and the late network `plane`.
fn scene(file: &str) -> Result<(Plane, Scene)> {
    let mut config = Config::with_file(format!("{}{file}", late::CONFIGURATION));
    let plane = Plane::before(&mut config)?;
    Ok((plane, Scene::open_with(&config, &[podnet()])?))
}

fn start(client: &Client, name: &str) -> Result<Answer> {
    client.call(["run", "--name", name, "--annotation", ANNOTATION])
}

/// The same on a thread, for a start that is held.
fn start_beside(client: &Client, name: &'static str) -> JoinHandle<Result<Answer>> {
    let client = client.clone();
    std::thread::spawn(move || start(&client, name))
}

fn status(inspected: &Value, step: &str) -> Value {
    let steps = inspected["steps"].as_array();
    let found = steps.and_then(|all| all.iter().find(|one| one["step"] == step));
    found.map_or(Value::Null, |one| one["status"].clone())
}

fn has_plane(key: &Path) -> Result<bool> {
    let interfaces = outside::interfaces(key)?;
    Ok(interfaces.iter().any(|one| one.name == late::INTERFACE))
}

/// Expects that a command failed with every one of these words on stderr.
fn refused(answer: &Answer, words: &[&str]) -> Result<()> {
    ensure!(answer.code == 1, "{answer:?}");
    for word in words {
        ensure!(answer.stderr.contains(word), "no {word:?} in {answer:?}");
    }
    Ok(())
}

#[test]
fn a_late_network_comes_when_the_sandbox_runs_and_the_pod_is_ready_after_it() -> Result<()> {
    node::run(Layout::V2, || {
        let (plane, scene) = scene("")?;
        let client = scene.client();
        plane.hold()?;
        let caller = start_beside(&client, "web");
        let added = wait::until(PATIENCE, || Ok(plane.seen()?.pop()))?;
        ensure!(added.as_deref() == Some("ADD net1 beside 1"), "{added:?}");
        // The sandbox runs; nobody hears of the pod but who asks for all.
        let inspected = client.inspect("web")?;
        ensure!(inspected["state"] == "CniConfigured" && inspected["ready"] == false);
        ensure!(
            status(&inspected, "Start") == "Done" && status(&inspected, "AttachLate") == "Maybe"
        );
        let told = Told::by(&inspected)?;
        ensure!(
            outside::namespace_of_process(told.pid)?
                == outside::namespace_on(&told.key)?.context("a namespace")?
        );
        ensure!(!has_plane(&told.key)?);

        plane.let_go()?;
        let started = caller.join().ok().context("the caller")??;
        ensure!(started.code == 0, "{started:?}");
        let inspected = client.inspect("web")?;
        let told = scene::agrees_with_outside(&inspected)?;
        ensure!(status(&inspected, "AttachLate") == "Done" && has_plane(&told.key)?);
        let address = &inspected["networkSettings"]["Networks"]["plane"]["IPAddress"];
        ensure!(
            address
                .as_str()
                .is_some_and(|text| text.starts_with("10.77.0.")),
            "{inspected:#}"
        );

        let scene = scene.restart(End::Kill)?;
        let client = scene.client();
        let inspected = client.inspect("web")?;
        ensure!(inspected["ready"] == true && inspected["sandbox"]["pid"] == told.pid);
        client.stop("web")?;
        scene::is_stopped(&told)?;
        // Let go first, while the sandbox was there.
        ensure!(plane.seen()?.last().map(String::as_str) == Some("DEL net1 beside 1"));
        client.remove("web")?;
        scene.close()
    })
}

#[test]
fn a_late_network_that_fails_takes_the_pod_down_with_it() -> Result<()> {
    node::run(Layout::V2, || {
        let (plane, scene) = scene("")?;
        let client = scene.client();
        plane.fail("ADD")?;
        refused(&start(&client, "web")?, &["AttachLate", "no plane"])?;
        ensure!(client.list(true)?.is_empty());
        plane.mend("ADD")?;
        let started = start(&client, "web")?;
        ensure!(started.code == 0, "{started:?}");
        client.call(["rm", "-f", "web"])?.done()?;
        scene.close()
    })
}

/// What of the sandbox is in the way of a DEL is no reason to let it live on.
#[test]
fn a_late_network_that_cannot_be_let_go_keeps_no_sandbox_alive() -> Result<()> {
    node::run(Layout::V2, || {
        let (plane, scene) = scene("[debts]\ngrace_seconds = 600\n")?;
        let client = scene.client();
        ensure!(start(&client, "web")?.code == 0);
        let told = scene::agrees_with_outside(&client.inspect("web")?)?;
        plane.fail("DEL")?;
        refused(
            &client.call(["stop", "web"])?,
            &["AttachLate of network plane", "no plane"],
        )?;
        ensure!(
            !Path::new(&format!("/proc/{}", told.pid)).exists(),
            "the sandbox lives on"
        );
        let seen = plane.seen()?;
        let tries: Vec<_> = seen.iter().filter(|line| line.starts_with("DEL")).collect();
        // Beside the sandbox, and once more without it.
        ensure!(tries.len() >= 2, "{seen:?}");
        ensure!(
            tries[0] == "DEL net1 beside 1" && tries[1] == "DEL net1 beside 0",
            "{seen:?}"
        );
        let inspected = client.inspect("web")?;
        ensure!(status(&inspected, "Start") == "Never");
        // What lies under it waits, and the namespace is still pinned.
        ensure!(status(&inspected, "ConfigureCni") == "Done");
        ensure!(outside::namespace_on(&told.key)?.is_some());
        let debts = client.json(&["debts"])?;
        ensure!(
            debts[0]["step"] == "AttachLate" && debts[0]["attachment"] == "plane",
            "{debts}"
        );
        ensure!(debts[0]["forgivable"] == true, "{debts}");

        let scene = scene.restart(End::Kill)?;
        let client = scene.client();
        plane.mend("DEL")?;
        client.call(["debts", "pay", "web"])?.done()?;
        scene::is_stopped(&told)?;
        client.remove("web")?;
        scene.close()
    })
}

#[test]
fn a_sandbox_that_exits_before_its_late_networks_is_a_failed_start() -> Result<()> {
    node::run(Layout::V2, || {
        let (plane, scene) = scene("")?;
        let client = scene.client();
        plane.hold()?;
        let caller = start_beside(&client, "web");
        wait::until(PATIENCE, || Ok(plane.seen()?.pop()))?.context("no ADD")?;
        let told = Told::by(&client.inspect("web")?)?;
        let pid = nix::unistd::Pid::from_raw(i32::try_from(told.pid)?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)?;
        let noticed = wait::until(PATIENCE, || {
            let exited = client.inspect("web")?["sandbox"]["exited"] == true;
            Ok(exited.then_some(()))
        })?;
        noticed.context("nobody notices the exit")?;
        plane.let_go()?;
        let answer = caller.join().ok().context("the caller")??;
        refused(&answer, &["the sandbox exited before its late networks"])?;
        ensure!(client.list(true)?.is_empty());
        ensure!(fs::read_dir("/run/netns")?.next().is_none());
        scene.close()
    })
}

#[test]
fn the_default_network_is_never_late() -> Result<()> {
    node::run(Layout::V2, || {
        let config = Config::with_file("[cni.networks.podnet]\nattach = 'after-start'\n");
        let scene = Scene::open_with(&config, &[podnet()])?;
        let refusal = scene.client().call(["run", "--name", "web"])?;
        refused(
            &refusal,
            &["network 'podnet'", "cni.networks.podnet.attach"],
        )?;
        scene.close()
    })
}
