//! What happens, told after it is durable.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use futures_channel::mpsc;

use crate::clock::Stamp;
use crate::pod::{Listing, Obituary, Pod};
use crate::record::{Direction, Entry, Goal, Observation, Output, Record};
use crate::step::Step;

mod recall;

/// How many events are kept for those who come later.
const WINDOW: usize = 4096;
/// How far one listener may fall behind before it is let go.
const BACKLOG: usize = 1024;

/// Where a listener is: the opening of the journal, and the event in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// Which opening of the journal.
    pub epoch: u64,
    /// Which event since then, from one.
    pub number: u64,
}

/// One event, with the pod as it was right after it.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its place.
    pub cursor: Cursor,
    /// When.
    pub stamp: Stamp,
    /// What happened, in one word.
    pub what: &'static str,
    /// More about it; may be empty.
    pub detail: String,
    /// How the pod stood in lists before it.
    pub was: Listing,
    /// How it stands in them from here on. Of what is told of one pod, each
    /// event begins where the one before it ended: no list ever shows what
    /// these do not tell.
    pub is: Listing,
    /// The pod after it.
    pub pod: Arc<Pod>,
}

/// An event that has no place yet.
#[derive(Debug)]
struct Told {
    stamp: Stamp,
    what: &'static str,
    detail: String,
    was: Listing,
    is: Listing,
    pod: Arc<Pod>,
}

/// What a listener gets: first what it has missed, then what comes.
#[derive(Debug)]
pub struct Subscription {
    /// Events after the cursor that are still known.
    pub backlog: Vec<Event>,
    /// The cursor was of another opening, too old, or never given out: the
    /// backlog is all that is known, what the journal tells of earlier openings
    /// included. Some of it may have been heard before, and what lies further
    /// back is missing: look at all pods anew.
    pub gap: bool,
    /// What comes. It ends when the listener falls too far behind.
    pub live: mpsc::Receiver<Event>,
}

/// A text that is not a cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a cursor: take one from an event, for example 3-17")]
pub struct NotACursor(pub String);

impl fmt::Display for Cursor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.epoch, self.number)
    }
}

impl FromStr for Cursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let refused = || NotACursor(text.chars().take(80).collect());
        let (epoch, number) = text.split_once('-').ok_or_else(refused)?;
        Ok(Cursor {
            epoch: epoch.parse().map_err(|_| refused())?,
            number: number.parse().map_err(|_| refused())?,
        })
    }
}

#[derive(Debug)]
pub(crate) struct Events {
    epoch: u64,
    stage: Mutex<Stage>,
}

#[derive(Debug, Default)]
struct Stage {
    told: u64,
    window: VecDeque<Event>,
    listeners: Vec<mpsc::Sender<Event>>,
}

impl Events {
    /// Of this opening, beginning with what the journal still tells of earlier
    /// ones: the records of each pod, and the pods that are gone.
    pub(crate) fn new(epoch: u64, pods: &[Vec<Entry>], graves: &[Obituary]) -> Self {
        let events = Self {
            epoch,
            stage: Mutex::default(),
        };
        for told in recall::recall(pods, graves, WINDOW) {
            events.publish(told);
        }
        events
    }

    /// Tells everybody what a batch of records says, of a pod that stood in
    /// lists so before and is so now. Called under the pod's pen, so that its
    /// events come in the order of its records. What the whole batch changes
    /// is told by its first event.
    pub(crate) fn tell(&self, entries: &[Entry], mut was: Listing, pod: &Arc<Pod>) {
        for entry in entries {
            if let Some((what, detail)) = describe(&entry.record, pod) {
                let is = pod.listing();
                self.publish(Told {
                    stamp: entry.stamp,
                    what,
                    detail,
                    was: std::mem::replace(&mut was, is),
                    is,
                    pod: pod.clone(),
                });
            }
        }
    }

    /// Tells everybody that a pod is gone.
    pub(crate) fn tell_removed(&self, stamp: Stamp, pod: &Arc<Pod>) {
        self.publish(Told {
            stamp,
            what: "removed",
            detail: String::new(),
            was: pod.listing(),
            is: Listing::Unlisted,
            pod: pod.clone(),
        });
    }

    fn publish(&self, told: Told) {
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        stage.told += 1;
        let event = Event {
            cursor: Cursor {
                epoch: self.epoch,
                number: stage.told,
            },
            stamp: told.stamp,
            what: told.what,
            detail: told.detail,
            was: told.was,
            is: told.is,
            pod: told.pod,
        };
        stage
            .listeners
            .retain_mut(|listener| listener.try_send(event.clone()).is_ok());
        stage.window.push_back(event);
        if stage.window.len() > WINDOW {
            stage.window.pop_front();
        }
    }

    pub(crate) fn subscribe(&self, since: Option<Cursor>) -> Subscription {
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        let (sender, live) = mpsc::channel(BACKLOG);
        // Of those that have gone nothing may be published for long.
        stage.listeners.retain(|listener| !listener.is_closed());
        stage.listeners.push(sender);
        let first = stage.window.front().map_or(1, |event| event.cursor.number);
        let told = first.saturating_sub(1)..=stage.told;
        let known = |cursor: Cursor| cursor.epoch == self.epoch && told.contains(&cursor.number);
        let (backlog, gap) = match since {
            None => (Vec::new(), false),
            Some(cursor) if known(cursor) => {
                let after = |event: &&Event| event.cursor > cursor;
                (stage.window.iter().filter(after).cloned().collect(), false)
            }
            Some(_) => (stage.window.iter().cloned().collect(), true),
        };
        Subscription { backlog, gap, live }
    }
}

/// The word for a record; none for those that only matter to the journal.
fn describe(record: &Record, pod: &Pod) -> Option<(&'static str, String)> {
    let plain = |word| Some((word, String::new()));
    match record {
        Record::Goal { goal, .. } => plain(match goal {
            Goal::Run => "asked",
            Goal::Stop => "stopping",
            Goal::Remove => "removing",
        }),
        Record::Intent(_) | Record::Snapshot(_) => None,
        Record::Done(output) => plain(match output {
            Output::Create(_) => "created",
            Output::MountNetns(_) => "netns-mounted",
            Output::ReadyNetwork(_) => "network-ready",
            Output::ConfigureCni(_) => "cni-configured",
            Output::Start(_) if pod.has_late() => "sandbox-started",
            Output::Start(_) | Output::AttachLate(_) => "started",
        }),
        Record::Failed {
            step,
            direction,
            attachment,
            error,
            ..
        } => {
            let word = match direction {
                Direction::Up => "failed",
                Direction::Down => "owes",
            };
            let part = part(pod, *step, *attachment);
            Some((word, format!("{part}: {error}")))
        }
        Record::Undone { step, attachment } => Some(("undone", part(pod, *step, *attachment))),
        Record::Observed(observation) => Some(describe_observation(observation, pod)),
    }
}

/// A step, or what of it one attachment is.
fn part(pod: &Pod, step: Step, attachment: Option<u32>) -> String {
    match attachment {
        None => step.to_string(),
        Some(attachment) => format!("{step} of {}", pod.network_of(attachment)),
    }
}

fn describe_observation(observation: &Observation, pod: &Pod) -> (&'static str, String) {
    match observation {
        Observation::Exited { code } => (
            "exited",
            code.map_or(String::new(), |code| format!("exit code {code}")),
        ),
        Observation::Restart => ("restarting", String::new()),
        Observation::Rebooted { .. } => ("rebooted", String::new()),
        Observation::Outlived { goal } => ("answered-owing", format!("{goal:?}")),
        Observation::Forgiven {
            step,
            attachment,
            reason,
        } => {
            let part = part(pod, *step, *attachment);
            ("forgiven", format!("{part}: {reason}"))
        }
    }
}

#[cfg(test)]
mod tests;
