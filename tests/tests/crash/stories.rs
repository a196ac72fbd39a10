//! The stories: start, stop and remove; a start that is resumed; starts that are undone.

use anyhow::{Context, Result, bail, ensure};
use podwalk_tests::ask::{Heard, call, says};
use podwalk_tests::crash::Moment;
use podwalk_tests::daemon::Daemon;
use podwalk_tests::handlers::Handler;
use podwalk_tests::late::{self, NETWORKS};
use serde_json::{Value, json};

use super::table::{PATIENCE, Story, Table, at_rest};

/// Asks for the pod of all stories.
fn start(daemon: &Daemon, handler: &str) -> Result<Heard> {
    ask_for(daemon, handler, &plain())
}

fn plain() -> Value {
    json!({"metadata": {"name": "walker"}})
}

/// The pod of all stories, with a network that is attached when it runs.
fn late() -> Value {
    json!({"metadata": {"name": "walker"}, "annotations": {NETWORKS: late::NETWORK}})
}

/// The pod of all stories, in a user namespace of its own.
fn mapped() -> Value {
    let all = json!([{"container_id": 0, "host_id": 200_000, "length": 65_536}]);
    let users = json!({"mode": 0, "uids": all, "gids": all});
    json!({
        "metadata": {"name": "walker"},
        "linux": {"security_context": {"namespace_options": {"userns_options": users}}}
    })
}

fn ask_for(daemon: &Daemon, handler: &str, config: &Value) -> Result<Heard> {
    let request = json!({"config": config, "runtimeHandler": handler}).to_string();
    call(&daemon.config().socket(), "POST", "/v1/pods", &request)
}

/// A pod is started, stopped and removed.
pub(super) struct Walk {
    handler: Handler,
    pod: Value,
    /// How many of the three were granted.
    granted: usize,
}

impl Walk {
    pub(super) fn of(handler: Handler) -> Self {
        Self {
            handler,
            pod: plain(),
            granted: 0,
        }
    }

    /// The same in a user namespace.
    pub(super) fn mapped(handler: Handler) -> Self {
        Self {
            pod: mapped(),
            ..Self::of(handler)
        }
    }

    /// The same with a network that is attached when the sandbox runs.
    pub(super) fn late(handler: Handler) -> Self {
        Self {
            pod: late(),
            ..Self::of(handler)
        }
    }
}

impl Story for Walk {
    fn prepare(&mut self, _table: &Table) -> Result<()> {
        self.granted = 0;
        Ok(())
    }

    fn tell(&mut self, daemon: &mut Daemon) -> Result<()> {
        let socket = daemon.config().socket();
        let verbs = [
            None,
            Some(("POST", "/v1/pods/walker/stop")),
            Some(("DELETE", "/v1/pods/walker")),
        ];
        for verb in verbs {
            let heard = match verb {
                None => ask_for(daemon, self.handler.name, &self.pod)?,
                Some((method, path)) => call(&socket, method, path, "")?,
            };
            match heard {
                Heard::Granted(_) => self.granted += 1,
                Heard::Refused(why) => bail!("{verb:?} is refused: {why}"),
                Heard::Lost | Heard::Down => break,
            }
        }
        Ok(())
    }

    /// What was granted holds; what was asked for and not answered has happened, or has not.
    fn judge(&self, pods: &[Value]) -> Result<()> {
        let goals: Vec<&str> = pods.iter().filter_map(|pod| pod["goal"].as_str()).collect();
        let right = match self.granted {
            0 => matches!(goals[..], [] | ["Run"]),
            1 => matches!(goals[..], ["Run" | "Stop"]),
            2 => matches!(goals[..], [] | ["Stop"]),
            _ => goals.is_empty(),
        };
        ensure!(right, "{} of three were granted: {goals:?}", self.granted);
        Ok(())
    }
}

/// A start is cut at a moment, and the next daemon, which goes on with it, dies too.
pub(super) struct Resume {
    pub(super) handler: Handler,
    pub(super) cut: &'static str,
}

impl Story for Resume {
    fn prepare(&mut self, table: &Table) -> Result<()> {
        cut_short(table, self.handler.name, self.cut)
    }

    fn tell(&mut self, daemon: &mut Daemon) -> Result<()> {
        at_rest(daemon).map(drop)
    }

    fn judge(&self, pods: &[Value]) -> Result<()> {
        let is_up = matches!(pods, [pod] if pod["goal"] == "Run" && pod["ready"] == true);
        ensure!(is_up, "the start was not resumed");
        Ok(())
    }
}

/// A start is cut at a moment, and the next daemon, which is not to go on with it, dies too.
pub(super) struct GiveUp {
    pub(super) cut: &'static str,
}

impl Story for GiveUp {
    fn prepare(&mut self, table: &Table) -> Result<()> {
        cut_short(table, "", self.cut)
    }

    fn tell(&mut self, daemon: &mut Daemon) -> Result<()> {
        at_rest(daemon).map(drop)
    }

    fn judge(&self, pods: &[Value]) -> Result<()> {
        is_gone(pods)
    }
}

/// A start fails, and is undone.
pub(super) struct Fail {
    pub(super) why: &'static str,
}

impl Story for Fail {
    fn prepare(&mut self, _table: &Table) -> Result<()> {
        Ok(())
    }

    fn tell(&mut self, daemon: &mut Daemon) -> Result<()> {
        match start(daemon, "")? {
            Heard::Granted(_) => bail!("the start does not fail"),
            Heard::Refused(why) => {
                ensure!(says(&why, self.why), "{why}");
                Ok(())
            }
            Heard::Lost | Heard::Down => Ok(()),
        }
    }

    fn judge(&self, pods: &[Value]) -> Result<()> {
        is_gone(pods)
    }
}

fn is_gone(pods: &[Value]) -> Result<()> {
    ensure!(pods.is_empty(), "the start was not undone");
    Ok(())
}

/// Has a daemon die at this moment of a start.
fn cut_short(table: &Table, handler: &str, moment: &str) -> Result<()> {
    let moment: Moment = moment.parse()?;
    let daemon = table.spawn_to_die(&moment)?;
    let mut daemon = daemon.context("the first daemon dies before it is asked")?;
    let heard = start(&daemon, handler)?;
    ensure!(
        matches!(heard, Heard::Lost),
        "{moment} is at no moment of a start: {heard:?}"
    );
    let end = daemon.await_end(PATIENCE)?;
    end.with_context(|| format!("{moment} was not reached"))?;
    Ok(())
}
