//! What the configuration says of a handler.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use podwalk_tests::conflist::Bridge;
use podwalk_tests::daemon::{Answer, Config};
use podwalk_tests::handlers::{ALL, RUNSC, all_configured};
use podwalk_tests::node::{self, Layout};
use podwalk_tests::scene::{self, End, Scene, Told};
use podwalk_tests::{outside, wait};

use crate::PATIENCE;
use crate::suite::{becomes, says};

fn podnet() -> Bridge {
    Bridge::new("podnet", "10.88.0.0/24")
}

/// Pods of all handlers run in one network, under one daemon and its successor, and none is the
/// other's.
#[test]
fn handlers_run_side_by_side() -> Result<()> {
    node::run(Layout::V1, || {
        let mut scene = Scene::open_with(&all_configured()?, &[podnet()])?;
        for handler in ALL {
            let name = handler.name;
            scene.client().run(&["--name", name, "--runtime", name])?;
        }
        for end in [End::Kill, End::Terminate] {
            scene = scene.restart(end)?;
            for handler in ALL {
                let pod = becomes(&scene.client(), handler.name, |pod| pod["ready"] == true)?;
                ensure!(pod["runtimeHandler"] == handler.name, "{pod:#}");
                scene::agrees_with_outside(&pod)?;
            }
        }
        let client = scene.client();
        let mut left = ALL.map(|handler| handler.name).to_vec();
        while let Some(name) = left.pop() {
            client.call(["rm", "-f", name])?.done()?;
            for other in &left {
                scene::agrees_with_outside(&client.inspect(other)?)?;
            }
        }
        scene.close()
    })
}

/// runsc under a name that says nothing, which then vanishes: its pods are not touched. When it is
/// back, one is adopted, and one goes that was removed meanwhile.
#[test]
fn scenario_39_gvisor_under_another_name_vanishes_and_comes_back() -> Result<()> {
    node::run(Layout::V1, || {
        let mut config = RUNSC.configured()?;
        let renamed = config.file.as_ref().context("a file")?;
        let renamed = renamed.replace("handlers.runsc", "handlers.gvisor") + "vm = true\n";
        config.file = Some(renamed);
        let scene = Scene::open_with(&config, &[podnet()])?;
        let client = scene.client();
        for name in ["web", "stays"] {
            client.run(&["--name", name, "--runtime", "gvisor"])?;
        }
        let told = Told::by(&client.inspect("web")?)?;
        let without = Config::default();
        let scene = scene.end(End::Kill)?.begin(&without)?;
        let client = scene.client();
        becomes(&client, "web", |pod| pod["ready"] == false)?;
        ensure!(outside::answers(told.addresses[0].0)?, "it was touched");
        let answer = client.call(["rm", "-f", "web"])?;
        ensure!(answer.code == 1, "{answer:?}");
        says(&answer.stderr, &["no runtime handler 'gvisor'"])?;
        ensure!(outside::answers(told.addresses[0].0)?, "it was touched");
        names_both(&without)?;
        let between = scene.end(End::Kill)?;
        names_both(&without)?;
        let well = doctor(&config)?;
        ensure!(well.code == 0, "{well:?}");
        says(&well.stdout, &["ok    runtime gvisor", "runsc version"])?;

        let scene = between.begin(&config)?;
        let client = scene.client();
        let pod = becomes(&client, "stays", |pod| pod["ready"] == true)?;
        ensure!(outside::answers(Told::by(&pod)?.addresses[0].0)?, "{pod:#}");
        let gone = wait::until(PATIENCE, || {
            Ok((client.list(true)?.len() == 1).then_some(()))
        })?;
        gone.with_context(|| format!("what is owed is not paid: {:?}", client.list(true)))?;
        client.call(["rm", "-f", "stays"])?.done()?;
        scene.close()
    })
}

/// Who named no handler is looked after by the one that was the default then, and is told of so.
#[test]
fn a_pod_of_a_default_that_has_vanished_names_it() -> Result<()> {
    node::run(Layout::V2, || {
        let with = Config::with_file(
            "[runtime]\ndefault = 'mine'\n[runtime.handlers.mine]\nbinary = 'crun'\n",
        );
        let scene = Scene::open_with(&with, &[podnet()])?;
        scene.client().run(&["--name", "web"])?;
        let without = Config::default();
        let scene = scene.end(End::Kill)?.begin(&without)?;
        let pod = scene.client().inspect("web")?;
        ensure!(pod["runtimeHandler"] == "mine", "{pod:#}");
        let answer = doctor(&without)?;
        ensure!(answer.code == 1, "{answer:?}");
        says(&answer.stdout, &["(web)", "runtime.handlers.mine"])?;
        let scene = scene.end(End::Kill)?.begin(&with)?;
        scene.client().call(["rm", "-f", "web"])?.done()?;
        scene.close()
    })
}

/// What a sandbox took off its interfaces is put back for DEL although another handler is the default
/// by then; a bridge that masquerades would leave its rules otherwise.
#[test]
fn a_pod_of_a_former_default_leaves_nothing() -> Result<()> {
    node::run(Layout::V1, || {
        let config = RUNSC.configured()?;
        let file = config.file.as_ref().context("a file")?;
        let former = Config::with_file(format!("[runtime]\ndefault = 'runsc'\n{file}"));
        let scene = Scene::open_with(&former, &[podnet().masqueraded()])?;
        let client = scene.client();
        client.run(&["--name", "web"])?;
        ensure!(client.inspect("web")?["runtimeHandler"] == "runsc");
        let scene = scene.end(End::Kill)?.begin(&config)?;
        scene.client().call(["rm", "-f", "web"])?.done()?;
        scene.close()
    })
}

/// Asks the doctor about the configuration of a daemon, which may be up or down.
fn doctor(config: &Config) -> Result<Answer> {
    let file = node::disk().join("doctor.toml");
    fs::write(&file, config.file.as_deref().unwrap_or_default())?;
    let mut command = config.client().command(["doctor"])?;
    command.arg("--config").arg(&file);
    command.arg("--state-dir").arg(&config.state_dir);
    command.arg("--cni-bin-dir").args(&config.cni_bin_dirs);
    Answer::of(&mut command)
}

/// Expects that the doctor names the pods whose handler has vanished.
fn names_both(without: &Config) -> Result<()> {
    let answer = doctor(without)?;
    ensure!(answer.code == 1, "{answer:?}");
    let pods = ["(web)", "(stays)", "runtime.handlers.gvisor"];
    says(&answer.stdout, &pods)?;
    says(
        &answer.stdout,
        &["ok    runtime crun", "ok    network podnet"],
    )
}

/// A handler's pods are attached to the networks of its own directory, which is watched.
#[test]
fn a_handler_has_networks_of_its_own() -> Result<()> {
    node::run(Layout::V2, || {
        let directory = node::disk().join("own.d");
        let config = Config::with_file(format!(
            "[runtime.handlers.runc]\ncni_conf_dir = '{}'\n",
            directory.display()
        ));
        let scene = Scene::open_with(&config, &[podnet()])?;
        let client = scene.client();
        let own = ["run", "--name", "own", "--runtime", "runc"];
        let answer = client.call(own)?;
        ensure!(answer.code == 1, "{answer:?}");
        says(&answer.stderr, &["no network configuration in", "own.d"])?;

        let file = Bridge::new("ownnet", "10.89.0.0/24").write(&directory, 10)?;
        let up = wait::until(PATIENCE, || {
            let answer = client.call(own)?;
            Ok((answer.code == 0).then_some(()))
        })?;
        up.context("its directory is not watched")?;
        client.run(&["--name", "usual"])?;
        for (name, network) in [("own", "ownnet"), ("usual", "podnet")] {
            let pod = client.inspect(name)?;
            scene::agrees_with_outside(&pod)?;
            ensure!(pod["networkSettings"]["Bridge"] == network, "{pod:#}");
        }
        // What is up does not need the file any more, over a restart either.
        fs::remove_file(file)?;
        let scene = scene.restart(End::Kill)?;
        let client = scene.client();
        for name in ["own", "usual"] {
            becomes(&client, name, |pod| pod["ready"] == true)?;
            client.call(["rm", "-f", name])?.done()?;
        }
        scene.close()
    })
}

/// A handler's choices of cgroup and seccomp are its sandboxes'.
#[test]
fn a_handler_has_a_cgroup_parent_and_a_seccomp_profile_of_its_own() -> Result<()> {
    node::run(Layout::V1, || {
        let config = Config::with_file(
            "[runtime.handlers.runc]\ncgroup_parent = 'machines'\nseccomp = 'unconfined'\n",
        );
        let scene = Scene::open_with(&config, &[podnet()])?;
        let client = scene.client();
        for (handler, parent, mode) in [("runc", "/machines/", '0'), ("crun", "/podwalk/", '2')] {
            let id = client.run(&["--name", handler, "--runtime", handler])?;
            let told = Told::by(&client.inspect(&id)?)?;
            let process = Path::new("/proc").join(told.pid.to_string());
            let groups = fs::read_to_string(process.join("cgroup"))?;
            ensure!(groups.contains(&format!("{parent}{id}")), "{groups}");
            let status = fs::read_to_string(process.join("status"))?;
            let seccomp = status.lines().find(|line| line.starts_with("Seccomp:"));
            ensure!(seccomp.is_some_and(|line| line.ends_with(mode)), "{status}");
        }
        for handler in ["runc", "crun"] {
            client.call(["rm", "-f", handler])?.done()?;
        }
        scene.close()
    })
}
