//! What clients were told, and whether it was the truth.
//!
//! A client believes an answer. What it then asks for may or may not have been
//! heard when the daemon died; so a claim holds until the client itself asks for
//! something else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use podwalk_engine::clock::Clock;
use podwalk_engine::engine::{Engine, EngineError, PodView};
use podwalk_engine::id::PodId;
use podwalk_engine::pod::{Pod, Status, fold};
use podwalk_engine::record::{Goal, ProcessIdentity};
use podwalk_engine::step::Step;

use crate::sim::Node;
use crate::sim::oracle::brief;
use crate::sim::schedule::{Call, Client, Mode, Schedule};

/// A success that a client was told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    Started,
    Stopped,
    Removed,
}

/// All that was told, in all lives of a run.
#[derive(Debug, Clone)]
pub(crate) struct Claims {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// How many reboots there were.
    reboots: u64,
    /// Per client, how many of its calls were answered.
    answered: Vec<usize>,
    /// Per client, how many ids it has offered.
    offered: Vec<u32>,
    pods: BTreeMap<PodId, Told>,
    /// Nothing goes wrong but that the daemon dies: no call may be refused, and
    /// what was begun is finished.
    plain: bool,
    /// Calls that were refused although nothing goes wrong.
    refused: Vec<String>,
    /// Pods whose start a SIGKILL has interrupted.
    unfinished: BTreeSet<PodId>,
}

/// What is known of one pod.
#[derive(Debug, Clone, Default)]
struct Told {
    owner: Option<PodId>,
    /// It was said to run, in this many reboots' time.
    started: Option<u64>,
    stopped: bool,
    removed: bool,
    asked_to_stop: bool,
    asked_to_remove: bool,
    /// Its sandboxes that have died by themselves.
    died: Vec<ProcessIdentity>,
}

impl Answered {
    /// Whether it is true of a pod, or of none.
    pub(crate) fn is_true_of(self, pod: Option<&Pod>) -> bool {
        match (self, pod) {
            (Self::Started, Some(pod)) => pod.is_started(),
            (Self::Started, None) => false,
            (Self::Stopped | Self::Removed, None) => true,
            (Self::Stopped, Some(pod)) => {
                pod.goal >= Goal::Stop && (pod.is_down() || is_outlived(pod, Goal::Stop))
            }
            (Self::Removed, Some(pod)) => is_outlived(pod, Goal::Remove),
        }
    }
}

impl Claims {
    pub(crate) fn new(schedule: &Schedule) -> Self {
        let clients = schedule.clients.len();
        let state = State {
            answered: vec![0; clients],
            offered: vec![0; clients],
            plain: is_plain(schedule),
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note_reboot(&self) {
        let mut state = self.state();
        state.reboots += 1;
        state.unfinished.clear();
    }

    /// Remembers whose start was under way when the daemon was killed.
    pub(crate) fn note_unfinished(&self, node: &Node) {
        let mut state = self.state();
        let boot = node.clock.now().boot;
        for (id, entries) in node.journal.contents().pods {
            let Ok(pod) = fold(&entries) else { continue };
            let begun = pod.goal == Goal::Run && pod.status(Step::Create) != Status::Never;
            // What an earlier boot has begun is stopped.
            if begun && pod.last.boot == boot && state.plain {
                state.unfinished.insert(id);
            }
        }
    }

    /// Remembers a call that was refused, if nothing excuses it.
    pub(crate) fn refused(&self, call: &str, error: &EngineError) {
        let mut state = self.state();
        if state.plain {
            state.refused.push(format!("{call} was refused: {error}"));
        }
    }

    pub(crate) fn answered_calls(&self, client: usize) -> usize {
        self.state().answered.get(client).copied().unwrap_or(0)
    }

    pub(crate) fn count_answer(&self, client: usize) {
        if let Some(answered) = self.state().answered.get_mut(client) {
            *answered += 1;
        }
    }

    /// A new id for a client's pod.
    pub(crate) fn offer(&self, client: usize, owner: Option<PodId>) -> PodId {
        let mut state = self.state();
        let attempt = match state.offered.get_mut(client) {
            Some(offered) => {
                *offered += 1;
                *offered
            }
            None => 0,
        };
        let id = Client::id(client, attempt);
        state.pods.entry(id).or_default().owner = owner;
        id
    }

    /// The newest pod of a client that the engine knows.
    pub(crate) fn newest(&self, client: usize, engine: &Engine) -> Option<PodId> {
        let offered = self.state().offered.get(client).copied()?;
        let mut ids = (1..=offered)
            .rev()
            .map(|attempt| Client::id(client, attempt));
        ids.find(|id| engine.get(*id).is_some())
    }

    pub(crate) fn asked_to_end(&self, id: PodId, call: Call) {
        let mut state = self.state();
        let told = state.pods.entry(id).or_default();
        told.asked_to_stop = true;
        told.asked_to_remove |= call == Call::Remove;
    }

    pub(crate) fn died(&self, id: PodId, process: ProcessIdentity) {
        let mut state = self.state();
        state.pods.entry(id).or_default().died.push(process);
    }

    pub(crate) fn hear(&self, id: PodId, said: Answered) {
        let mut state = self.state();
        let reboots = state.reboots;
        let told = state.pods.entry(id).or_default();
        match said {
            Answered::Started => told.started = Some(reboots),
            Answered::Stopped => told.stopped = true,
            Answered::Removed => told.removed = true,
        }
    }

    /// Answers that are not true, or not true any more.
    pub(crate) fn lies(&self, engine: &Engine) -> Vec<String> {
        let state = self.state();
        let lied = state.pods.iter().filter_map(|(id, told)| {
            let view = engine.get(*id);
            let still = state.is_true_still(told, view.as_ref());
            let is = || view.as_ref().map(|view| brief(&view.pod));
            (!still).then(|| format!("of {id} was said {told:?}, and it is {:?}", is()))
        });
        let unfinished = state.unfinished.iter().filter(|id| {
            let asked_to_end = state.pods.get(id).is_some_and(|told| told.asked_to_stop);
            !asked_to_end && !engine.get(**id).is_some_and(|view| view.ready)
        });
        let unfinished = unfinished.map(|id| format!("the start of {id} was not resumed"));
        lied.chain(unfinished)
            .chain(state.refused.clone())
            .collect()
    }
}

/// Whether nothing goes wrong but that the daemon dies, and nobody meddles.
fn is_plain(schedule: &Schedule) -> bool {
    let mut calls = schedule.clients.iter().flat_map(|client| &client.calls);
    let policy = schedule.setup.policy;
    let mut modes = schedule.clients.iter().map(|client| client.mode);
    schedule.faults.is_empty()
        && schedule.requests.is_empty()
        && policy.resume
        // Each death may cost one attempt.
        && policy.attempts as usize > schedule.deaths.len()
        && !calls.any(|call| matches!(call, Call::Die | Call::Fill))
        && !modes.any(|mode| matches!(mode, Mode::GuestOf(_)))
}

impl State {
    fn is_true_still(&self, told: &Told, view: Option<&PodView>) -> bool {
        let pod = view.map(|view| &*view.pod);
        if told.removed {
            return Answered::Removed.is_true_of(pod);
        }
        if told.stopped {
            // A failed start is forgotten by itself.
            let may_be_gone = told.asked_to_remove || told.started.is_none();
            return Answered::Stopped.is_true_of(pod) && (pod.is_some() || may_be_gone);
        }
        let Some(reboots) = told.started else {
            return true;
        };
        let owner = told.owner.and_then(|owner| self.pods.get(&owner));
        let owner_may_have_gone =
            owner.is_some_and(|owner| owner.asked_to_stop || !owner.died.is_empty());
        if told.asked_to_stop || owner_may_have_gone {
            return true;
        }
        let Some(view) = view else {
            return false;
        };
        if reboots < self.reboots {
            let owes = !view.pod.debts.is_empty();
            return view.pod.goal == Goal::Stop && (owes || view.pod.is_down());
        }
        let sandbox = view.pod.sandbox.as_ref().map(|sandbox| sandbox.process);
        let died = sandbox.is_some_and(|process| told.died.contains(&process));
        view.ready != died
    }
}

/// Whether this goal was answered although something is owed. Nothing of a
/// sandbox can be (design, section 3, rule 7).
fn is_outlived(pod: &Pod, goal: Goal) -> bool {
    pod.outlived >= Some(goal) && pod.status(Step::Start) == Status::Never
}
