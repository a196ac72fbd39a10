//! NetworkReady, as the plugins' STATUS says.

use std::fs;

use anyhow::{Context, Result, ensure};
use k8s_cri::v1;
use podwalk_testkit::scripted_plugin::{Answer, Script};
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

/// The first STATUS fails, the second succeeds, the third never answers.
fn moody() -> Script {
    let fails = Answer {
        error: Some(json!({"cniVersion": "1.1.0", "code": 50, "msg": "no uplink"})),
        ..Answer::default()
    };
    let hangs = Answer {
        hang: true,
        ..Answer::default()
    };
    let script = Script::new().on("STATUS", fails);
    script.on("STATUS", Answer::default()).on("STATUS", hangs)
}

/// While a plugin takes its time, what it said before holds; when its deadline is over, it is not
/// ready. However often it is asked, the plugin is called once at a time, and not all the time.
#[test]
fn the_network_is_as_ready_as_its_plugins_say() -> Result<()> {
    node::run(Layout::V2, || {
        let mut config = Config::with_file("[cni]\nplugin_seconds = 5\n");
        let plugin = Plugins::before(&mut config)?.scripted("moody", &moody())?;
        fs::create_dir_all(&config.cni_conf_dir)?;
        let network =
            json!({"cniVersion": "1.1.0", "name": "net0", "plugins": [{"type": "moody"}]});
        fs::write(config.cni_conf_dir.join("10.conflist"), network.to_string())?;
        let scene = Scene::open_with(&config, &[])?;
        let cri = Cri::at(scene.client().address())?;
        let ready = || condition(&cri, "NetworkReady");
        let asked = || -> Result<usize> {
            let commands = plugin.commands()?;
            Ok(commands.iter().filter(|one| *one == "STATUS").count())
        };

        let first = ready()?;
        ensure!(!first.status, "{first:?}");
        for words in ["net0", "no uplink"] {
            ensure!(first.message.contains(words), "{first:?}");
        }
        let up = wait::until(PATIENCE, || Ok(ready()?.status.then_some(())))?;
        up.context("it does not become ready")?;
        let hangs = wait::until(PATIENCE, || {
            let now = ready()?;
            ensure!(
                now.status,
                "not ready before the plugin had its time: {now:?}"
            );
            Ok((asked()? == 3).then_some(()))
        })?;
        hangs.context("it is not asked again")?;
        let during = ready()?;
        ensure!(during.status || asked()? > 3, "{during:?}");
        let last = wait::until(PATIENCE, || {
            let now = ready()?;
            Ok((!now.status).then_some(now))
        })?;
        let last = last.context("a plugin that hangs is ready for ever")?;
        ensure!(last.message.contains("moody"), "{last:?}");
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
