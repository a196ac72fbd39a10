//! The sandbox key: whose namespace is on it, and what happens when it is not the pod's.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use podwalk_tests::daemon::Config;
use podwalk_tests::node::{self, Layout};
use podwalk_tests::oracle::{Oracle, Places};
use podwalk_tests::outside;
use podwalk_tests::scene::{self, Scene, Told};

use crate::{Stage, begin, fails, fine, has_been_called, podnet, says, system, waiting_for};

/// No path of a process is ever recorded, and a namespace that is not the recorded one is nobody's to
/// hand to CNI.
#[test]
fn scenario_08_a_foreign_namespace_on_the_file_is_not_taken_for_the_pod_s() -> Result<()> {
    node::run(Layout::V2, || {
        let stage = Stage::set()?;
        let plugin = stage.scripted(fine(), fine())?;
        let scene = stage.open()?;
        let client = scene.client();
        let id = client.run(&["--name", "web"])?;
        let journal = client.json(&["journal", &id])?.to_string();
        ensure!(journal.contains("/run/netns/"), "{journal}");
        ensure!(
            !journal.contains("/proc/"),
            "a path of a process: {journal}"
        );
        let told = Told::by(&client.inspect(&id)?)?;
        let key = told.key.display();
        system("ip netns add other")?;
        system("ip -n other link add keep type bridge")?;
        system(&format!("umount {key}"))?;
        system(&format!("mount --bind /run/netns/other {key}"))?;
        client.stop(&id)?;
        let del = plugin.records()?.pop().context("no record")?;
        ensure!(del.command == "DEL");
        let netns = del.environment.get("CNI_NETNS").map_or("", String::as_str);
        ensure!(
            netns.is_empty(),
            "CNI_NETNS is {netns}, a foreign namespace"
        );
        // The other one is as it was.
        let names = system("ip -n other -o link")?;
        ensure!(names.contains("keep"), "{names}");
        scene::is_stopped(&told)?;
        client.remove(&id)?;
        system("ip netns del other")?;
        scene.close()
    })
}

/// SIGKILL after the mount and before its record: exactly one mount after recovery.
#[test]
fn scenario_16_a_mount_is_never_stacked_on_another() -> Result<()> {
    node::run(Layout::V2, || {
        let config = Config::default();
        podnet().write(&config.cni_conf_dir, 10)?;
        let mut places = Places::of(&config)?;
        let crash_daemon = node::binary("podwalk-crash-daemon", "podwalk-tests")?;
        places.spared.push(crash_daemon.clone());
        let oracle = Oracle::new(places)?;
        let mut crashing = config.clone();
        crashing.program = Some(crash_daemon);
        let at = "netns.bound#1".to_owned();
        crashing
            .environment
            .push((podwalk_tests::crash::CRASH_AT.to_owned(), at));
        let mut daemon = podwalk_tests::daemon::Daemon::start(&crashing)?;
        ensure!(daemon.client().call(["run", "--name", "web"])?.code != 0);
        let end = daemon
            .await_end(crate::PATIENCE)?
            .context("it has not crashed")?;
        ensure!(!end.success());
        let before = fs::read_dir(&config.netns_dir)?
            .next()
            .context("no file")??
            .path();
        ensure!(
            outside::mounts_on(&before)? == 1,
            "the crash was not after the mount"
        );

        let daemon = podwalk_tests::daemon::Daemon::start(&config)?;
        let client = daemon.client();
        crate::comes_to_be(&client, "web", |row| row["ready"] == true)?;
        let told = scene::agrees_with_outside(&client.inspect("web")?)?;
        ensure!(outside::mounts_on(&told.key)? == 1);
        client.call(["rm", "-f", "web"])?.done()?;
        ensure!(daemon.terminate()?.success());
        oracle.assert_clean()
    })
}

/// Whatever a client writes into annotations, its pod is configured in its own namespace.
#[test]
fn scenario_17_no_annotation_overrides_the_namespace() -> Result<()> {
    node::run(Layout::V2, || {
        let stage = Stage::set()?;
        let plugin = stage.scripted(fine(), fine())?;
        let scene = stage.open()?;
        let client = scene.client();
        system("ip netns add victim")?;
        let keys = [
            "cni.netns",
            "CNI_NETNS",
            "sandboxKey",
            "SandboxKey",
            "netns",
            "io.podwalk.sandbox-key",
            "io.kubernetes.cri.sandbox-netns",
            "org.openeuler.isulad.sandbox-key",
            "sandbox_key",
        ];
        let pairs = keys.map(|key| format!("{key}=/run/netns/victim"));
        let mut arguments = vec!["--name", "web"];
        for pair in &pairs {
            arguments.extend(["--annotation", pair]);
        }
        let id = client.run(&arguments)?;
        let told = scene::agrees_with_outside(&client.inspect(&id)?)?;
        ensure!(told.key == Path::new("/run/netns").join(&id), "{told:?}");
        let netns = plugin.records()?[0].environment["CNI_NETNS"].clone();
        ensure!(netns.ends_with(&id), "{netns}");
        let interfaces = outside::interfaces(Path::new("/run/netns/victim"))?;
        ensure!(interfaces.len() == 1, "{interfaces:?}");
        client.stop(&id)?;
        ensure!(plugin.records()?[1].environment["CNI_NETNS"] == netns);
        ensure!(outside::namespace_on(Path::new("/run/netns/victim"))?.is_some());
        client.remove(&id)?;
        system("ip netns del victim")?;
        scene.close()
    })
}

/// The namespace goes away between its configuration and the sandbox: an error with its path, never a
/// pod without a network.
fn a_namespace_that_goes(then: fn(&Path) -> Result<()>) -> Result<()> {
    let stage = Stage::set()?;
    let go = node::disk().join("go");
    let plugin = stage.scripted(waiting_for(&go), fine())?;
    let scene = stage.open()?;
    let client = scene.client();
    let start = begin(&client, &["run", "--name", "web"])?;
    has_been_called(&plugin, &["ADD"])?;
    let key = plugin.records()?[0].environment["CNI_NETNS"].clone();
    system(&format!("umount {key}"))?;
    then(Path::new(&key))?;
    fs::write(&go, "")?;
    let said = fails(start)?;
    says(&said, &[&key])?;
    let step = said.contains("ConfigureCni failed") || said.contains("Start failed");
    ensure!(step, "no step: {said}");
    ensure!(client.list(true)?.is_empty(), "{:?}", client.list(true)?);
    ensure!(
        plugin.commands()? == ["ADD", "DEL"],
        "{:?}",
        plugin.commands()?
    );
    scene.close()
}

#[test]
fn scenario_18_a_missing_namespace_path_is_an_error() -> Result<()> {
    node::run(Layout::V2, || {
        a_namespace_that_goes(|key| Ok(fs::remove_file(key)?))
    })
}

#[test]
fn scenario_42_a_plain_file_on_the_path_is_no_namespace() -> Result<()> {
    node::run(Layout::V2, || a_namespace_that_goes(|_| Ok(())))
}

/// The same at the last moment: the runtime is never given a file that is no namespace.
#[test]
fn scenario_42_the_runtime_is_not_given_a_plain_file() -> Result<()> {
    node::run(Layout::V2, || {
        let scene = Scene::open(&[podnet()])?;
        let client = scene.client();
        let owner = client.run(&["--name", "owner"])?;
        let told = scene::agrees_with_outside(&client.inspect(&owner)?)?;
        system(&format!("umount {}", told.key.display()))?;
        let mode = format!("pod:{owner}");
        let said = fails(begin(
            &client,
            &["run", "--name", "guest", "--network", &mode],
        )?)?;
        let key = told.key.to_str().context("a path")?;
        says(
            &said,
            &[
                "Start failed",
                key,
                "the network namespace that was made is no longer on",
                "look who",
            ],
        )?;
        ensure!(client.list(true)?.len() == 1);
        client.call(["rm", "-f", &owner])?.done()?;
        scene.close()
    })
}
