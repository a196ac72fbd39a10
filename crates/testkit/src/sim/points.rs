//! Where a crash would leave something different behind.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_channel::oneshot;
use podwalk_engine::step::Step;

use crate::sim::Site;

/// How often a walk steps aside at a point at which somebody was to act: the
/// one who acts needs a few turns until what it does has arrived.
const TURNS: u32 = 24;

/// A place at which a run can die, or somebody can act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// The journal is about to be handed something.
    JournalBefore,
    /// The kernel has it.
    JournalHandedOver,
    /// The platter has it.
    JournalOnThePlatter,
    /// Somewhere in an effect.
    Effect {
        /// Of which step.
        step: Step,
        /// Which side of it.
        site: Site,
        /// Of which attachment, if the effect is one's.
        attachment: Option<u32>,
        /// How far it has come.
        at: Progress,
    },
    /// A place of an embedder's own.
    Named(&'static str),
}

/// How far an effect has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Progress {
    /// Nothing has happened.
    Before,
    /// It could go on without its daemon now; nothing has changed yet.
    Begun,
    /// So many of its changes have happened.
    Changed(usize),
    /// All of it has happened, and nobody was told.
    End,
}

impl From<&'static str> for Point {
    fn from(name: &'static str) -> Self {
        Self::Named(name)
    }
}

impl fmt::Display for Point {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::JournalBefore => out.write_str("journal.before"),
            Self::JournalHandedOver => out.write_str("journal.handed-over"),
            Self::JournalOnThePlatter => out.write_str("journal.on-the-platter"),
            Self::Effect {
                step,
                site,
                attachment,
                at,
            } => {
                write!(out, "{step}.{site:?}")?;
                if let Some(attachment) = attachment {
                    write!(out, ".{attachment}")?;
                }
                match at {
                    Progress::Before => out.write_str(".before"),
                    Progress::Begun => out.write_str(".begun"),
                    Progress::Changed(changes) => write!(out, ".{changes}"),
                    Progress::End => out.write_str(".end"),
                }
            }
            Self::Named(name) => out.write_str(name),
        }
    }
}

/// A life that passes so many points walks in a circle.
const ENDLESS: u64 = 50_000;

/// Counts the places that a run passes, and stops it at the one asked for.
#[derive(Debug, Clone, Default)]
pub struct Points {
    counter: Arc<Mutex<Counter>>,
}

#[derive(Debug, Default)]
struct Counter {
    passed: u64,
    crash_at: Option<u64>,
    crash_at_name: Option<String>,
    crashed_at: Option<Point>,
    acts: BTreeMap<u64, Vec<oneshot::Sender<()>>>,
    named: Vec<(String, oneshot::Sender<()>)>,
    reached: BTreeMap<Point, u64>,
}

/// One passing of a point. Ends at once, unless this is where the run dies.
#[derive(Debug)]
#[must_use = "a point is passed by awaiting it"]
pub struct Passing {
    dead: bool,
    turns: u32,
}

impl Points {
    fn counter(&self) -> MutexGuard<'_, Counter> {
        self.counter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a life: counts from zero again, and dies at the `crash_at`-th
    /// point from now, counted from one. What was reached stays counted.
    pub fn arm(&self, crash_at: Option<u64>) {
        let mut counter = self.counter();
        counter.passed = 0;
        counter.crash_at = crash_at;
        counter.crash_at_name = None;
        counter.crashed_at = None;
        counter.acts.clear();
        counter.named.clear();
    }

    /// Begins a life that dies at the next point of this name.
    pub fn arm_at(&self, name: impl Into<String>) {
        self.arm(None);
        self.counter().crash_at_name = Some(name.into());
    }

    /// Passes a point. From the one at which the run dies nobody returns.
    pub fn pass(&self, point: impl Into<Point>) -> Passing {
        let point = point.into();
        let mut counter = self.counter();
        counter.passed += 1;
        *counter.reached.entry(point).or_default() += 1;
        let wanted = counter.crash_at_name.as_ref();
        let by_name = wanted.is_some_and(|name| *name == point.to_string());
        if by_name || counter.crash_at == Some(counter.passed) {
            counter.crashed_at = Some(point);
        }
        let passed = counter.passed;
        let by_number = counter.acts.remove(&passed).unwrap_or_default();
        let named = counter.named.iter();
        let mut places = named.map(|(wanted, _)| *wanted == point.to_string());
        let by_name = places.position(|here| here);
        let by_name = by_name.map(|index| counter.named.remove(index).1);
        let acts: Vec<_> = by_number.into_iter().chain(by_name).collect();
        let turns = if acts.is_empty() { 0 } else { TURNS };
        for act in acts {
            // Whoever was to act may have gone.
            let _ = act.send(());
        }
        Passing {
            dead: counter.crashed_at.is_some() || counter.passed >= ENDLESS,
            turns,
        }
    }

    /// Ends when the `number`-th point of this life is passed; the walk that
    /// passes it waits a few turns for what is done then.
    pub fn at(&self, number: u64) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut counter = self.counter();
        counter.acts.entry(number).or_default().push(sender);
        receiver
    }

    /// The same, at the next point of this name.
    pub fn at_next(&self, name: impl Into<String>) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.counter().named.push((name.into(), sender));
        receiver
    }

    /// How many points were passed in this life.
    pub fn passed(&self) -> u64 {
        self.counter().passed
    }

    /// Whether this life has ended at a point.
    pub fn is_crashed(&self) -> bool {
        self.counter().crashed_at.is_some()
    }

    /// Whether this life walks in a circle; it was stopped there.
    pub fn is_endless(&self) -> bool {
        self.counter().passed >= ENDLESS
    }

    /// Where this life ended, if it did.
    pub fn crashed_at(&self) -> Option<Point> {
        self.counter().crashed_at
    }

    /// How often each point was passed, in all lives.
    pub fn reached(&self) -> BTreeMap<Point, u64> {
        self.counter().reached.clone()
    }
}

impl Future for Passing {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.dead {
            return Poll::Pending;
        }
        if self.turns == 0 {
            return Poll::Ready(());
        }
        self.turns -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
