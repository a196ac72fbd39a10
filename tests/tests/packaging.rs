//! What is installed beside the binary: it loads, it works, and it keeps its promises.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use podwalk::config;
use podwalk_tests::daemon::Config;
use podwalk_tests::node::{self, Layout};
use podwalk_tests::scene::{self, Scene};

fn packaged(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../packaging")
        .join(name)
}

#[test]
fn the_sample_configuration_shows_every_key_with_its_default() -> Result<()> {
    let text = fs::read_to_string(packaged("config.toml"))?;
    ensure!(config::Config::parse(&text)? == config::Config::default());
    // That it equals the defaults proves nothing of keys that it does not have.
    let names = format!("{:?}", config::Config::default());
    let keys = names
        .split([' ', '{', ','])
        .filter_map(|word| word.strip_suffix(':'));
    // An empty map shows no key of its own; the sample shows how one is written.
    for key in keys.filter(|key| !["handlers", "networks"].contains(key)) {
        let is_shown = text
            .lines()
            .any(|line| line.starts_with(&format!("{key} = ")) || line == format!("[{key}]"));
        ensure!(is_shown, "the sample does not show {key}");
    }
    Ok(())
}

/// The blocks of handlers in the sample's comments, as they are without the comment's signs.
fn handlers_in_comments(text: &str) -> String {
    let lines = text.lines().skip_while(|line| !is_handler(line));
    let mut shown = Vec::new();
    let mut inside = false;
    for line in lines.take_while(|line| *line != "[recovery]") {
        inside = is_handler(line) || (inside && line.starts_with("# ") && line.contains(" = "));
        if inside {
            shown.push(line.trim_start_matches("# "));
        }
    }
    shown.join("\n")
}

fn is_handler(line: &str) -> bool {
    line.starts_with("# [runtime.handlers.")
}

#[test]
fn the_handlers_in_the_sample_s_comments_are_valid_and_show_every_key() -> Result<()> {
    let text = fs::read_to_string(packaged("config.toml"))?;
    let handlers = handlers_in_comments(&text);
    let parsed = config::Config::parse(&handlers)?;
    let names: Vec<&str> = parsed.runtime.handlers.keys().map(String::as_str).collect();
    ensure!(names == ["crun", "kata", "shim-runc"], "{handlers}");
    ensure!(!parsed.runtime.handlers["kata"].annotations.is_empty());
    let default = format!("{:?}", config::Handler::default());
    let keys = default
        .split([' ', '{', ','])
        .filter_map(|word| word.strip_suffix(':'));
    for key in keys.filter(|key| *key != "networks") {
        let is_shown = handlers
            .lines()
            .any(|line| line.starts_with(&format!("{key} = ")));
        ensure!(is_shown, "the sample's handlers do not show {key}");
    }
    Ok(())
}

#[test]
fn the_unit_lets_pods_and_mounts_outlive_the_daemon() -> Result<()> {
    let unit = fs::read_to_string(packaged("podwalk.service"))?;
    let settings: Vec<(&str, &str)> = unit
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .collect();
    for wanted in [
        ("Type", "notify"),
        ("KillMode", "process"),
        ("Delegate", "yes"),
        ("ExecStart", "/usr/bin/podwalk serve"),
    ] {
        ensure!(settings.contains(&wanted), "{wanted:?} is missing");
    }
    // Whatever gives a unit a mount namespace of its own begins with one of these.
    let unsharing = [
        "Private",
        "Protect",
        "ReadOnly",
        "ReadWrite",
        "Inaccessible",
        "Exec",
        "NoExec",
        "Bind",
        "Temporary",
        "Root",
        "Mount",
        "Dynamic",
        "Extension",
        "State",
        "Runtime",
        "Cache",
    ];
    for (key, _) in settings {
        let is_start = key.starts_with("ExecStart") || key.starts_with("ExecReload");
        let unshares = unsharing.iter().any(|prefix| key.starts_with(prefix));
        ensure!(is_start || !unshares, "{key} may unshare mounts");
    }
    Ok(())
}

#[test]
fn a_pod_runs_on_the_sample_network_with_the_sample_configuration() -> Result<()> {
    node::run(Layout::V2, || {
        let mut config = Config::default();
        fs::create_dir_all(&config.cni_conf_dir)?;
        let name = "10-podwalk-bridge.conflist";
        fs::copy(packaged(name), config.cni_conf_dir.join(name))?;
        config.file = Some(fs::read_to_string(packaged("config.toml"))?);
        let scene = Scene::open_with(&config, &[])?;
        let client = scene.client();
        let id = client.run(&["--name", "first", "--port", "8080:80"])?;
        let told = scene::agrees_with_outside(&client.inspect(&id)?)?;
        ensure!(told.addresses.len() == 2, "not dual stack: {told:?}");
        client.stop(&id)?;
        scene::is_stopped(&told)?;
        client.remove(&id)?;
        scene.close()
    })
}
