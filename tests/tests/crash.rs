//! SIGKILL at every point of one pod's life, and a restart: the pod is as asked, or nothing is left.
//!
//! The points are generated: a walk up and down is recorded, then repeated with a crash at each point
//! of the record. One point that is not reached fails the run.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use podwalk_tests::conflist::Bridge;
use podwalk_tests::crash::{self, Moment};
use podwalk_tests::daemon::{Config, Daemon};
use podwalk_tests::node::{self, Layout};
use podwalk_tests::oracle::{Oracle, Places};
use podwalk_tests::{outside, scene, wait};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// The walk that is crashed, and who runs it.
struct Table {
    config: Config,
    oracle: Oracle,
    handler: &'static str,
}

impl Table {
    fn open(handler: &'static str) -> Result<Self> {
        let config = Config::default();
        let network = Bridge::new("crash0", "10.99.0.0/24")
            .and("fd99::/64")
            .with_ports();
        network.write(&config.cni_conf_dir, 10)?;
        let mut places = Places::of(&config)?;
        places.spared.push(crash_daemon()?);
        let oracle = Oracle::new(places)?;
        Ok(Self {
            config,
            oracle,
            handler,
        })
    }

    /// The same daemon, listening at its points.
    fn listening(&self, variable: &str, value: &str) -> Result<Config> {
        let mut config = self.config.clone();
        config.program = Some(crash_daemon()?);
        config
            .environment
            .push((variable.to_owned(), value.to_owned()));
        Ok(config)
    }

    /// Starts, stops and removes a pod; false as soon as the daemon is gone.
    fn walk(&self, daemon: &Daemon) -> Result<bool> {
        let client = daemon.client();
        let started = ["run", "--name", "walker", "--runtime", self.handler];
        let verbs: [&[&str]; 3] = [&started, &["stop", "walker"], &["rm", "walker"]];
        for verb in verbs {
            let answer = client.call(verb.iter())?;
            if answer.code != 0 {
                // Whatever else it says, only a dead daemon excuses it.
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn record(&self) -> Result<Vec<Moment>> {
        let log = node::disk().join("points");
        let config = self.listening(crash::LOG, log.to_str().context("a path")?)?;
        let daemon = Daemon::start(&config)?;
        ensure!(
            self.walk(&daemon)?,
            "the walk fails even without a crash: {}",
            daemon.log()
        );
        daemon.kill9()?;
        self.oracle.assert_clean()?;
        crash::recorded(&log)
    }

    /// One row: crash there, restart, look.
    fn crash_at(&self, moment: &Moment) -> Result<()> {
        self.begin_anew()?;
        let config = self.listening(crash::CRASH_AT, &moment.to_string())?;
        let (mut daemon, ready) = Daemon::spawn(&config)?;
        let came_up = daemon.await_ready(&ready).is_ok();
        let crashed = !came_up || !self.walk(&daemon)?;
        ensure!(crashed, "the point was not reached");
        let end = daemon
            .await_end(PATIENCE)?
            .context("the walk failed and the daemon lives")?;
        ensure!(!end.success(), "the daemon ended by itself: {end}");
        drop(daemon);
        self.recover()
    }

    /// As before the recorded walk: what only a first start does is done again.
    fn begin_anew(&self) -> Result<()> {
        if self.config.state_dir.exists() {
            fs::remove_dir_all(&self.config.state_dir)?;
        }
        while outside::mounts_on(&self.config.netns_dir)? > 0 {
            nix::mount::umount(&self.config.netns_dir)?;
        }
        Ok(())
    }

    fn recover(&self) -> Result<()> {
        let daemon = Daemon::start(&self.config)?;
        let client = daemon.client();
        let settled = wait::until(PATIENCE, || {
            let pods = client.list(true)?;
            Ok(pods.iter().all(is_at_rest).then_some(pods))
        })?;
        let pods =
            settled.with_context(|| format!("it does not come to rest: {}", daemon.log()))?;
        for pod in &pods {
            let id = pod["id"].as_str().context("id")?;
            ensure!(pod["owed"] == 0, "it owes: {pod}");
            if pod["goal"] == "Run" {
                scene::agrees_with_outside(&client.inspect(id)?)?;
            }
            client.call(["rm", "-f", id])?.done()?;
        }
        let status = daemon.terminate()?;
        ensure!(status.success(), "SIGTERM ended the daemon with {status}");
        self.oracle.assert_clean()
    }
}

/// As asked, or on no way any more.
fn is_at_rest(pod: &Value) -> bool {
    let started = pod["goal"] == "Run" && pod["ready"] == true;
    let stopped = pod["goal"] == "Stop" && pod["state"] == "Created";
    started || stopped
}

fn crash_daemon() -> Result<std::path::PathBuf> {
    node::binary("podwalk-crash-daemon", "podwalk-tests")
}

/// Every `of`-th row, beginning with `first`.
fn rows(handler: &'static str, first: usize, of: usize) -> Result<()> {
    let table = Table::open(handler)?;
    let moments = table.record()?;
    let points: BTreeSet<&str> = moments.iter().map(|m| m.point.as_str()).collect();
    ensure!(points.len() > 20, "only {points:?} are marked");
    let mine: Vec<&Moment> = moments.iter().skip(first).step_by(of).collect();
    let mut failures = Vec::new();
    for moment in &mine {
        if let Err(error) = table.crash_at(moment) {
            failures.push(format!("{moment}: {error:#}"));
        }
    }
    println!(
        "crash table of {handler}, part {} of {of}: {} of {} moments at {} points, {} failures",
        first + 1,
        mine.len(),
        moments.len(),
        points.len(),
        failures.len()
    );
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

macro_rules! tables {
    ($($name:ident: $handler:literal, $layout:ident, $first:literal of $of:literal;)*) => {$(
        #[test]
        fn $name() -> Result<()> {
            node::run_within(Layout::$layout, Duration::from_secs(900), || {
                rows($handler, $first, $of)
            })
        }
    )*};
}

tables! {
    sigkill_at_every_point_with_crun_1: "crun", V1, 0 of 4;
    sigkill_at_every_point_with_crun_2: "crun", V1, 1 of 4;
    sigkill_at_every_point_with_crun_3: "crun", V1, 2 of 4;
    sigkill_at_every_point_with_crun_4: "crun", V1, 3 of 4;
    sigkill_at_some_points_with_crun_on_v2: "crun", V2, 1 of 6;
    sigkill_at_some_points_with_runc: "runc", V1, 2 of 6;
}
