//! NetworkReady, as the plugins' STATUS says.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use k8s_cri::v1;
use podwalk_testkit::scripted_plugin::{Answer, Installed, Script};
use podwalk_tests::conflist::Bridge;
use podwalk_tests::cri::Cri;
use podwalk_tests::daemon::Config;
use podwalk_tests::node::{self, Layout};
use podwalk_tests::plugins::Plugins;
use podwalk_tests::scene::{End, Scene};
use podwalk_tests::wait;
use serde_json::json;

use crate::PATIENCE;

/// The condition of this name.
pub(crate) fn condition(cri: &Cri, name: &str) -> Result<v1::RuntimeCondition> {
    let status = cri.ask(async |mut cri| cri.status(v1::StatusRequest::default()).await)?;
    let conditions = status.status.context("status")?.conditions;
    let mut found = conditions.into_iter().filter(|one| one.r#type == name);
    found.next().context(name.to_owned())
}

/// A scene whose only network has one scripted plugin, `moody`.
fn moody(mut config: Config, script: &Script) -> Result<(Installed, Scene)> {
    let plugin = Plugins::before(&mut config)?.scripted("moody", script)?;
    fs::create_dir_all(&config.cni_conf_dir)?;
    let network = json!({"cniVersion": "1.1.0", "name": "net0", "plugins": [{"type": "moody"}]});
    fs::write(config.cni_conf_dir.join("10.conflist"), network.to_string())?;
    Ok((plugin, Scene::open_with(&config, &[])?))
}

fn fails() -> Answer {
    Answer {
        error: Some(json!({"cniVersion": "1.1.0", "code": 50, "msg": "no uplink"})),
        ..Answer::default()
    }
}

/// Waits until the node is not ready in these words; until then it is as ready as `before`.
fn not_ready(cri: &Cri, before: bool, words: [&str; 2]) -> Result<()> {
    let mut last = None;
    let said = wait::until(PATIENCE, || {
        let now = condition(cri, "NetworkReady")?;
        let is_said = !now.status && words.iter().all(|word| now.message.contains(word));
        ensure!(is_said || now.status == before, "{now:?}");
        last = Some(now);
        Ok(is_said.then_some(()))
    })?;
    said.with_context(|| format!("{words:?} are not said: {last:?}"))
}

/// While a plugin takes its time, what it said before holds. However often it is asked, the plugin is
/// called once at a time.
#[test]
fn the_network_is_as_ready_as_its_plugins_say() -> Result<()> {
    node::run(Layout::V2, || {
        // Longer than the test: what ends its waiting is the test.
        let config = Config::with_file("[cni]\nplugin_seconds = 600\n");
        let [up, down] = ["up", "down"].map(|name| node::disk().join(name));
        let waits = |gate: &Path, then| Answer {
            wait_for: Some(gate.to_owned()),
            ..then
        };
        let script = Script::new()
            .on("STATUS", fails())
            .on("STATUS", waits(&up, Answer::default()))
            .on("STATUS", waits(&down, fails()));
        let (plugin, scene) = moody(config, &script)?;
        let cri = Cri::at(scene.client().address())?;
        let asked = || -> Result<usize> {
            let commands = plugin.commands()?;
            Ok(commands.iter().filter(|one| *one == "STATUS").count())
        };

        not_ready(&cri, false, ["net0", "no uplink"])?;
        fs::write(&up, "")?;
        let ready = wait::until(PATIENCE, || {
            Ok(condition(&cri, "NetworkReady")?.status.then_some(()))
        })?;
        ready.context("it does not become ready")?;
        let again = wait::until(PATIENCE, || {
            let now = condition(&cri, "NetworkReady")?;
            ensure!(
                now.status,
                "not ready before the plugin has said so: {now:?}"
            );
            Ok((asked()? == 3).then_some(()))
        })?;
        again.context("it is not asked again")?;
        let during = condition(&cri, "NetworkReady")?;
        ensure!(during.status && asked()? == 3, "{during:?}");
        fs::write(&down, "")?;
        not_ready(&cri, true, ["net0", "no uplink"])?;
        scene.close()
    })
}

/// A plugin that was ready and then hangs is not ready when its deadline is over.
#[test]
fn a_network_whose_plugin_hangs_is_not_ready_in_the_end() -> Result<()> {
    node::run(Layout::V2, || {
        let config = Config::with_file("[cni]\nplugin_seconds = 3\n");
        let (plugin, scene) = moody(config, &Script::new())?;
        let cri = Cri::at(scene.client().address())?;
        let ready = wait::until(PATIENCE, || {
            Ok(condition(&cri, "NetworkReady")?.status.then_some(()))
        })?;
        ready.context("it does not become ready")?;
        let hangs = Answer {
            hang: true,
            ..Answer::default()
        };
        plugin.set_script(&Script::new().on("STATUS", hangs))?;
        not_ready(&cri, true, ["moody", "no end within 3s"])?;
        scene.close()
    })
}

/// The node is as ready as the network of pods that name no handler, which may be their default
/// handler's own; and not when no pod could be attached to it.
#[test]
fn the_network_of_the_default_handler_counts() -> Result<()> {
    node::run(Layout::V2, || {
        let directory = node::disk().join("own.d");
        let own = format!(
            "[runtime]\ndefault = 'runc'\n[runtime.handlers.runc]\ncni_conf_dir = '{}'\n",
            directory.display()
        );
        Bridge::new("ownnet", "10.89.0.0/24").write(&directory, 10)?;
        let ready = |scene: &Scene| condition(&Cri::at(scene.client().address())?, "NetworkReady");

        let usual = Bridge::new("podnet", "10.88.0.0/24");
        let scene = Scene::open_with(&Config::default(), std::slice::from_ref(&usual))?;
        ensure!(ready(&scene)?.status);
        fs::remove_dir_all(&Config::default().cni_conf_dir)?;
        let scene = scene.end(End::Terminate)?.begin(&Config::with_file(&own))?;
        let now = ready(&scene)?;
        ensure!(now.status, "{now:?}");
        scene.client().run(&["--name", "web"])?;
        scene.client().call(["rm", "-f", "web"])?.done()?;

        let late = "[runtime.handlers.runc.networks.ownnet]\nattach = 'after-start'\n";
        let late = Config::with_file(format!("{own}{late}"));
        let scene = scene.end(End::Terminate)?.begin(&late)?;
        let now = ready(&scene)?;
        ensure!(!now.status, "{now:?}");
        for words in ["ownnet", "attach", "before the sandbox starts"] {
            ensure!(now.message.contains(words), "{now:?}");
        }
        scene.close()
    })
}
