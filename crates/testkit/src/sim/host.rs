//! What the effects leave behind.
//!
//! The host is the only truth: the oracle looks here, never at what somebody
//! says is here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use podwalk_engine::clock::{Clock, Stamp};
use podwalk_engine::id::PodId;
use podwalk_engine::record::{NetnsIdentity, ProcessIdentity};
use podwalk_engine::step::{Lifetime, Step};

use crate::sim::SimClock;

/// How long what is written to the host's disk may take to get there.
const WRITE_BACK: Duration = Duration::from_secs(120);

/// One thing that a step leaves on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Thing {
    /// The namespace file.
    File,
    /// A namespace pinned on it.
    Mount,
    /// `lo` is up in it.
    Loopback,
    /// An address that a plugin has given away; a file on disk.
    Address(u32),
    /// An interface in the namespace.
    Interface(u32),
    /// What the runtime remembers of a sandbox.
    RuntimeState,
    /// The sandbox's process.
    Sandbox,
    /// Something of an embedder's own rung.
    Own {
        /// Whose step makes it.
        step: Step,
        /// What it is.
        name: &'static str,
        /// How long it lives.
        lifetime: Lifetime,
    },
}

impl Thing {
    /// Whose step makes it: of addresses and interfaces ConfigureCni, where
    /// the pod's plan does not say that they are late.
    pub fn step(self) -> Step {
        match self {
            Thing::File => Step::Create,
            Thing::Mount => Step::MountNetns,
            Thing::Loopback => Step::ReadyNetwork,
            Thing::Address(_) | Thing::Interface(_) => Step::ConfigureCni,
            Thing::RuntimeState | Thing::Sandbox => Step::Start,
            Thing::Own { step, .. } => step,
        }
    }

    /// How long it lives.
    pub fn lifetime(self) -> Lifetime {
        match self {
            Thing::Address(_) => Lifetime::OnDisk,
            Thing::Own { lifetime, .. } => lifetime,
            _ => Lifetime::UntilReboot,
        }
    }

    fn lives_in_namespace(self) -> bool {
        matches!(self, Thing::Loopback | Thing::Interface(_))
    }
}

/// One change to the host. The parts of an effect that nothing can part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The thing is there. Made over itself, most things are stacked, which is
    /// noted as wrong.
    Make(Thing),
    /// The thing is gone, if it was there.
    Take(Thing),
    /// A sandbox that takes the network away from its namespace.
    MakeGreedy,
}

/// What is to be known of a thing.
#[derive(Debug, Clone, Copy, Default)]
struct Made {
    /// How often it was made over itself.
    stacked: u64,
    /// A number that no other thing has.
    number: u64,
    /// A sandbox has taken the network away from it.
    used: bool,
}

/// The host, shared between the rungs and the test.
#[derive(Debug, Clone)]
pub struct SimHost {
    clock: SimClock,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    things: BTreeMap<(PodId, Thing), Made>,
    made: u64,
    effects: BTreeMap<u64, Effect>,
    written: Vec<Write>,
    wrong: Vec<String>,
}

#[derive(Debug)]
struct Effect {
    pod: PodId,
    rest: VecDeque<Change>,
    /// Somebody waits for it; otherwise it goes on by itself.
    driven: bool,
}

/// Something done to the disk, and what was there before.
#[derive(Debug)]
struct Write {
    at: Stamp,
    name: (PodId, Thing),
    before: Option<Made>,
}

impl SimHost {
    pub(crate) fn new(clock: SimClock) -> Self {
        Self {
            clock,
            state: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that is there, by pod.
    pub fn things(&self) -> Vec<(PodId, Thing)> {
        self.state().things.keys().copied().collect()
    }

    /// What is there of one pod.
    pub fn of(&self, pod: PodId) -> Vec<Thing> {
        let state = self.state();
        let of_pod = state.things.keys().filter(|(owner, _)| *owner == pod);
        of_pod.map(|(_, thing)| *thing).collect()
    }

    /// Whether it is there.
    pub fn has(&self, pod: PodId, thing: Thing) -> bool {
        self.state().things.contains_key(&(pod, thing))
    }

    /// What must never happen and did, in order.
    pub fn wrong(&self) -> Vec<String> {
        self.state().wrong.clone()
    }

    /// Notes something that must never happen.
    pub fn blame(&self, what: impl Into<String>) {
        self.state().wrong.push(what.into());
    }

    /// The sandbox dies by itself.
    pub fn let_sandbox_die(&self, pod: PodId) {
        self.state().take(pod, Thing::Sandbox);
    }

    /// The namespace's identity, if exactly one is pinned.
    pub fn namespace(&self, pod: PodId) -> Option<NetnsIdentity> {
        let made = self.state().things.get(&(pod, Thing::Mount)).copied()?;
        (made.stacked == 1).then(|| NetnsIdentity {
            boot: self.clock.now().boot,
            device: 4,
            // Inode numbers are reused soon; the cookie is not.
            inode: 4_026_531_840 + made.number % 3,
            cookie: made.number,
        })
    }

    /// The sandbox's process, if it lives.
    pub fn process(&self, pod: PodId) -> Option<ProcessIdentity> {
        let made = self.state().things.get(&(pod, Thing::Sandbox)).copied()?;
        Some(ProcessIdentity {
            // Pids are reused soon; a pid with its start time is not.
            pid: 1000 + u32::try_from(made.number % 3).unwrap_or_default(),
            start_time: made.number,
        })
    }

    pub(crate) fn begin(&self, pod: PodId, changes: &[Change]) -> u64 {
        let mut state = self.state();
        let number = state.number();
        let effect = Effect {
            pod,
            rest: changes.iter().copied().collect(),
            driven: true,
        };
        state.effects.insert(number, effect);
        number
    }

    /// Makes an effect's next change; false when there is none.
    pub(crate) fn go_on(&self, effect: u64) -> bool {
        let now = self.clock.now();
        self.state().go_on(effect, now)
    }

    /// Nobody waits for the effect any more.
    pub(crate) fn abandon(&self, effect: u64) {
        let mut state = self.state();
        match state.effects.get_mut(&effect) {
            Some(left) if !left.rest.is_empty() => left.driven = false,
            _ => drop(state.effects.remove(&effect)),
        }
    }

    /// Ends an effect where it is: it has answered.
    pub(crate) fn end(&self, effect: u64) {
        self.state().effects.remove(&effect);
    }

    /// Kills what is left of a pod's effects, and sees it gone.
    pub fn quiet(&self, pod: PodId) {
        let mut state = self.state();
        state
            .effects
            .retain(|_, effect| effect.driven || effect.pod != pod);
    }

    /// How many effects go on without anybody waiting for them.
    pub fn strays(&self) -> usize {
        let state = self.state();
        let effects = state.effects.values();
        effects.filter(|effect| !effect.driven).count()
    }

    /// Lets those effects run to their ends.
    pub fn let_strays_finish(&self) {
        let now = self.clock.now();
        let mut state = self.state();
        let stray = |(number, effect): (&u64, &Effect)| (!effect.driven).then_some(*number);
        let strays: Vec<u64> = state.effects.iter().filter_map(stray).collect();
        for number in strays {
            while state.go_on(number, now) {}
            state.effects.remove(&number);
        }
    }

    /// Lets each of those effects make its next change.
    pub(crate) fn let_strays_move(&self) {
        let now = self.clock.now();
        let mut state = self.state();
        let stray = |(number, effect): (&u64, &Effect)| (!effect.driven).then_some(*number);
        let strays: Vec<u64> = state.effects.iter().filter_map(stray).collect();
        for number in strays {
            state.go_on(number, now);
        }
    }

    /// Kills every effect that goes on by itself, whosever it is.
    pub fn kill_strays(&self) {
        self.state().effects.retain(|_, effect| effect.driven);
    }

    /// The machine goes down and comes up. What lived until reboot is gone. If
    /// power was `lost`, so is what was done to the disk shortly before.
    pub(crate) fn go_down(&self, lost: bool) {
        let now = self.clock.now();
        let mut state = self.state();
        state.effects.clear();
        for write in std::mem::take(&mut state.written).into_iter().rev() {
            let recent = write.at.boot == now.boot && now.since(&write.at) < WRITE_BACK;
            match write.before {
                _ if !lost || !recent => {}
                Some(made) => drop(state.things.insert(write.name, made)),
                None => drop(state.things.remove(&write.name)),
            }
        }
        state
            .things
            .retain(|(_, thing), _| thing.lifetime() == Lifetime::OnDisk);
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    fn go_on(&mut self, effect: u64, now: Stamp) -> bool {
        let Some(running) = self.effects.get_mut(&effect) else {
            return false;
        };
        let pod = running.pod;
        let Some(change) = running.rest.pop_front() else {
            return false;
        };
        let (Change::Make(thing) | Change::Take(thing)) = change else {
            self.make(pod, Thing::Sandbox);
            self.use_up(pod);
            return true;
        };
        if thing.lifetime() == Lifetime::OnDisk {
            let before = self.things.get(&(pod, thing)).copied();
            self.written.push(Write {
                at: now,
                name: (pod, thing),
                before,
            });
        }
        match change {
            Change::Take(_) => self.take(pod, thing),
            Change::Make(_) | Change::MakeGreedy => self.make(pod, thing),
        }
        true
    }

    fn make(&mut self, pod: PodId, thing: Thing) {
        // What lives in a namespace cannot be put where there is none.
        if thing.lives_in_namespace() && !self.things.contains_key(&(pod, Thing::Mount)) {
            return;
        }
        let number = self.number();
        let made = self.things.entry((pod, thing)).or_default();
        made.stacked += 1;
        made.number = number;
        let twice = made.stacked > 1;
        if twice && !matches!(thing, Thing::File | Thing::Loopback) {
            self.wrong
                .push(format!("{thing:?} of {pod} was made over itself"));
        }
    }

    fn take(&mut self, pod: PodId, thing: Thing) {
        self.things.remove(&(pod, thing));
        if thing == Thing::Mount {
            self.things
                .retain(|(owner, inner), _| *owner != pod || !inner.lives_in_namespace());
        }
    }

    fn use_up(&mut self, pod: PodId) {
        let Some(mount) = self.things.get_mut(&(pod, Thing::Mount)) else {
            return;
        };
        if mount.used {
            self.wrong.push(format!(
                "the sandbox of {pod} was started in a used network"
            ));
        }
        mount.used = true;
    }
}

#[cfg(test)]
mod tests;
