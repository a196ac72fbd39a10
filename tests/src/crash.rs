//! Crashes at points that the code itself marks.
//!
//! Wherever a crash would leave something different behind, Podwalk's crates say so by a `tracing`
//! event with the target `podwalk::point`. In production nobody listens. `podwalk-crash-daemon` is
//! the same daemon with a listener: it can write down every point it comes to, and it can end itself
//! with SIGKILL at one of them. So the list of places to crash at is generated from the code: a walk
//! is recorded once, and then repeated with a crash at each point of the record. It can also stop
//! there until a test has done something to its world.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::getpid;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer;

/// Names the file that every point is written to.
pub const LOG: &str = "PODWALK_POINTS_LOG";
/// Names the point to end at.
pub const CRASH_AT: &str = "PODWALK_CRASH_AT";
/// Names the point to stop at.
pub const HOLD_AT: &str = "PODWALK_HOLD_AT";
/// Names the file that it makes when it has stopped. It goes on when that is gone.
pub const HELD: &str = "PODWALK_HELD";
/// The target of the events.
const TARGET: &str = "podwalk::point";
/// The time between two looks for the file.
const HOLD_PAUSE: Duration = Duration::from_millis(2);

/// A moment in the life of one process: the n-th time that it comes to a point.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// The point's name.
    pub point: String,
    /// Which time, from one.
    pub time: u32,
}

impl fmt::Display for Moment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}#{}", self.point, self.time)
    }
}

impl FromStr for Moment {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (point, time) = text.split_once('#').context("POINT#TIME")?;
        Ok(Self {
            point: point.to_owned(),
            time: time.parse()?,
        })
    }
}

/// Reads what a daemon has written down: its moments, in order.
///
/// # Errors
/// If the file cannot be read.
pub fn recorded(log: &Path) -> Result<Vec<Moment>> {
    let text = fs::read_to_string(log).with_context(|| log.display().to_string())?;
    let mut times = BTreeMap::new();
    let moments = text.lines().map(|point| {
        let time = times.entry(point.to_owned()).or_insert(0);
        *time += 1;
        Moment {
            point: point.to_owned(),
            time: *time,
        }
    });
    Ok(moments.collect())
}

/// The listener.
#[derive(Debug)]
pub struct Points {
    log: Option<Mutex<File>>,
    crash_at: Option<Moment>,
    hold_at: Option<(Moment, PathBuf)>,
    times: Mutex<BTreeMap<String, u32>>,
}

impl Points {
    /// As the environment says.
    ///
    /// # Panics
    /// If it says something that is no moment or no file: the test is wrong then.
    #[must_use]
    #[allow(clippy::expect_used)]
    pub fn from_environment() -> Self {
        let log = std::env::var(LOG).ok().map(|path| {
            let file = File::options().create(true).append(true).open(path);
            Mutex::new(file.expect("the file of points"))
        });
        let moment = |variable| {
            let text = std::env::var(variable).ok();
            text.map(|text| text.parse().expect("a moment"))
        };
        Self {
            log,
            crash_at: moment(CRASH_AT),
            hold_at: moment(HOLD_AT).zip(std::env::var_os(HELD).map(PathBuf::from)),
            times: Mutex::default(),
        }
    }

    fn reached(&self, point: &str) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let time = times.entry(point.to_owned()).or_insert(0);
        *time += 1;
        if let Some(log) = &self.log {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            // A point that cannot be written down shows as one too few.
            let _ = writeln!(log, "{point}");
        }
        let is_now = |moment: &Moment| moment.point == point && moment.time == *time;
        // The lock is still held in both cases, so that no other thread comes further.
        if let Some((_, held)) = self.hold_at.as_ref().filter(|(moment, _)| is_now(moment)) {
            hold(held);
        }
        if self.crash_at.as_ref().is_some_and(is_now) {
            let _ = kill(getpid(), Signal::SIGKILL);
            loop {
                std::thread::park();
            }
        }
    }
}

/// Stops here until somebody deletes the file. If it cannot be made, nobody knows that it stopped,
/// and the test says so.
fn hold(held: &Path) {
    if File::create(held).is_ok() {
        while held.exists() {
            std::thread::sleep(HOLD_PAUSE);
        }
    }
}

impl<S: Subscriber> layer::Layer<S> for Points {
    fn on_event(&self, event: &Event<'_>, _context: layer::Context<'_, S>) {
        if event.metadata().target() == TARGET {
            let mut name = Name(String::new());
            event.record(&mut name);
            self.reached(&name.0);
        }
    }
}

/// Picks the point's name out of an event.
struct Name(String);

impl Visit for Name {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "point" {
            value.clone_into(&mut self.0);
        }
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn fmt::Debug) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_count_each_point_by_itself() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("points");
        fs::write(&log, "a\nb\na\n").unwrap();
        let moments: Vec<String> = recorded(&log)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(moments, ["a#1", "b#1", "a#2"]);
        assert_eq!(moments[2].parse::<Moment>().unwrap().time, 2);
    }
}
