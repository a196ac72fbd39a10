//! Configuration files that the daemon does not start with.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use podwalk_tests::daemon::{Config, Daemon};
use podwalk_tests::node::{self, Layout};
use podwalk_tests::oracle::{Oracle, Places};
use podwalk_tests::scene::Scene;

use crate::{podnet, says, still_serves};

const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a daemon that must end by itself with exit code 1, and gives what it wrote.
pub(crate) fn fails_to_start(config: &Config) -> Result<String> {
    let _ = std::fs::remove_file(config.log());
    let (mut daemon, _ready) = Daemon::spawn(config)?;
    let end = daemon.await_end(PATIENCE)?;
    let end = end.with_context(|| format!("it runs: {}", daemon.log()))?;
    ensure!(end.code() == Some(1), "{end}: {}", daemon.log());
    Ok(daemon.log())
}

#[test]
fn each_is_refused_by_file_line_and_key() -> Result<()> {
    node::run(Layout::V2, || {
        let mut config = Config::default();
        std::fs::create_dir_all(&config.netns_dir)?;
        let oracle = Oracle::new(Places::of(&config)?)?;
        let cases = [
            (
                "debts = 3\nlisten_on = '/x'",
                &["podwalk.toml", "line 1", "debts"][..],
            ),
            (
                "\nlisten_on = '/run/x.sock'",
                &["podwalk.toml", "line 2", "listen_on", "expected one of"],
            ),
            (
                "[cni]\nplugin_secs = 3",
                &["line 2", "plugin_secs", "plugin_seconds"],
            ),
            (
                "shutdown_seconds = 1\nshutdown_seconds = 2",
                &["line 2", "duplicate key"],
            ),
            (
                "[cni]\nplugin_seconds = 0",
                &["cni.plugin_seconds = 0", "at least 1"],
            ),
            ("[cni]\nplugin_seconds = -1", &["line 2", "-1"]),
            ("state_dir = 'var'", &["state_dir = 'var'", "absolute"]),
            ("run_dir = '/run/a:b'", &["run_dir = '/run/a:b'", "':'"]),
            ("[log]\nformat = 'xml'", &["line 2", "xml", "text"]),
            ("[log]\nfilter = 'a=b=c'", &["log.filter", "a=b=c"]),
            (
                "[runtime]\ndefault = 'kta'",
                &["runtime.default", "'kta'", "crun"],
            ),
            (
                "[runtime.handlers.mine]\n",
                &["runtime.handlers.mine", "binary"],
            ),
            (
                "[runtime.handlers.crun]\nbinry = 'x'",
                &["line 2", "binry", "binary"],
            ),
            ("this is no TOML", &["podwalk.toml", "line 1"]),
        ];
        for (text, words) in cases {
            config.file = Some(text.to_owned());
            let log = fails_to_start(&config)?;
            says(&log, words).with_context(|| text.to_owned())?;
            ensure!(!config.socket().exists(), "{text}: a socket is there");
        }
        oracle.assert_clean()
    })
}

#[test]
fn a_file_that_is_named_must_be_there() -> Result<()> {
    node::run(Layout::V2, || {
        let mut config = Config {
            arguments: vec!["--config".to_owned(), "/nonexistent.toml".to_owned()],
            ..Config::default()
        };
        says(
            &fails_to_start(&config)?,
            &["/nonexistent.toml", "No such file"],
        )?;
        // Without it the daemon starts.
        config.arguments.clear();
        let scene = Scene::open_with(&config, &[podnet()])?;
        still_serves(&scene.client())?;
        scene.close()
    })
}

#[test]
fn a_flag_that_is_unknown_is_a_usage_error() -> Result<()> {
    node::run(Layout::V2, || {
        let config = Config {
            arguments: vec!["--stat-dir".to_owned(), "/x".to_owned()],
            ..Config::default()
        };
        let (mut daemon, _ready) = Daemon::spawn(&config)?;
        let end = daemon.await_end(PATIENCE)?.context("it runs")?;
        ensure!(end.code() == Some(2), "{end}");
        says(&daemon.log(), &["--stat-dir", "--state-dir"])
    })
}
