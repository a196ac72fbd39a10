//! What an operator does about debts and about pods that do not decode, with the real daemon, real
//! faulty plugins, and real flipped bytes.
#![forbid(unsafe_code)]

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use podwalk_testkit::scripted_plugin::{Answer, Installed, Script};
use podwalk_tests::conflist::Bridge;
use podwalk_tests::daemon::{self, Client, Config};
use podwalk_tests::plugins::Plugins;
use serde_json::{Value, json};

mod again;
mod ledger;
mod quarantine;

/// A guard against a hang, no measure of speed. The longest pause of the daemon is a minute.
const PATIENCE: Duration = Duration::from_secs(120);

/// The network that works: both families, and ports.
fn podnet() -> Bridge {
    Bridge::new("podnet", "10.88.0.0/24").with_ports()
}

/// Network `stuck`, whose last plugin is `scripted`: ADD hands on what came before it, and DEL fails
/// as long as [`mend`] is not called.
fn stuck(config: &mut Config) -> Result<(Installed, Bridge)> {
    let plugins = Plugins::before(config)?;
    let add = Answer {
        succeed: true,
        ..Answer::default()
    };
    let del = Answer {
        error: Some(json!({"cniVersion": "1.0.0", "code": 120, "msg": "controller unreachable"})),
        ..Answer::default()
    };
    let script = Script::new().on("ADD", add).on("DEL", del);
    let plugin = plugins.scripted("scripted", &script)?;
    let network = Bridge::new("stuck", "10.99.0.0/24")
        .with_ports()
        .then(json!({"type": "scripted"}));
    Ok((plugin, network))
}

/// From now on every verb of the plugin succeeds.
fn mend(plugin: &Installed) -> Result<()> {
    plugin.set_script(&Script::new()).context("the script")
}

/// Expects that a command failed with this exit code and every one of these words on stderr.
fn refused(answer: &daemon::Answer, code: i32, words: &[&str]) -> Result<()> {
    ensure!(answer.code == code, "exit code {}: {answer:?}", answer.code);
    says(&answer.stderr, words)
}

/// Expects every one of these words in a text.
fn says(text: &str, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(text.contains(word), "no {word:?} in: {text}");
    }
    Ok(())
}

/// The rows of a command that lists.
fn rows(client: &Client, arguments: &[&str]) -> Result<Vec<Value>> {
    match client.json(arguments)? {
        Value::Array(rows) => Ok(rows),
        other => anyhow::bail!("no array: {other}"),
    }
}

/// Expects an object to have these keys and no others: it is documented.
fn has_keys(object: &Value, keys: &[&str]) -> Result<()> {
    let found = object.as_object().context("no object")?;
    let mut found: Vec<&str> = found.keys().map(String::as_str).collect();
    let mut keys = keys.to_vec();
    found.sort_unstable();
    keys.sort_unstable();
    ensure!(found == keys, "{found:?} in place of {keys:?}");
    Ok(())
}

fn shown(path: &Path) -> Result<&str> {
    path.to_str().context("a path")
}
