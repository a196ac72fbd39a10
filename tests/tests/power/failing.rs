//! The daemon on a disk that begins to refuse, before each of its appends.
//!
//! A walk up and down is recorded, and repeated once for each append that it made: the daemon is held
//! right before it, a tracer is attached that lets every write, or every sync, of it fail from there
//! on, and the daemon goes on.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use podwalk_tests::conflist::Bridge;
use podwalk_tests::crash::{self, Moment};
use podwalk_tests::daemon::{Answer, Client, Config, Daemon};
use podwalk_tests::node::{self, Layout};
use podwalk_tests::oracle::{Oracle, Places};
use podwalk_tests::{counts, outside, scene, wait};
use rustix::process::{Pid, Signal, kill_process};

/// Guards against a hang, no measures of speed.
const DEADLINE: Duration = Duration::from_secs(900);
const PATIENCE: Duration = Duration::from_secs(90);
/// How long a tracer may take to let go by itself.
const LETTING_GO: Duration = Duration::from_secs(10);
/// The point right before a batch is written.
const APPEND: &str = "store.batch";

/// What fails, and what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// There is no space: it passes.
    Full,
    /// A sync fails: that is final.
    Sync,
}

impl Failure {
    /// What the tracer is told.
    fn rule(self) -> [&'static str; 2] {
        match self {
            Self::Full => ["trace=pwrite64", "inject=pwrite64:error=ENOSPC"],
            Self::Sync => ["trace=fdatasync", "inject=fdatasync:error=EIO"],
        }
    }

    /// What whoever asks is told.
    fn words(self) -> [&'static str; 3] {
        match self {
            Self::Full => [
                "journal's disk is full",
                "journal/sled/db",
                "free space there",
            ],
            Self::Sync => [
                "failed sync",
                "journal/sled/db",
                "check the disk, then restart",
            ],
        }
    }
}

/// A tracer that lets calls of a daemon fail while it is there.
struct Tracer {
    child: Child,
    /// It says more later, and would die if nobody could hear it.
    stderr: BufReader<ChildStderr>,
}

impl Tracer {
    fn attach(daemon: &Daemon, failure: Failure) -> Result<Self> {
        let [trace, inject] = failure.rule();
        let mut command = Command::new("strace");
        command.args(["-f", "-e", "signal=none", "-e", trace, "-e", inject]);
        command.arg("-o").arg(Self::log());
        command.args(["-p", &daemon.pid().to_string()]);
        let mut child = command.stderr(Stdio::piped()).spawn().context("strace")?;
        let stderr = child.stderr.take().context("its stderr")?;
        let mut tracer = Self {
            child,
            stderr: BufReader::new(stderr),
        };
        // It says so when it has all threads.
        let mut line = String::new();
        tracer.stderr.read_line(&mut line)?;
        ensure!(line.contains("attached"), "strace: {line}");
        Ok(tracer)
    }

    fn log() -> PathBuf {
        node::disk().join("tampered")
    }

    /// How many calls have failed by now.
    fn failed(&self) -> Result<usize> {
        Ok(fs::read_to_string(Self::log())?
            .matches("(INJECTED)")
            .count())
    }

    /// Lets go: from now on nothing fails.
    fn detach(mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.context("a pid")?;
        let gone = wait::until(LETTING_GO, || {
            // Right before it begins to wait for the daemon, it does not notice a single one.
            kill_process(pid, Signal::INT)?;
            Ok(self.child.try_wait()?)
        })?;
        if gone.is_none() {
            // Now and then it waits for ever for a thread to stop. Nothing is under way in the daemon
            // by now, whose threads the kernel sets free when their tracer dies.
            println!("the tracer does not let go by itself");
            self.child.kill()?;
            self.child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Where it was detached it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The walk, and who watches it.
struct Table {
    config: Config,
    oracle: Oracle,
}

/// How the three parts of a walk were answered.
struct Walk {
    run: Answer,
    stop: Answer,
    remove: Answer,
}

impl Walk {
    /// Starts, stops and removes a pod, whatever comes of it.
    fn tried(client: &Client) -> Result<Self> {
        Ok(Self {
            run: client.call(["run", "--name", "walker"])?,
            stop: client.call(["stop", "walker"])?,
            remove: client.call(["rm", "walker"])?,
        })
    }

    /// Each that failed says why and what to do; or that there is no such pod, or that it runs, where
    /// that follows from the part before.
    fn explains_itself(&self, failure: Failure) -> Result<()> {
        for answer in [&self.run, &self.stop, &self.remove] {
            let told = failure
                .words()
                .iter()
                .all(|word| answer.stderr.contains(word));
            let follows = answer.code == 3 || answer.stderr.contains("stop it first");
            ensure!(answer.code == 0 || follows || told, "{answer:?}");
        }
        Ok(())
    }
}

impl Table {
    fn lay() -> Result<Self> {
        let config = Config {
            program: Some(node::binary("podwalk-crash-daemon", "podwalk-tests")?),
            ..Config::default()
        };
        let network = Bridge::new("podnet", "10.88.0.0/24").and("fd00:88::/64");
        network.write(&config.cni_conf_dir, 10)?;
        let mut places = Places::of(&config)?;
        places.spared.extend(config.program.clone());
        let oracle = Oracle::new(places)?;
        Ok(Self { config, oracle })
    }

    /// The appends of a walk, in order.
    fn appends(&self) -> Result<Vec<Moment>> {
        let log = node::disk().join("points");
        let mut config = self.config.clone();
        let path = log.to_str().context("a path")?.to_owned();
        config.environment.push((crash::LOG.to_owned(), path));
        let daemon = Daemon::start(&config)?;
        let walk = Walk::tried(&daemon.client())?;
        ensure!(walk.remove.code == 0, "{:?}", walk.remove);
        daemon.kill9()?;
        let moments = crash::recorded(&log)?.into_iter();
        Ok(moments.filter(|moment| moment.point == APPEND).collect())
    }

    /// One row: from this append on the disk refuses.
    fn fail_at(&self, moment: &Moment, failure: Failure) -> Result<()> {
        if self.config.state_dir.exists() {
            fs::remove_dir_all(&self.config.state_dir)?;
        }
        while outside::mounts_on(&self.config.netns_dir)? > 0 {
            nix::mount::umount(&self.config.netns_dir)?;
        }
        let held = node::disk().join("held");
        let path = held.to_str().context("a path")?.to_owned();
        let mut config = self.config.clone();
        config.environment = vec![
            (crash::HOLD_AT.to_owned(), moment.to_string()),
            (crash::HELD.to_owned(), path),
        ];
        let daemon = Daemon::start(&config)?;
        let client = daemon.client();
        std::thread::scope(|scope| {
            let walk = scope.spawn(|| Walk::tried(&client));
            let there = wait::until(PATIENCE, || Ok(held.exists().then_some(())))?;
            there.context("the append is not reached")?;
            let tracer = Tracer::attach(&daemon, failure)?;
            fs::remove_file(&held)?;
            let walk = walk
                .join()
                .unwrap_or_else(|_| Err(anyhow!("the walk panicked")))?;
            walk.explains_itself(failure)?;
            // Nothing new is begun, and who asks is told.
            let said = client.call(["run", "--name", "other", "--network", "none"])?;
            let told = failure
                .words()
                .iter()
                .all(|word| said.stderr.contains(word));
            ensure!(said.code == 1 && told, "{said:?}");
            let failed = tracer.failed()?;
            ensure!(failed > 0, "nothing has failed");
            counts::add("disk-errors", failed as u64)?;
            tracer.detach()?;
            match failure {
                Failure::Full => self.goes_on(daemon, &walk),
                Failure::Sync => self.restarts(daemon, &walk),
            }
        })
    }

    /// There is space again: the same process goes on.
    fn goes_on(&self, daemon: Daemon, walk: &Walk) -> Result<()> {
        let client = daemon.client();
        let other = client.run(&["--name", "other", "--network", "none"])?;
        client.call(["rm", "-f", &other])?.done()?;
        self.end(daemon, walk)
    }

    /// Nothing goes on in that process, even without the failure; the next one recovers.
    fn restarts(&self, daemon: Daemon, walk: &Walk) -> Result<()> {
        let client = daemon.client();
        let said = client.call(["run", "--name", "other", "--network", "none"])?;
        let told = Failure::Sync
            .words()
            .iter()
            .all(|word| said.stderr.contains(word));
        ensure!(said.code == 1 && told, "{said:?}");
        // Its pods run on.
        for row in client.list(true)?.iter().filter(|row| row["ready"] == true) {
            scene::agrees_with_outside(&client.inspect(row["id"].as_str().context("id")?)?)?;
        }
        daemon.kill9()?;
        self.end(Daemon::start(&self.config)?, walk)
    }

    /// What was acknowledged is so; then everything goes, and nothing is left.
    fn end(&self, daemon: Daemon, walk: &Walk) -> Result<()> {
        let client = daemon.client();
        let rows = || client.list(true);
        let walker = rows()?.into_iter().find(|row| row["name"] == "walker");
        if walk.remove.code == 0 {
            ensure!(walker.is_none(), "it is back: {walker:?}");
        } else if walk.run.code == 0 && walk.remove.stderr.contains("stop it first") {
            walker.context("it is forgotten")?;
        } else if let Some(walker) = walker {
            // A removal of which nobody knows how far it came.
            ensure!(walk.stop.code != 0 || walker["ready"] == false, "{walker}");
        }
        let gone = wait::until(PATIENCE, || {
            for row in rows()? {
                // What is on its way down already may be gone by then.
                client.call(["rm", "-f", row["id"].as_str().context("id")?])?;
            }
            Ok(rows()?.is_empty().then_some(()))
        })?;
        gone.with_context(|| format!("there are pods left: {:?}", rows()))?;
        daemon.has_not_panicked()?;
        let status = daemon.terminate()?;
        ensure!(status.success(), "SIGTERM ended the daemon with {status}");
        self.oracle.assert_clean()
    }
}

fn at_every_append(failure: Failure) -> Result<()> {
    let table = Table::lay()?;
    let appends = table.appends()?;
    ensure!(appends.len() > 5, "{appends:?}");
    for moment in &appends {
        let row = table.fail_at(moment, failure);
        row.with_context(|| format!("{failure:?} at {moment}"))?;
    }
    println!("{failure:?} at {} appends", appends.len());
    Ok(())
}

/// Nothing is begun that cannot be recorded, nothing leaks, and with space it goes on by itself.
#[test]
fn scenario_27_a_disk_that_is_full_from_any_append_on() -> Result<()> {
    node::run_within(Layout::V2, DEADLINE, || at_every_append(Failure::Full))
}

/// It takes no more work, says so, and its pods run on; a restart recovers, and nothing that was
/// acknowledged is lost.
#[test]
fn scenario_27_a_sync_that_fails_from_any_append_on() -> Result<()> {
    node::run_within(Layout::V2, DEADLINE, || at_every_append(Failure::Sync))
}
