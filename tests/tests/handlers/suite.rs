//! What is asked of every handler.

use anyhow::{Context, Result, ensure};
use k8s_cri::v1;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use podwalk_tests::ask::Events;
use podwalk_tests::conflist::Bridge;
use podwalk_tests::cri::Cri;
use podwalk_tests::daemon::Client;
use podwalk_tests::handlers::Handler;
use podwalk_tests::node::Layout;
use podwalk_tests::scene::{self, End, Scene, Told};
use podwalk_tests::wait;
use serde_json::Value;

use crate::PATIENCE;

fn open(handler: Handler) -> Result<Scene> {
    let network = Bridge::new("podnet", "10.88.0.0/24")
        .and("fd00:88::/64")
        .masqueraded();
    Scene::open_with(&handler.configured()?, &[network])
}

fn start(client: &Client, name: &str, handler: Handler) -> Result<String> {
    client.run(&["--name", name, "--runtime", handler.name])
}

/// Start, status, statistics, stop and remove; two pods beside each other.
pub(super) fn up_and_down(handler: Handler, layout: Layout) -> Result<()> {
    let scene = open(handler)?;
    let client = scene.client();
    let id = start(&client, "web", handler)?;
    // Its address answers at once, from where the handler says that it does.
    let inspected = client.inspect(&id)?;
    let told = scene::agrees_with_outside(&inspected)?;
    ensure!(told.addresses.len() == 2, "not dual stack: {told:?}");
    ensure!(inspected["runtimeHandler"] == handler.name, "{inspected:#}");
    let other = start(&client, "other", handler)?;
    scene::agrees_with_outside(&client.inspect(&other)?)?;
    uses(client.address(), &id, layout)?;

    client.stop(&id)?;
    scene::is_stopped(&told)?;
    client.stop(&id)?;
    client.remove(&id)?;
    ensure!(!told.key.exists(), "{} is still there", told.key.display());
    // Nothing of that was the other's.
    scene::agrees_with_outside(&client.inspect(&other)?)?;
    client.call(["rm", "-f", &other])?.done()?;
    scene.close()
}

/// Expects statistics of what the sandbox's cgroup and its links count. Version 2 has no controllers
/// in a test node.
fn uses(socket: &std::path::Path, id: &str, layout: Layout) -> Result<()> {
    let cri = Cri::at(socket)?;
    let request = v1::PodSandboxStatsRequest {
        pod_sandbox_id: id.to_owned(),
    };
    let stats = cri.ask(async move |mut cri| cri.pod_sandbox_stats(request).await)?;
    let stats = stats.stats.and_then(|stats| stats.linux).context("stats")?;
    let network = stats.network.as_ref().context("network")?;
    let link = network.default_interface.as_ref().context("a link")?;
    let received = link.rx_bytes.as_ref().context("rx_bytes")?;
    ensure!(link.name == "eth0" && received.value > 0, "{link:?}");
    if layout == Layout::V1 {
        let memory = stats.memory.as_ref().and_then(|m| m.usage_bytes.as_ref());
        ensure!(memory.context("memory")?.value > 0, "{stats:?}");
        let cpu = stats.cpu.as_ref().context("cpu")?;
        ensure!(cpu.usage_core_nano_seconds.is_some(), "{stats:?}");
        let processes = stats.process.as_ref().context("processes")?;
        let count = processes.process_count.as_ref().context("their count")?;
        ensure!(count.value > 0, "{stats:?}");
    }
    Ok(())
}

/// A sandbox that ends is not ready as soon as there is an event of it; its network stays.
pub(super) fn end_noticed(handler: Handler) -> Result<()> {
    let scene = open(handler)?;
    let client = scene.client();
    let id = start(&client, "web", handler)?;
    let told = scene::agrees_with_outside(&client.inspect(&id)?)?;
    let mut events = Events::listen(client.address())?;
    end(told.pid)?;
    events.until(&id, "exited")?;
    let inspected = client.inspect(&id)?;
    ensure!(inspected["ready"] == false, "{inspected:#}");
    ensure!(inspected["sandbox"]["exited"] == true, "{inspected:#}");
    ensure!(told.key.is_file(), "{} is gone", told.key.display());
    client.stop(&id)?;
    scene::is_stopped(&told)?;
    client.remove(&id)?;
    scene.close()
}

fn end(sandbox: u64) -> Result<()> {
    kill(Pid::from_raw(i32::try_from(sandbox)?), Signal::SIGKILL)?;
    Ok(())
}

/// The daemon is killed: what runs is adopted, and what ended meanwhile is not ready.
pub(super) fn adopted(handler: Handler) -> Result<()> {
    let scene = open(handler)?;
    let client = scene.client();
    let ids = ["one", "two"].map(|name| start(&client, name, handler));
    let [one, two] = ids;
    let (one, two) = (one?, two?);
    let before = scene::agrees_with_outside(&client.inspect(&one)?)?;
    let ends = Told::by(&client.inspect(&two)?)?;
    let config = scene.daemon().config().clone();
    let between = scene.end(End::Kill)?;
    end(ends.pid)?;
    let scene = between.begin(&config)?;
    let client = scene.client();
    let after = becomes(&client, &one, |pod| pod["ready"] == true)?;
    let after = scene::agrees_with_outside(&after)?;
    ensure!(after == before, "{after:?} was {before:?}");
    becomes(&client, &two, |pod| {
        pod["ready"] == false && pod["sandbox"]["exited"] == true
    })?;
    // The one that was adopted is watched too.
    let mut events = Events::listen(client.address())?;
    end(after.pid)?;
    events.until(&one, "exited")?;
    ensure!(client.inspect(&one)?["ready"] == false);
    for id in [&one, &two] {
        client.call(["rm", "-f", id])?.done()?;
    }
    scene.close()
}

/// Waits until `inspect` says so of a pod.
pub(super) fn becomes(client: &Client, pod: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
    let mut last = Value::Null;
    let found = wait::until(PATIENCE, || {
        last = client.inspect(pod)?;
        Ok(is(&last).then(|| last.clone()))
    })?;
    found.with_context(|| format!("it does not come to be so: {last:#}"))
}

/// Expects every one of these words in a text.
pub(super) fn says(text: &str, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(text.contains(word), "no {word:?} in: {text}");
    }
    Ok(())
}
