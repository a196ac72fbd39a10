//! One pod's place in the engine: its fold, its walk, and those who wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_channel::oneshot;
use futures_util::lock::{Mutex as Pen, MutexGuard as Writing, OwnedMutexGuard};

use crate::decide::{Facts, Policy};
use crate::engine::again::Again;
use crate::engine::answer::{Waiter, Wanted, buried};
use crate::engine::error::EngineError;
use crate::id::PodId;
use crate::pod::Pod;
use crate::ports::Probe;
use crate::record::{Goal, Output};
use crate::step::Step;

pub(crate) struct Slot {
    pub(crate) id: PodId,
    /// Held while a record is written and folded: records of one pod are
    /// numbered without gaps.
    pen: Arc<Pen<()>>,
    desk: Mutex<Desk>,
}

struct Desk {
    pod: Arc<Pod>,
    walk: Walk,
    urgent: bool,
    hold: Step,
    found: Option<(Step, Probe<Output>)>,
    /// The last look at its sandbox could not tell whether it runs.
    unknown: bool,
    again: Again,
    inherited: bool,
    waiters: Vec<Waiter>,
    /// Ends a wait, or an effect that a higher goal may cut short.
    wake: Option<oneshot::Sender<()>>,
    /// Nothing may be written about it any more.
    gone: bool,
    records_since_snapshot: u64,
}

impl Desk {
    fn answer(&mut self, verdict: impl Fn(&Pod, Wanted) -> Option<Result<(), EngineError>>) {
        let pod = self.pod.clone();
        let waiters = std::mem::take(&mut self.waiters);
        for waiter in waiters {
            match verdict(&pod, waiter.wanted) {
                None => self.waiters.push(waiter),
                // Whoever has gone away needs no answer.
                Some(answer) => drop(waiter.answer.send(answer)),
            }
        }
    }

    /// Whether it is recorded as running, and nobody knows whether it does.
    fn is_unknown(&self) -> bool {
        self.pod.goal == Goal::Run && self.pod.has_sandbox() && self.unknown
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Walk {
    /// Nobody walks.
    Idle,
    /// Somebody walks.
    Walking,
    /// Somebody walks, and must look again before resting.
    Again,
}

impl Slot {
    pub(crate) fn new(pod: Pod, hold: Step, inherited: bool) -> Self {
        Self {
            id: pod.id,
            pen: Arc::new(Pen::new(())),
            desk: Mutex::new(Desk {
                pod: Arc::new(pod),
                walk: Walk::Idle,
                urgent: false,
                hold,
                found: None,
                unknown: false,
                again: Again::default(),
                inherited,
                waiters: Vec::new(),
                wake: None,
                gone: false,
                records_since_snapshot: 0,
            }),
        }
    }

    /// A new pod's slot, with its pen already taken, and its walk begun: as
    /// soon as others see it, a call of theirs must set off no second one.
    pub(crate) fn new_held(pod: Pod, hold: Step) -> (Arc<Self>, OwnedMutexGuard<()>) {
        let slot = Self::new(pod, hold, false);
        slot.desk().walk = Walk::Walking;
        let pen = slot.pen.clone();
        let held = loop {
            // Nobody else has seen the slot, so the first try succeeds.
            if let Some(held) = pen.clone().try_lock_owned() {
                break held;
            }
        };
        (Arc::new(slot), held)
    }

    pub(crate) async fn pen(&self) -> Writing<'_, ()> {
        self.pen.lock().await
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.desk().gone
    }

    /// From now on nothing is written about it, and all who wait are answered.
    pub(crate) fn end(&self, answer: impl Fn(&Pod, Wanted) -> Result<(), EngineError>) {
        self.desk().gone = true;
        self.answer(|pod, wanted| Some(answer(pod, wanted)));
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn pod(&self) -> Arc<Pod> {
        self.desk().pod.clone()
    }

    pub(crate) fn set_pod(&self, pod: Arc<Pod>) {
        self.desk().pod = pod;
    }

    /// The pod with all that is known of it besides the journal.
    pub(crate) fn facts(
        &self,
        now: crate::clock::Stamp,
        policy: Policy,
        closing: bool,
    ) -> (Arc<Pod>, Facts) {
        let desk = self.desk();
        let found = desk.found.as_ref();
        let facts = Facts {
            now,
            policy,
            found: found.map(|(step, probe)| (*step, probe.clone().map(drop))),
            in_vain: desk.again.in_vain(&now),
            inherited: desk.inherited,
            urgent: desk.urgent,
            hold: desk.hold,
            closing,
        };
        (desk.pod.clone(), facts)
    }

    pub(crate) fn set_found(&self, found: Option<(Step, Probe<Output>)>) {
        let mut desk = self.desk();
        if let Some((Step::Start, probe)) = &found {
            desk.unknown = matches!(probe, Probe::Unknown);
        }
        desk.found = found;
    }

    /// What a probe of this step has found complete.
    pub(crate) fn found_output(&self, step: Step) -> Option<Output> {
        match &self.desk().found {
            Some((looked_at, Probe::Complete(output))) if *looked_at == step => {
                Some(output.clone())
            }
            _ => None,
        }
    }

    pub(crate) fn is_inherited(&self) -> bool {
        self.desk().inherited
    }

    /// From now on the walk is this process's own.
    pub(crate) fn disinherit(&self) {
        self.desk().inherited = false;
    }

    pub(crate) fn set_urgent(&self, urgent: bool) {
        self.desk().urgent = urgent;
    }

    pub(crate) fn raise_hold(&self, step: Step) {
        let mut desk = self.desk();
        desk.hold = desk.hold.max(step);
    }

    /// Counts what was written; asked when a walk rests.
    pub(crate) fn count_records(&self, written: usize) {
        self.desk().records_since_snapshot += written as u64;
    }

    pub(crate) fn records_since_snapshot(&self) -> u64 {
        self.desk().records_since_snapshot
    }

    pub(crate) fn snapshot_taken(&self) {
        self.desk().records_since_snapshot = 0;
    }

    pub(crate) fn wait(&self, wanted: Wanted) -> oneshot::Receiver<Result<(), EngineError>> {
        let (answer, receiver) = oneshot::channel();
        let mut desk = self.desk();
        match desk.gone {
            false => desk.waiters.push(Waiter { wanted, answer }),
            true => drop(answer.send(buried(&desk.pod, wanted))),
        }
        receiver
    }

    /// As [`Slot::wait`]; and what is owed is tried at once. An answer that was
    /// decided without knowing of that is not given (see [`Slot::tell`]).
    pub(crate) fn wait_urgently(
        &self,
        wanted: Wanted,
    ) -> oneshot::Receiver<Result<(), EngineError>> {
        self.set_urgent(true);
        self.wait(wanted)
    }

    /// Answers those for whom `verdict`, which rests on `facts`, has an answer;
    /// false, and nobody is answered, when somebody has asked for a try since.
    pub(crate) fn tell(
        &self,
        facts: &Facts,
        verdict: impl Fn(&Pod, Wanted) -> Option<Result<(), EngineError>>,
    ) -> bool {
        let mut desk = self.desk();
        if desk.urgent && !facts.urgent {
            return false;
        }
        desk.answer(verdict);
        true
    }

    /// Answers those for whom `verdict` has one.
    pub(crate) fn answer(&self, verdict: impl Fn(&Pod, Wanted) -> Option<Result<(), EngineError>>) {
        self.desk().answer(verdict);
    }

    /// How long to wait before a sandbox that could not be looked at is looked
    /// at again; none if that is not called for, or somebody waits already.
    pub(crate) fn wait_to_look_again(&self, now: crate::clock::Stamp) -> Option<Duration> {
        let mut desk = self.desk();
        let unknown = desk.is_unknown();
        desk.again.begin(unknown, now)
    }

    /// Ends that wait; true if what is not known is to be looked at now.
    pub(crate) fn look_again(&self) -> bool {
        let mut desk = self.desk();
        desk.again.end();
        let unknown = desk.is_unknown();
        if unknown {
            desk.found = None;
            desk.unknown = false;
        }
        unknown
    }

    /// Asks for a walk; true if the caller must set it off.
    pub(crate) fn call(&self) -> bool {
        let mut desk = self.desk();
        if let Some(wake) = desk.wake.take() {
            let _ = wake.send(());
        }
        let idle = desk.walk == Walk::Idle;
        desk.walk = if idle { Walk::Walking } else { Walk::Again };
        idle
    }

    /// Ends the walk, unless somebody has called meanwhile.
    pub(crate) fn rest(&self) -> bool {
        let mut desk = self.desk();
        desk.walk = match desk.walk {
            Walk::Again => Walk::Walking,
            Walk::Walking | Walk::Idle => Walk::Idle,
        };
        desk.walk == Walk::Idle
    }

    /// Ends when somebody calls, or has called since the walk last looked.
    pub(crate) fn called(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut desk = self.desk();
        match desk.walk {
            Walk::Again => {
                desk.walk = Walk::Walking;
                let _ = sender.send(());
            }
            Walk::Walking | Walk::Idle => desk.wake = Some(sender),
        }
        receiver
    }
}
