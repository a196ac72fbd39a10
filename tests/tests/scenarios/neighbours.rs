//! What else is on the host: other ports on the bridge, another daemon.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use podwalk_testkit::scripted_plugin::Script;
use podwalk_tests::conflist::Bridge;
use podwalk_tests::daemon::{Client, Config, Daemon};
use podwalk_tests::node::{self, Layout};
use podwalk_tests::oracle::{Oracle, Places};
use podwalk_tests::outside;
use podwalk_tests::plugins::Plugins;
use podwalk_tests::scene::{self, Scene, Told};
use podwalk_tests::wait;

use crate::{
    PATIENCE, begin, behind, comes_to_be, fails, fine, has_been_called, lives, podnet, says,
    succeeds, system, waiting_for,
};

/// The kernel counts to `BR_MAX_PORTS`, which is 1,024, and gives no port the number 0.
const PORTS: usize = 1023;

/// A bridge has 1,023 ports. The pod that finds none free is told so and leaves nothing; when another
/// one goes, the next start has its port.
///
/// Ports that are no pods' fill the bridge, but for three; with `PODWALK_FULL_BRIDGE=1` all are pods'.
#[test]
fn scenario_30_a_bridge_without_a_free_port_is_told() -> Result<()> {
    node::run_within(Layout::V2, PATIENCE * 20, || {
        let scene = Scene::open(&[Bridge::new("full0", "10.30.0.0/20").and("fd30::/64")])?;
        let client = scene.client();
        client.run(&["--name", "pod0"])?;
        let others = match std::env::var_os("PODWALK_FULL_BRIDGE") {
            Some(_) => 0,
            None => PORTS - 3,
        };
        fill("full0", others)?;
        for number in 1..PORTS - others {
            client.run(&["--name", &format!("pod{number}")])?;
        }
        let before = things()?;
        let said = fails(begin(&client, &["run", "--name", "late"])?)?;
        says(&said, &["plugin bridge", "full0", "exchange full", "1023"])?;
        ensure!(things()? == before, "{before:?}, now {:?}", things()?);
        ensure!(client.list(true)?.len() == PORTS - others);

        client.call(["rm", "-f", "pod1"])?.done()?;
        client.run(&["--name", "late"])?;
        scene::agrees_with_outside(&client.inspect("late")?)?;
        for row in client.list(true)? {
            let id = row["id"].as_str().context("id")?;
            client.call(["rm", "-f", id])?.done()?;
        }
        if others > 0 {
            system("ip link delete group 30")?;
        }
        scene.close()
    })
}

/// Gives the bridge so many ports that are no pod's.
fn fill(bridge: &str, ports: usize) -> Result<()> {
    let line = |number| format!("link add port{number} group 30 master {bridge} type ifb\n");
    let lines: String = (0..ports).map(line).collect();
    let batch = node::disk().join("ports");
    fs::write(&batch, lines)?;
    let mut command = Command::new("ip");
    command.arg("-batch").arg(batch).stdin(Stdio::null());
    outside::output(&mut command).map(drop)
}

/// Interfaces, addresses and namespace files: what a start would leave.
fn things() -> Result<BTreeSet<String>> {
    let links = system("ip -brief link")?;
    let names = links
        .lines()
        .filter_map(|line| line.split(['@', ' ']).next());
    let mut found: BTreeSet<String> = names.map(ToOwned::to_owned).collect();
    for directory in ["/var/lib/cni/networks/full0", "/run/netns"] {
        for entry in fs::read_dir(directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            found.insert(name);
        }
    }
    Ok(found)
}

/// A second daemon on the same host, with the same networks and the same namespace directory. It is
/// killed, started again, and started with another state directory: nothing of the first one's is
/// touched, neither what runs nor what is on its way. Names may be the same.
#[test]
fn scenario_55_another_instance_s_restarts_touch_nothing_of_ours() -> Result<()> {
    node::run(Layout::V1, || {
        let long = "[cni]\nplugin_seconds = 100\nstep_seconds = 100\n";
        let mut ours = Config::with_file(long);
        let plugins = Plugins::before(&mut ours)?;
        let mut theirs = Config::named("other");
        theirs.file.clone_from(&ours.file);
        theirs.cni_bin_dirs.clone_from(&ours.cni_bin_dirs);
        behind(podnet()).write(&ours.cni_conf_dir, 10)?;
        let (go, never) = (node::disk().join("go"), node::disk().join("never"));
        let script = Script::new()
            .on("ADD", fine())
            .on("ADD", fine())
            .on("ADD", waiting_for(&go))
            .on("ADD", waiting_for(&never))
            .on("ADD", fine());
        let plugin = plugins.scripted("scripted", &script)?;
        let mut places = Places::of(&ours)?;
        places.directories.extend(Places::of(&theirs)?.directories);
        let oracle = Oracle::new(places)?;

        let (our_daemon, their_daemon) = (Daemon::start(&ours)?, Daemon::start(&theirs)?);
        let (us, them) = (our_daemon.client(), their_daemon.client());
        us.run(&["--name", "web", "--port", "20055:80"])?;
        them.run(&["--name", "web"])?;
        let our_start = begin(&us, &["run", "--name", "starts"])?;
        has_been_called(&plugin, &["ADD", "ADD", "ADD"])?;
        let their_start = begin(&them, &["run", "--name", "starts"])?;
        has_been_called(&plugin, &["ADD", "ADD", "ADD", "ADD"])?;
        let calls = plugin.records()?;
        let (our_plugin, their_plugin) = (u64::from(calls[2].pid), u64::from(calls[3].pid));
        let (ours_before, theirs_before) = (running(&us)?, running(&them)?);

        let their_daemon = their_daemon.crash_and_restart()?;
        fails(their_start)?;
        comes_to_be(&them, "starts", |row| row["ready"] == true)?;
        ensure!(!lives(their_plugin), "their plugin has outlived them");
        ensure!(lives(our_plugin), "our plugin was killed");
        ensure!(running(&us)? == ours_before);
        ensure!(running(&them)? == theirs_before);
        let verbs = ["ADD", "ADD", "ADD", "ADD", "DEL", "ADD"];
        ensure!(plugin.commands()? == verbs, "{:?}", plugin.commands()?);

        // With an empty state directory it is another instance, to which all of these are strangers.
        ensure!(their_daemon.terminate()?.success());
        let kept = node::disk().join("kept");
        fs::rename(&theirs.state_dir, &kept)?;
        let stranger = Daemon::start(&theirs)?;
        ensure!(stranger.client().list(true)?.is_empty());
        ensure!(stranger.terminate()?.success());
        ensure!(lives(our_plugin), "our plugin was killed");
        ensure!(running(&us)? == ours_before);
        fs::remove_dir_all(&theirs.state_dir)?;
        fs::rename(&kept, &theirs.state_dir)?;
        let their_daemon = Daemon::start(&theirs)?;
        comes_to_be(&them, "web", |row| row["ready"] == true)?;
        ensure!(
            running(&them)? == theirs_before,
            "a stranger has touched it"
        );

        fs::write(&go, "")?;
        succeeds(our_start)?;
        scene::agrees_with_outside(&us.inspect("starts")?)?;
        ensure!(plugin.commands()? == verbs, "{:?}", plugin.commands()?);
        for client in [&them, &us] {
            for name in ["web", "starts"] {
                client.call(["rm", "-f", name])?.done()?;
            }
        }
        for daemon in [their_daemon, our_daemon] {
            ensure!(daemon.terminate()?.success());
        }
        oracle.assert_clean()
    })
}

/// What is on the host by a daemon's name and belongs to no pod is told by its doctor, and removed
/// when that is asked for: never another daemon's, never a pod's, never one in which somebody lives.
#[test]
fn scenario_55_a_doctor_removes_what_is_its_own_daemon_s_and_nobody_s() -> Result<()> {
    node::run(Layout::V2, || {
        let (ours, theirs) = (Config::default(), Config::named("other"));
        podnet().write(&ours.cni_conf_dir, 10)?;
        let mut places = Places::of(&ours)?;
        places.directories.extend(Places::of(&theirs)?.directories);
        let oracle = Oracle::new(places)?;
        let (our_daemon, their_daemon) = (Daemon::start(&ours)?, Daemon::start(&theirs)?);
        let (us, them) = (our_daemon.client(), their_daemon.client());
        us.run(&["--name", "web"])?;
        them.run(&["--name", "web"])?;
        ensure!(doctor(&us, 0, &[])?.contains("orphans: none"));
        let (ours_before, theirs_before) = (running(&us)?, running(&them)?);

        let lost = [orphan(&us, 'a')?, orphan(&us, 'b')?, orphan(&them, 'a')?];
        system("ip netns add stranger")?;
        let [ours_empty, ours_inhabited, theirs_empty] = &lost;
        let mut command = Command::new("ip");
        command.args(["netns", "exec", ours_inhabited, "sleep", "infinity"]);
        let mut inhabitant = command.stdin(Stdio::null()).spawn()?;
        let pid = inhabitant.id().to_string();
        let moved = wait::until(PATIENCE, || {
            let inside = system(&format!("ip netns pids {ours_inhabited}"))?;
            Ok(inside.contains(&pid).then_some(()))
        })?;
        moved.context("nobody lives there")?;
        let there = |name: &str| Path::new("/run/netns").join(name).exists();

        let told = doctor(&us, 1, &[])?;
        let of_us = |told: &str| told.contains(ours_empty) && told.contains(ours_inhabited);
        ensure!(of_us(&told) && told.contains("--fix"), "{told}");
        ensure!(!told.contains(theirs_empty) && !told.contains("stranger"));
        ensure!(lost.iter().all(|name| there(name)), "it only looks");

        let told = doctor(&us, 1, &["--fix"])?;
        ensure!(of_us(&told) && told.contains(&pid), "{told}");
        ensure!(!there(ours_empty), "{told}");
        ensure!(there(ours_inhabited) && there(theirs_empty), "{told}");
        inhabitant.kill()?;
        inhabitant.wait()?;
        doctor(&us, 0, &["--fix"])?;
        ensure!(!there(ours_inhabited) && there(theirs_empty));
        doctor(&them, 0, &["--fix"])?;
        ensure!(!there(theirs_empty) && there("stranger"));
        ensure!(running(&us)? == ours_before && running(&them)? == theirs_before);

        system("ip netns del stranger")?;
        for client in [&them, &us] {
            client.call(["rm", "-f", "web"])?.done()?;
        }
        for daemon in [their_daemon, our_daemon] {
            daemon.has_not_panicked()?;
            ensure!(daemon.terminate()?.success());
        }
        // Nobody is there who could remove anything; what can be looked at is told all the same.
        let state_dir = ours.state_dir.display().to_string();
        let told = doctor(&us, 1, &["--fix", "--state-dir", &state_dir])?;
        let has = |words: &str| told.contains(words);
        ensure!(has("WRONG orphans") && has("network podnet"), "{told}");
        oracle.assert_clean()
    })
}

/// Asks a daemon's doctor, who ends with this exit code; what it says.
fn doctor(client: &Client, code: i32, more: &[&str]) -> Result<String> {
    let command = ["doctor", "--cni-bin-dir", "/usr/lib/cni"];
    let answer = client.call(command.iter().chain(more))?;
    ensure!(answer.code == code, "{answer:?}");
    Ok(answer.stdout)
}

/// Makes a namespace by the name of a pod that this daemon could have had.
fn orphan(client: &Client, digit: char) -> Result<String> {
    let id = client.inspect("web")?["id"]
        .as_str()
        .context("id")?
        .to_owned();
    let instance = id.get(24..).context("an instance")?;
    let name = format!("{}{instance}", digit.to_string().repeat(24));
    system(&format!("ip netns add {name}"))?;
    Ok(name)
}

/// The pod `web` of a daemon, which must be well.
fn running(client: &Client) -> Result<Told> {
    scene::agrees_with_outside(&client.inspect("web")?)
}
