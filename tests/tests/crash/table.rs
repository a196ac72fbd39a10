//! A crash table: one story, and a row for each moment of it.
//!
//! A row goes like this: the node is as before; the story is prepared; a daemon that listens is told
//! it, and ends itself at the row's moment; the next daemon, an ordinary one, comes to rest; what is
//! there then is what the story says, seen from outside; and when all pods are removed, nothing is
//! left.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use podwalk_tests::ask::{Heard, call};
use podwalk_tests::conflist::Bridge;
use podwalk_tests::crash::{self, Moment};
use podwalk_tests::daemon::{Config, Daemon};
use podwalk_tests::handlers::{CRUN, Handler};
use podwalk_tests::oracle::{Oracle, Places};
use podwalk_tests::{counts, node, outside, scene, wait};
use serde_json::Value;

/// A guard against a hang, no measure of speed.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How long a daemon that has done all that it was told may take to come to its moment.
const LINGERING: Duration = Duration::from_secs(10);

/// What leads to a crash, and what must be there after it.
pub(super) trait Story {
    /// Brings the node to where the daemon that is to die begins.
    fn prepare(&mut self, table: &Table) -> Result<()>;

    /// Has the daemon do all of it; returns when that is done, or the daemon is gone.
    fn tell(&mut self, daemon: &mut Daemon) -> Result<()>;

    /// Whether the pods that have come to rest are right.
    fn judge(&self, pods: &[Value]) -> Result<()>;
}

/// Where stories are told.
pub(super) struct Table {
    /// The name of the handler whose rows these are.
    handler: &'static str,
    config: Config,
    oracle: Oracle,
}

impl Table {
    /// A daemon with this configuration, a network with real plugins, and `chained` behind them.
    pub(super) fn open(config: Config, chained: Option<Value>) -> Result<Self> {
        let mut network = network();
        if let Some(plugin) = chained {
            network = network.then(plugin);
        }
        Self::with(CRUN, config, &network)
    }

    /// A daemon with this handler in its configuration. Where sandboxes take addresses away, the
    /// network has rules that are found by them.
    pub(super) fn of(handler: Handler) -> Result<Self> {
        let network = match handler.own_stack {
            true => network().masqueraded(),
            false => network(),
        };
        Self::with(handler, handler.configured()?, &network)
    }

    fn with(handler: Handler, config: Config, network: &Bridge) -> Result<Self> {
        network.write(&config.cni_conf_dir, 10)?;
        let mut places = Places::of(&config)?;
        places.spared.push(crash_daemon()?);
        let oracle = Oracle::new(places)?;
        Ok(Self {
            handler: handler.name,
            config,
            oracle,
        })
    }

    /// Tells the story once without a crash: the moments that the daemon comes to.
    pub(super) fn record(&self, story: &mut impl Story) -> Result<Vec<Moment>> {
        self.begin_anew()?;
        story.prepare(self)?;
        let log = node::disk().join("points");
        let config = self.listening(crash::LOG, log.to_str().context("a path")?)?;
        let mut daemon = Daemon::start(&config)?;
        story.tell(&mut daemon)?;
        ensure!(
            daemon.await_end(Duration::ZERO)?.is_none(),
            "the daemon ends even without a crash: {}",
            daemon.log()
        );
        daemon.kill9()?;
        self.recover(story)?;
        crash::recorded(&log)
    }

    /// One row.
    pub(super) fn row(&self, story: &mut impl Story, moment: &Moment) -> Result<Row> {
        self.begin_anew()?;
        story.prepare(self)?;
        let mut daemon = self.spawn_to_die(moment)?;
        let mut reached = true;
        if let Some(daemon) = &mut daemon {
            story.tell(daemon)?;
            reached = dies(daemon, LINGERING)?;
        }
        drop(daemon);
        self.recover(story)?;
        Ok(if reached { Row::Right } else { Row::NotReached })
    }

    /// Starts a daemon that ends itself at this moment; none if it has ended before it was ready.
    pub(super) fn spawn_to_die(&self, moment: &Moment) -> Result<Option<Daemon>> {
        let config = self.listening(crash::CRASH_AT, &moment.to_string())?;
        let (mut daemon, ready) = Daemon::spawn(&config)?;
        if daemon.await_ready(&ready).is_ok() {
            return Ok(Some(daemon));
        }
        ensure!(
            dies(&mut daemon, Duration::ZERO)?,
            "it is not ready, and lives"
        );
        Ok(None)
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

    /// As before the recorded story: what only a first start does is done again.
    fn begin_anew(&self) -> Result<()> {
        if self.config.state_dir.exists() {
            fs::remove_dir_all(&self.config.state_dir)?;
        }
        while outside::mounts_on(&self.config.netns_dir)? > 0 {
            nix::mount::umount(&self.config.netns_dir)?;
        }
        Ok(())
    }

    fn recover(&self, story: &impl Story) -> Result<()> {
        let mut daemon = Daemon::start(&self.config)?;
        let pods = at_rest(&mut daemon)?.context("the daemon ends by itself")?;
        let judged = story.judge(&pods);
        counts::add("lost", u64::from(judged.is_err()))?;
        judged.with_context(|| format!("{pods:#?}"))?;
        for pod in &pods {
            let id = pod["id"].as_str().context("id")?;
            ensure!(pod["owed"] == 0, "it owes: {pod}");
            let path = format!("/v1/pods/{id}");
            if pod["goal"] == "Run" {
                let inspected = granted(&daemon, "GET", &path)?;
                scene::agrees_with_outside(&inspected)?;
            }
            granted(&daemon, "DELETE", &format!("{path}?force=true"))?;
        }
        let status = daemon.terminate()?;
        ensure!(status.success(), "SIGTERM ended the daemon with {status}");
        let left = self.oracle.settled_leftovers()?;
        counts::add("leaks", left.len() as u64)?;
        ensure!(left.is_empty(), "nobody owns:\n  {}", left.join("\n  "));
        Ok(())
    }
}

fn network() -> Bridge {
    Bridge::new("crash0", "10.99.0.0/24")
        .and("fd99::/64")
        .with_ports()
}

/// What came of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Row {
    /// The daemon died there, and all was right afterwards.
    Right,
    /// It did not come to that moment.
    NotReached,
}

/// Which of a story's moments get a row: those with this index, divided by the second number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part(pub(super) usize, pub(super) usize);

/// Points of what a runtime may leave behind for some milliseconds, or not: crun's worker outlives
/// crun by chance, and is then ended, or what it left is removed. A story that came to them once may
/// never do so again.
const BY_CHANCE: [&str; 2] = ["netns.effect_killed", "oci.leftover.removed"];

/// Tells the story with a crash at every moment of a part of it, from the first point on whose name
/// begins so. What threads do when is not the same each time: a moment that is not reached gets a
/// second try, and none after that; then it has failed, unless it exists by chance only.
pub(super) fn rows(
    table: &Table,
    story: &mut impl Story,
    from: &str,
    Part(first, of): Part,
) -> Result<()> {
    let moments = table.record(story)?;
    let begin = moments.iter().position(|one| one.point.starts_with(from));
    let begin = begin.with_context(|| format!("no {from} among {moments:?}"))?;
    let moments = &moments[begin..];
    let marked: BTreeSet<&str> = moments.iter().map(|one| one.point.as_str()).collect();
    ensure!(marked.len() > 15, "only {marked:?} are marked");
    let chosen = moments.iter().skip(first).step_by(of);
    let (mut count, mut again, mut skipped) = (0, 0, 0);
    let (mut points, mut failures) = (BTreeSet::new(), Vec::new());
    for moment in chosen {
        let point = moment.point.as_str();
        let mut row = table.row(story, moment);
        if matches!(row, Ok(Row::NotReached)) {
            again += 1;
            row = table.row(story, moment);
        }
        if matches!(row, Ok(Row::NotReached)) && BY_CHANCE.contains(&point) {
            skipped += 1;
            continue;
        }
        count += 1;
        points.insert(point);
        match row {
            Ok(Row::Right) => {}
            Ok(Row::NotReached) => failures.push(format!("{moment}: not reached, twice")),
            Err(error) => failures.push(format!("{moment}: {error:#}")),
        }
    }
    println!(
        "{count} of {} moments, {} points, {again} tried again, {skipped} skipped, {} failures",
        moments.len(),
        points.len(),
        failures.len()
    );
    counts::add("crash-moments", count)?;
    counts::add(&format!("crash-moments-{}", table.handler), count)?;
    for point in &points {
        // Tables share points: those with different names are to be counted.
        counts::add(&format!("crash-point/{point}"), 1)?;
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// The pods as soon as none of them is on its way; none if the daemon is gone before.
pub(super) fn at_rest(daemon: &mut Daemon) -> Result<Option<Vec<Value>>> {
    let mut last = Value::Null;
    let settled = wait::until(PATIENCE, || {
        let listed = call(&daemon.config().socket(), "GET", "/v1/pods?all=true", "")?;
        match listed {
            Heard::Granted(Value::Array(pods)) if pods.iter().all(is_at_rest) => {
                Ok(Some(Some(pods)))
            }
            Heard::Granted(pods) => {
                last = pods;
                Ok(None)
            }
            Heard::Refused(why) => bail!("the list is refused: {why}"),
            Heard::Lost | Heard::Down => Ok(Some(None)),
        }
    })?;
    settled.with_context(|| format!("it does not come to rest: {last:#}"))
}

/// As asked, or on no way any more.
fn is_at_rest(pod: &Value) -> bool {
    let started = pod["goal"] == "Run" && pod["ready"] == true;
    let stopped = pod["goal"] == "Stop" && pod["state"] == "Created";
    started || stopped
}

/// Whether it ends by SIGKILL, now or soon.
fn dies(daemon: &mut Daemon, soon: Duration) -> Result<bool> {
    let end = daemon.await_end(soon)?;
    if let Some(end) = end {
        ensure!(!end.success(), "the daemon ended by itself: {end}");
    }
    Ok(end.is_some())
}

fn granted(daemon: &Daemon, method: &str, path: &str) -> Result<Value> {
    match call(&daemon.config().socket(), method, path, "")? {
        Heard::Granted(answer) => Ok(answer),
        other => bail!("{method} {path}: {other:?}"),
    }
}

fn crash_daemon() -> Result<PathBuf> {
    node::binary("podwalk-crash-daemon", "podwalk-tests")
}
