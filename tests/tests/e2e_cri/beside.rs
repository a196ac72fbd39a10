//! A walk that hangs holds nobody who asks for something else.
//!
//! That takes no clock: what hangs goes on only when the answers are there.

use std::fs;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, ensure};
use k8s_cri::v1;
use podwalk_testkit::scripted_plugin::{Answer, Script};
use podwalk_tests::conflist::Bridge;
use podwalk_tests::cri::{Cri, pod};
use podwalk_tests::daemon::Config;
use podwalk_tests::node::{self, Layout};
use podwalk_tests::plugins::{Plugins, write_program};
use podwalk_tests::scene::Scene;
use podwalk_tests::wait;
use serde_json::json;

use super::{PATIENCE, READY};

#[test]
fn scenario_14_a_hanging_plugin_holds_no_status_and_no_list() -> Result<()> {
    node::run(Layout::V2, || {
        let mut config = Config::default();
        let plugins = Plugins::before(&mut config)?;
        let plugin = plugins.scripted("scripted", &Script::new())?;
        let network = Bridge::new("net0", "10.77.0.0/24").then(json!({"type": "scripted"}));
        let scene = Scene::open_with(&config, &[network])?;
        let cri = Cri::at(scene.client().address())?;
        let up = cri.run(pod("up", 0), "")?;
        let go = node::disk().join("go");
        let waits = Answer {
            wait_for: Some(go.clone()),
            succeed: true,
            ..Answer::default()
        };
        plugin.set_script(&Script::new().on("ADD", waits))?;
        let hangs = || Ok(plugin.commands()?.len() > 1);
        let late = beside(&cri, &scene, "", &up, &go, hangs)?;
        end(&cri, &[up, late])?;
        scene.close()
    })
}

#[test]
fn scenario_14_a_hanging_runtime_holds_no_status_and_no_list() -> Result<()> {
    node::run(Layout::V2, || {
        let (go, begun) = (node::disk().join("go"), node::disk().join("begun"));
        let slow = node::disk().join("slow-crun");
        let script = format!(
            "case \"$*\" in *' run '*)\n  : > '{}'\n  until [ -e '{}' ]; do sleep 0.05; done\nesac\nexec crun \"$@\"",
            begun.display(),
            go.display()
        );
        write_program(&slow, &script)?;
        let config = Config::with_file(format!(
            "[runtime.handlers.slow]\nbinary = '{}'\n",
            slow.display()
        ));
        let scene = Scene::open_with(&config, &[Bridge::new("net0", "10.77.0.0/24")])?;
        let cri = Cri::at(scene.client().address())?;
        let up = cri.run(pod("up", 0), "")?;
        let late = beside(&cri, &scene, "slow", &up, &go, || Ok(begun.exists()))?;
        end(&cri, &[up, late])?;
        scene.close()
    })
}

/// Starts a pod that hangs until `go` is there, asks for all that clients ask for meanwhile, and lets
/// it go on. Answers its id.
fn beside(
    cri: &Cri,
    scene: &Scene,
    handler: &str,
    up: &str,
    go: &Path,
    hangs: impl Fn() -> Result<bool>,
) -> Result<String> {
    let starter = Cri::at(scene.client().address())?;
    thread::scope(|scope| {
        let start = scope.spawn(move || starter.run(pod("late", 0), handler));
        let answered = wait::until(PATIENCE, || Ok(hangs()?.then_some(())))
            .and_then(|begun| begun.context("it does not hang"))
            .and_then(|()| all_is_answered(cri, up));
        let unfinished = !start.is_finished();
        // Whatever came of it: who waits must be let go.
        fs::write(go, "")?;
        let late = start.join().map_err(|_| anyhow::anyhow!("a panic"))??;
        answered?;
        ensure!(unfinished, "it did not hang");
        ensure!(cri.status(&late)?.state == READY);
        Ok(late)
    })
}

fn all_is_answered(cri: &Cri, up: &str) -> Result<()> {
    for _ in 0..20 {
        let listed = cri.list(v1::PodSandboxFilter::default())?;
        ensure!(listed.len() == 1 && listed[0].id == up, "{listed:?}");
        ensure!(cri.status(up)?.state == READY);
        let node = cri.ask(async |mut cri| cri.status(v1::StatusRequest::default()).await)?;
        let conditions = node.status.context("status")?.conditions;
        ensure!(conditions.iter().all(|one| one.status), "{conditions:?}");
        let stats = v1::ListPodSandboxStatsRequest::default();
        let stats = cri.ask(async move |mut cri| cri.list_pod_sandbox_stats(stats).await)?;
        ensure!(stats.stats.len() == 1, "{stats:?}");
    }
    // Another pod goes up and down.
    let other = cri.run(on_host("other"), "")?;
    end(cri, &[other])
}

/// In the host's network no plugin is called.
fn on_host(name: &str) -> v1::PodSandboxConfig {
    let mut config = pod(name, 0);
    let linux = config.linux.get_or_insert_default();
    let context = linux.security_context.get_or_insert_default();
    let options = context.namespace_options.get_or_insert_default();
    options.network = v1::NamespaceMode::Node.into();
    config
}

fn end(cri: &Cri, ids: &[String]) -> Result<()> {
    for id in ids {
        cri.stop(id)?;
        cri.remove(id)?;
    }
    Ok(())
}
