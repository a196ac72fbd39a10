//! Every place at which a run can die, and then every place at which its
//! recovery can.
//!
//! 1. A first run of the schedule, without a crash, counts the points.
//! 2. One run per point and kind of crash; each counts the points of its
//!    recovery, and what a power loss could have taken.
//! 3. One run per point of that recovery, and so on, as deep as asked for.
//!
//! [`World::requests`] does the same with a call at every moment. A finding is
//! [shrunk](super::shrink) on the spot; a [`Survey`] without findings still says
//! how often each point was passed, since one that was never passed proves
//! nothing.

use std::collections::BTreeMap;
use std::fmt;

use podwalk_engine::step::Step;

use crate::sim::run::Run;
use crate::sim::schedule::{Call, Schedule};
use crate::sim::shrink::Counterexample;
use crate::sim::{Crash, Point, Progress, Site, World};

/// How many findings are enough.
const ENOUGH: usize = 3;

/// What an exploration has come to.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// How many runs there were.
    pub runs: u64,
    /// How often each point was passed.
    pub reached: BTreeMap<Point, u64>,
    /// How often a life ended at each point.
    pub died_at: BTreeMap<Point, u64>,
    /// What was found, shrunk.
    pub found: Vec<Counterexample>,
}

/// Why a survey proves nothing, or the contrary.
#[derive(Debug, Clone)]
pub enum Refuted {
    /// Something was found that is wrong.
    Wrong(Box<Counterexample>),
    /// These points were never passed.
    NeverReached(Vec<String>),
}

impl fmt::Display for Refuted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong(found) => found.fmt(out),
            Self::NeverReached(points) => {
                write!(out, "never reached: {}", points.join(", "))
            }
        }
    }
}

impl std::error::Error for Refuted {}

/// One of so many equal parts of an exploration, so that tests can share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Which, from zero.
    pub part: u64,
    /// Of how many.
    pub of: u64,
}

impl Share {
    /// All of it.
    pub const ALL: Self = Self { part: 0, of: 1 };

    fn has(self, point: u64) -> bool {
        point % self.of == self.part
    }
}

impl World {
    /// Dies at every point of the schedule, in every way; up to `depth` times in
    /// a row.
    pub fn crashes(&self, schedule: &Schedule, depth: usize, share: Share) -> Survey {
        let mut survey = Survey::default();
        let first = survey.count(self, schedule);
        let points = (1..=first.points).filter(|point| share.has(*point));
        self.deeper(&mut survey, schedule, points, depth);
        survey
    }

    fn deeper(
        &self,
        survey: &mut Survey,
        schedule: &Schedule,
        points: impl Iterator<Item = u64>,
        depth: usize,
    ) {
        if depth == 0 {
            return;
        }
        for point in points {
            let mut kinds = KINDS.to_vec();
            while let Some(crash) = kinds.pop() {
                if survey.found.len() >= ENOUGH {
                    return;
                }
                let dying = schedule.clone().dying(point, crash);
                let run = survey.count(self, &dying);
                if crash == NOTHING_KEPT {
                    kinds.extend(more_kept(run.unsynced));
                }
                let points: Box<dyn Iterator<Item = u64>> = Box::new(1..=run.points);
                self.deeper(survey, &dying, points, depth - 1);
            }
        }
    }

    /// One of `calls` about the first client's pod at every moment, and one
    /// crash: at that moment or at any later point, or before it, so that the
    /// call comes during the recovery.
    pub fn requests(&self, schedule: &Schedule, calls: &[Call], share: Share) -> Survey {
        let mut survey = Survey::default();
        let first = survey.count(self, schedule);
        for point in (1..=first.points).filter(|point| share.has(*point)) {
            for call in calls {
                let asking = schedule.clone().asking(point, 0, *call);
                let run = survey.count(self, &asking);
                self.deeper(&mut survey, &asking, point..=run.points, 1);
            }
            for crash in KINDS {
                let dying = schedule.clone().dying(point, crash);
                let run = survey.count(self, &dying);
                for moment in 1..=run.points {
                    for call in calls {
                        survey.count(self, &dying.clone().asking(moment, 0, *call));
                    }
                }
            }
            if survey.found.len() >= ENOUGH {
                break;
            }
        }
        survey
    }
}

const NOTHING_KEPT: Crash = Crash::Power {
    kept: 0,
    disk_lost: false,
};

/// The kinds of crash that there are at every point.
const KINDS: [Crash; 4] = [
    Crash::Kill { strays: true },
    Crash::Kill { strays: false },
    NOTHING_KEPT,
    Crash::Power {
        kept: 0,
        disk_lost: true,
    },
];

/// What was not on the platter may be there, up to any moment.
fn more_kept(unsynced: usize) -> impl Iterator<Item = Crash> {
    (1..=unsynced).flat_map(|kept| [false, true].map(|disk_lost| Crash::Power { kept, disk_lost }))
}

impl Survey {
    /// Carries a schedule out and counts it.
    pub(crate) fn count(&mut self, world: &World, schedule: &Schedule) -> Run {
        let run = world.run(schedule);
        self.runs += 1;
        for (point, times) in &run.reached {
            *self.reached.entry(*point).or_default() += times;
        }
        for point in &run.died_at {
            *self.died_at.entry(*point).or_default() += 1;
        }
        if !run.complaints.is_empty() && self.found.len() < ENOUGH {
            self.found.push(Counterexample::shrunk(world, schedule));
        }
        run
    }

    /// The sum of two.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.runs += other.runs;
        for (point, times) in other.reached {
            *self.reached.entry(point).or_default() += times;
        }
        for (point, times) in other.died_at {
            *self.died_at.entry(point).or_default() += times;
        }
        self.found.extend(other.found);
        self
    }

    /// Whether it is a proof: nothing was found, and of each of these steps
    /// every side was reached: it was died at before, within and after its
    /// effect and its undo, and at each moment of an append; its probe and the
    /// killing of what is left of it were passed.
    ///
    /// # Errors
    /// The first finding, or the points that were never reached.
    pub fn verdict(&self, steps: &[Step]) -> Result<(), Refuted> {
        if let Some(found) = self.found.first() {
            return Err(Refuted::Wrong(Box::new(found.clone())));
        }
        let never = self.never_reached(steps);
        match never.is_empty() {
            true => Ok(()),
            false => Err(Refuted::NeverReached(never)),
        }
    }

    /// The points of these steps, and of the journal, that no run died at, or
    /// passed.
    pub fn never_reached(&self, steps: &[Step]) -> Vec<String> {
        let journal = [
            Point::JournalBefore,
            Point::JournalHandedOver,
            Point::JournalOnThePlatter,
        ];
        let mut never: Vec<String> = journal
            .into_iter()
            .filter(|point| !self.died_at.contains_key(point))
            .map(|point| point.to_string())
            .collect();
        for step in steps {
            never.extend(sides(*step).filter_map(|(site, at)| self.never(*step, site, at)));
        }
        never
    }

    /// A place in an effect, if no attachment's was ever died at; in a look, if
    /// it was never passed.
    fn never(&self, step: Step, site: Site, at: Progress) -> Option<String> {
        let here = |point: &Point| match point {
            Point::Effect {
                step: other,
                site: side,
                at: progress,
                ..
            } => (*other, *side, *progress) == (step, site, at),
            _ => false,
        };
        let points = match site {
            Site::Apply | Site::Undo => &self.died_at,
            Site::Probe | Site::Quiet => &self.reached,
        };
        let reached = points.keys().any(here);
        (!reached).then(|| format!("{step}.{site:?} {at:?}"))
    }
}

/// The places of a step that every survey must reach.
fn sides(step: Step) -> impl Iterator<Item = (Site, Progress)> {
    let of_effect = [Progress::Before, Progress::Begun, Progress::End];
    let effects = [Site::Apply, Site::Undo];
    let effects = effects
        .into_iter()
        .flat_map(move |site| of_effect.map(|at| (site, at)));
    let looks = [
        (Site::Quiet, Progress::Before),
        (Site::Quiet, Progress::End),
        (Site::Probe, Progress::Before),
        (Site::Apply, Progress::Changed(1)),
    ];
    // A step may change nothing on the host when it is undone.
    let undone = (step != Step::ReadyNetwork).then_some((Site::Undo, Progress::Changed(1)));
    effects.chain(looks).chain(undone)
}

#[cfg(test)]
mod tests;
