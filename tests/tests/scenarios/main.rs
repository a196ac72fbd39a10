//! Failures that real engines suffered, each as a test of the real daemon with real namespaces and,
//! where CNI matters, with real plugins in front of a faulty one.
//!
//! The numbers are the rows of `tests/scenarios.md`, which says where the others are tested.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use podwalk_testkit::scripted_plugin::{Answer, Installed, Script};
use podwalk_tests::conflist::Bridge;
use podwalk_tests::daemon::{Client, Config};
use podwalk_tests::plugins::Plugins;
use podwalk_tests::scene::Scene;
use podwalk_tests::{outside, wait};
use serde_json::{Value, json};

mod add;
mod boot;
mod journal;
mod key;
mod neighbours;
mod recovery;
mod release;
mod sandbox;
mod table;

/// A guard against a hang, no measure of speed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The network that works: both families.
fn podnet() -> Bridge {
    Bridge::new("podnet", "10.88.0.0/24").and("fd00:88::/64")
}

/// A daemon whose plugin directory has scripted plugins in front of Debian's.
struct Stage {
    config: Config,
    plugins: Plugins,
}

impl Stage {
    fn set() -> Result<Self> {
        let mut config = Config::default();
        let plugins = Plugins::before(&mut config)?;
        Ok(Self { config, plugins })
    }

    /// A scripted plugin named `scripted`, with these answers for ADD and DEL.
    fn scripted(&self, add: Answer, del: Answer) -> Result<Installed> {
        let script = Script::new().on("ADD", add).on("DEL", del);
        self.plugins.scripted("scripted", &script)
    }

    /// The daemon, with the working network alone and the scripted plugin chained behind it.
    fn open(&self) -> Result<Scene> {
        Scene::open_with(&self.config, &[behind(podnet())])
    }
}

/// The network with the scripted plugin behind it.
fn behind(network: Bridge) -> Bridge {
    network.then(json!({"type": "scripted"}))
}

/// Succeeds as plugins do: ADD hands on what came before it.
fn fine() -> Answer {
    Answer {
        succeed: true,
        ..Answer::default()
    }
}

/// Succeeds as soon as the file is there.
fn waiting_for(file: &Path) -> Answer {
    Answer {
        wait_for: Some(file.to_owned()),
        ..fine()
    }
}

fn failing(msg: &str) -> Answer {
    Answer {
        error: Some(json!({"cniVersion": "1.0.0", "code": 120, "msg": msg})),
        ..Answer::default()
    }
}

/// Starts a client command that goes on beside the test.
fn begin(client: &Client, arguments: &[&str]) -> Result<Child> {
    let mut command = client.command(arguments)?;
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().context("podwalk")
}

/// Waits for its end, which must be a success: what it printed.
fn succeeds(child: Child) -> Result<String> {
    let ran = child.wait_with_output()?;
    ensure!(ran.status.success(), "{}: {}", ran.status, words(&ran));
    Ok(String::from_utf8_lossy(&ran.stdout).trim().to_owned())
}

/// Waits for its end, which must be a failure: what it complained of.
fn fails(child: Child) -> Result<String> {
    let ran = child.wait_with_output()?;
    ensure!(
        ran.status.code() == Some(1),
        "{}: {}",
        ran.status,
        words(&ran)
    );
    Ok(words(&ran))
}

fn words(ran: &Output) -> String {
    String::from_utf8_lossy(&ran.stderr).into_owned()
}

/// Waits until a plugin has been called with these verbs, in order.
fn has_been_called(plugin: &Installed, verbs: &[&str]) -> Result<()> {
    let seen = wait::until(PATIENCE, || Ok((plugin.commands()? == verbs).then_some(())))?;
    seen.with_context(|| format!("{:?} in place of {verbs:?}", plugin.commands()))
}

/// Waits until `ps -a` shows a row of this name that is so.
fn comes_to_be(client: &Client, name: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
    let mut last = Value::Null;
    let found = wait::until(PATIENCE, || {
        let rows = client.list(true)?;
        let row = rows.into_iter().find(|row| row["name"] == name);
        last = row.clone().unwrap_or_default();
        Ok(row.filter(&is))
    })?;
    found.with_context(|| format!("{name} does not come to be so: {last}"))
}

/// Waits until no pod is left.
fn comes_to_be_empty(client: &Client) -> Result<()> {
    let empty = wait::until(PATIENCE, || Ok(client.list(true)?.is_empty().then_some(())))?;
    empty.with_context(|| format!("there are pods left: {:?}", client.list(true)))
}

/// Expects every one of these words in a text.
fn says(text: &str, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(text.contains(word), "no {word:?} in: {text}");
    }
    Ok(())
}

/// Runs a command of the system, which must succeed.
fn system(line: &str) -> Result<String> {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().context("a command")?);
    outside::output(command.args(words))
}

/// Whether a process is there, dead ones that nobody has waited for excepted.
fn lives(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest.trim_start());
    !state.is_empty() && !state.starts_with(['Z', 'X'])
}

fn sandbox_of(detail: &Value) -> Result<u64> {
    detail["sandbox"]["pid"].as_u64().context("no sandbox")
}
