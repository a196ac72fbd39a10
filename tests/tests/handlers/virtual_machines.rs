//! What is asked of handlers whose sandbox has a network stack of its own.

use std::fs;

use anyhow::{Context, Result, ensure};
use podwalk_testkit::scripted_plugin::{Answer, Installed as Scripted, Script};
use podwalk_testkit::scripted_shim as shim;
use podwalk_tests::conflist::Bridge;
use podwalk_tests::daemon::Config;
use podwalk_tests::handlers::{RUNSC, scripted};
use podwalk_tests::node::{self, Layout};
use podwalk_tests::plugins::{Plugins, write_program};
use podwalk_tests::scene::{self, Scene};
use serde_json::json;

use crate::suite::says;

/// From the moment that a start is answered, the address answers, and not from the host's namespace.
#[test]
fn scenario_21_the_address_answers_from_inside_right_after_the_start() -> Result<()> {
    node::run(Layout::V1, || {
        let network = Bridge::new("podnet", "10.88.0.0/24");
        let scene = Scene::open_with(&RUNSC.configured()?, &[network])?;
        let client = scene.client();
        for number in 0..8 {
            let name = format!("pod{number}");
            client.run(&["--name", &name, "--runtime", RUNSC.name])?;
            let told = scene::agrees_with_outside(&client.inspect(&name)?);
            told.with_context(|| name.clone())?;
        }
        for row in client.list(true)? {
            client
                .call(["rm", "-f", row["id"].as_str().context("id")?])?
                .done()?;
        }
        scene.close()
    })
}

/// A plugin that answers an address and adds nothing.
fn empty_answer() -> Answer {
    Answer {
        result: Some(json!({
            "cniVersion": "1.0.0",
            "interfaces": [{"name": "eth0", "sandbox": "/run/netns/somewhere"}],
            "ips": [{"address": "10.88.0.2/24", "interface": 0}],
        })),
        ..Answer::default()
    }
}

/// A daemon's configuration with a network whose plugin adds nothing; and the plugin.
fn with_an_empty_network(mut config: Config) -> Result<(Config, Scripted)> {
    let plugin = Plugins::before(&mut config)?
        .scripted("scripted", &Script::new().on("ADD", empty_answer()))?;
    fs::create_dir_all(&config.cni_conf_dir)?;
    let network =
        json!({"cniVersion": "1.0.0", "name": "empty", "plugins": [{"type": "scripted"}]});
    fs::write(config.cni_conf_dir.join("10.conflist"), network.to_string())?;
    Ok((config, plugin))
}

/// A shim of virtual machines is not even started there.
#[test]
fn scenario_21_a_shim_that_would_find_no_interface_is_not_started() -> Result<()> {
    node::run(Layout::V2, || {
        let (shim, configuration) = scripted("machine", &shim::Script::new())?;
        let config = Config::with_file(configuration + "vm = true\n");
        let (config, plugin) = with_an_empty_network(config)?;
        let scene = Scene::open_with(&config, &[])?;
        let client = scene.client();
        let run = ["run", "--name", "web", "--runtime", "machine"];
        let answer = client.call(run)?;
        ensure!(answer.code == 1, "{answer:?}");
        says(&answer.stderr, &["Start failed", "no interface besides lo"])?;
        ensure!(client.list(true)?.is_empty(), "it is still there");
        ensure!(plugin.commands()? == ["ADD", "DEL"]);
        let names = shim.names()?;
        ensure!(!names.contains(&"start".to_owned()), "{names:?}");
        client
            .call([&run[..], &["--network", "none"]].concat())?
            .done()?;
        client.call(["rm", "-f", "web"])?.done()?;
        scene.close()
    })
}

/// A virtual machine is not started where it would find no interface: it would say nothing.
#[test]
fn scenario_21_a_virtual_machine_that_would_find_no_interface_is_not_started() -> Result<()> {
    node::run(Layout::V1, || {
        let (called, binary) = (node::disk().join("called"), node::disk().join("machine"));
        write_program(
            &binary,
            &format!("echo \"$@\" >>{}; exit 1", called.display()),
        )?;
        let (config, plugin) = with_an_empty_network(Config::with_file(format!(
            "[runtime.handlers.machine]\nbinary = '{}'\nvm = true\n",
            binary.display()
        )))?;
        let scene = Scene::open_with(&config, &[])?;
        let client = scene.client();
        let answer = client.call(["run", "--name", "web", "--runtime", "machine"])?;
        ensure!(answer.code == 1, "{answer:?}");
        let words = ["Start failed", "/run/netns/", "no interface besides lo"];
        says(&answer.stderr, &words)?;
        ensure!(!called.exists(), "the runtime was called");
        ensure!(client.list(true)?.is_empty(), "it is still there");
        ensure!(plugin.commands()? == ["ADD", "DEL"]);
        // The network is taken as it is by a sandbox that has the host's network stack.
        client.run(&["--name", "plain"])?;
        client.call(["rm", "-f", "plain"])?.done()?;
        // And who asks for no network gets none.
        let none = [
            "run",
            "--name",
            "web",
            "--runtime",
            "machine",
            "--network",
            "none",
        ];
        let answer = client.call(none)?;
        says(&answer.stderr, &["machine run"])?;
        ensure!(called.exists(), "the runtime was not called");
        scene.close()
    })
}

/// Where the kernel's tunnels are loaded, each namespace is born with interfaces of theirs, down and
/// without an address. No machine takes them for a network.
#[test]
fn scenario_21_an_interface_without_an_address_is_no_network_for_a_virtual_machine() -> Result<()> {
    node::run(Layout::V2, || {
        let (shim, configuration) = scripted("machine", &shim::Script::new())?;
        let mut config = Config::with_file(configuration + "vm = true\n");
        Plugins::before(&mut config)?.shell(
            "tunnel",
            "[ $CNI_COMMAND = ADD ] || exit 0\n\
             nsenter --net=$CNI_NETNS ip link add tunl0 type dummy >&2\n\
             echo '{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"10.88.0.2/24\"}]}'",
        )?;
        fs::create_dir_all(&config.cni_conf_dir)?;
        let network = r#"{"cniVersion":"1.0.0","name":"t","plugins":[{"type":"tunnel"}]}"#;
        fs::write(config.cni_conf_dir.join("10.conflist"), network)?;
        let scene = Scene::open_with(&config, &[])?;
        let client = scene.client();
        let answer = client.call(["run", "--name", "web", "--runtime", "machine"])?;
        ensure!(answer.code == 1, "{answer:?}");
        says(&answer.stderr, &["Start failed", "that has an address"])?;
        let names = shim.names()?;
        ensure!(!names.contains(&"start".to_owned()), "{names:?}");
        // A process uses it as it is.
        client.run(&["--name", "plain"])?;
        client.call(["rm", "-f", "plain"])?.done()?;
        scene.close()
    })
}

/// gVisor would take away the host's addresses, or another pod's.
#[test]
fn a_network_that_is_somebody_else_s_is_not_used_up() -> Result<()> {
    node::run(Layout::V1, || {
        let mut config = RUNSC.configured()?;
        let runsc = node::disk().join("runsc");
        config.file.get_or_insert_default().push_str(&format!(
            "[runtime.handlers.beside]\nbinary = '{}'\nvm = true\nconsumes_network = false\n\
             arguments = ['--platform=ptrace', '--network=host']\n",
            runsc.display()
        ));
        let network = Bridge::new("podnet", "10.88.0.0/24");
        let scene = Scene::open_with(&config, &[network])?;
        let client = scene.client();
        let owner = client.run(&["--name", "owner"])?;
        let of_owner = format!("pod:{owner}");
        for (mode, whose) in [("host", "the host's"), (of_owner.as_str(), "another pod's")] {
            let run = ["run", "--name", "web", "--network", mode, "--runtime"];
            let answer = client.call([&run[..], &["runsc"]].concat())?;
            ensure!(answer.code == 1, "{answer:?}");
            says(
                &answer.stderr,
                &["'runsc'", whose, "network mode cni or none"],
            )?;
            // One that only goes by it may.
            client.call([&run[..], &["beside"]].concat())?.done()?;
            ensure!(client.inspect("web")?["ready"] == true);
            client.call(["rm", "-f", "web"])?.done()?;
        }
        scene::agrees_with_outside(&client.inspect(&owner)?)?;
        client.call(["rm", "-f", &owner])?.done()?;
        scene.close()
    })
}
