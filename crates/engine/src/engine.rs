//! The embedder's face of the engine.
//!
//! Every verb is idempotent, every future may be dropped: a walk belongs to
//! the engine and goes on without its caller (design, section 3, rule 12).

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_channel::oneshot;

use crate::clock::{Clock, Stamp};
use crate::decide::{Facts, Next, Policy, decide};
use crate::event::{Cursor, Event, Events, Subscription};
use crate::id::PodId;
use crate::pod::{Obituary, Pod, Status};
use crate::ports::{Durability, Journal, JournalError, Spawn};
use crate::record::{Cause, Entry, Goal, ProcessIdentity};
use crate::recovery::{HostFacts, RecoveryPlan, recovery_plan};
use crate::rungs::Rungs;
use crate::spec::{PodKey, PodSpec};
use crate::step::{NetworkMode, Step};

mod admit;
mod again;
mod answer;
mod debts;
mod drive;
mod effect;
mod error;
mod gate;
mod point;
mod registry;
mod slot;
mod write;

pub use error::{EngineError, EngineErrorKind};
pub use registry::PodView;

use admit::Admitted;
use answer::Wanted;
use gate::Gate;
use registry::Registry;
use slot::Slot;

/// How many pods that are gone are remembered in memory.
const GRAVES: usize = 1000;

/// A pod engine over the embedder's journal, rungs, clock and executor.
///
/// A handle: clones share the engine.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

/// All that an engine is made of. Every part must be named.
pub struct Parts {
    /// Where everything is recorded.
    pub journal: Arc<dyn Journal>,
    /// What the steps do.
    pub rungs: Rungs,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What runs the walks.
    pub spawn: Arc<dyn Spawn>,
    /// What the configuration says.
    pub config: EngineConfig,
}

/// What the configuration says.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The directory of the namespace files, without a final slash.
    pub netns_dir: String,
    /// How walks behave.
    pub policy: Policy,
    /// How many interrupted walks run at once after a restart.
    pub recovery_at_once: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            netns_dir: "/var/run/netns".to_owned(),
            policy: Policy::default(),
            recovery_at_once: 16,
        }
    }
}

/// The answer to a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// The pod that runs.
    pub id: PodId,
    /// It was there already, or on its way: this request joined it.
    pub joined: bool,
}

/// What recovery has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Pods that are started.
    pub started: Vec<PodId>,
    /// Pods that are at rest otherwise.
    pub at_rest: Vec<PodId>,
    /// Pods that were undone and are gone.
    pub gone: Vec<PodId>,
    /// Pods that owe.
    pub owing: Vec<PodId>,
}

/// A function in the place of [`decide`].
#[doc(hidden)]
pub type Decide = fn(&Pod, &Facts) -> Next;

pub(crate) struct Inner {
    decide: Decide,
    journal: Arc<dyn Journal>,
    rungs: Rungs,
    clock: Arc<dyn Clock>,
    spawn: Arc<dyn Spawn>,
    config: EngineConfig,
    pods: Mutex<Registry>,
    graves: Mutex<VecDeque<Obituary>>,
    quarantined: Mutex<Vec<(PodId, String)>>,
    events: Events,
    closing: AtomicBool,
    gate: Gate,
}

impl Engine {
    /// Reads the journal, records what a reboot has done, and answers the
    /// engine with the plan that [`Engine::recover`] will carry out. Nothing
    /// on the host is touched yet; the engine can be asked at once.
    ///
    /// # Errors
    /// When the journal cannot be read, or does not take the reboot's records.
    pub async fn open(parts: Parts) -> Result<(Engine, RecoveryPlan), EngineError> {
        Self::open_deciding(parts, decide).await
    }

    /// [`Engine::open`], with another function in the place of [`decide`]: an
    /// engine that is broken on purpose, for a harness to show that it sees it.
    #[doc(hidden)]
    pub async fn open_deciding(
        parts: Parts,
        decide: Decide,
    ) -> Result<(Engine, RecoveryPlan), EngineError> {
        let replay = parts.journal.replay().await?;
        let host = HostFacts {
            now: parts.clock.now(),
            policy: parts.config.policy,
        };
        let plan = recovery_plan(&replay, &host);
        for batch in plan.reboot_batches() {
            parts.journal.append(batch, Durability::Power).await?;
        }
        let graves: Vec<_> = plan.still_buried(replay.obituaries);
        let records = plan.with_reboot(replay.pods);
        let inner = Inner {
            decide,
            events: Events::new(parts.journal.epoch(), &records, &graves),
            pods: Mutex::new(Registry::new(plan.pods.iter().map(|plan| plan.pod.clone()))),
            graves: Mutex::new(graves.into()),
            quarantined: Mutex::new(plan.quarantined.clone()),
            closing: AtomicBool::new(false),
            gate: Gate::new(parts.config.recovery_at_once),
            journal: parts.journal,
            rungs: parts.rungs,
            clock: parts.clock,
            spawn: parts.spawn,
            config: parts.config,
        };
        let engine = Engine {
            inner: Arc::new(inner),
        };
        Ok((engine, plan))
    }

    /// Carries the plan out, by the same loop that live walks use, and answers
    /// when every pod is at rest, gone, or owes. Of one pod it never waits for
    /// another; only owners of a shared network come before its guests.
    pub async fn recover(&self, plan: &RecoveryPlan) -> RecoveryReport {
        let mut ends = Vec::new();
        for planned in &plan.pods {
            let Some(slot) = self.inner.slot(planned.pod.id) else {
                continue;
            };
            let owner = planned.pod.owner().and_then(|owner| self.inner.slot(owner));
            ends.push((planned.pod.id, slot.wait(Wanted::AtRest)));
            match owner {
                None => Inner::kick(&self.inner, &slot),
                Some(owner) => self.kick_after(&owner, slot),
            }
        }
        let mut report = RecoveryReport::default();
        for (id, end) in ends {
            // Whatever the walk has met is in the pod; what counts is its end.
            let _ = end.await;
            self.report(id, &mut report);
        }
        report
    }

    fn kick_after(&self, owner: &Arc<Slot>, guest: Arc<Slot>) {
        let first = owner.wait(Wanted::AtRest);
        Inner::kick(&self.inner, owner);
        let inner = self.inner.clone();
        self.inner.spawn.spawn(Box::pin(async move {
            let _ = first.await;
            Inner::kick(&inner, &guest);
        }));
    }

    fn report(&self, id: PodId, report: &mut RecoveryReport) {
        let list = match self.get(id) {
            None => &mut report.gone,
            Some(view) if !view.pod.debts.is_empty() => &mut report.owing,
            Some(view) if view.pod.is_started() => &mut report.started,
            Some(_) => &mut report.at_rest,
        };
        list.push(id);
    }

    /// Starts a pod, or joins the one that has its key (design, section 3,
    /// rule 11). `id` is used if a new pod is made. Answers when the sandbox
    /// runs, its late networks are attached and that is on the platter, or when a failed start is undone or
    /// owes.
    ///
    /// # Errors
    /// See [`EngineError::kind`].
    pub async fn start(&self, id: PodId, spec: PodSpec) -> Result<Started, EngineError> {
        let admitted = self.inner.admit(id, spec, Step::AttachLate)?;
        let id = admitted.slot.id;
        let joined = admitted.birth.is_none();
        // Who joins a walk that was to stop half way up wants all of it.
        admitted.slot.raise_hold(Step::AttachLate);
        let end = admitted.slot.wait(Wanted::Running);
        self.set_off(admitted);
        end.await.unwrap_or(Err(EngineError::Closing))?;
        Ok(Started { id, joined })
    }

    /// Takes only the first step; see [`crate::typed`].
    pub(crate) async fn create_only(&self, id: PodId, spec: PodSpec) -> Result<(), EngineError> {
        let key = spec.key();
        let admitted = self.inner.admit(id, spec, Step::Create)?;
        if admitted.birth.is_none() {
            return Err(EngineError::AlreadyExists {
                key,
                id: admitted.slot.id,
            });
        }
        let end = admitted.slot.wait(Wanted::Reached(Step::Create));
        self.set_off(admitted);
        end.await.unwrap_or(Err(EngineError::Closing))
    }

    /// Lets a pod climb up to `step`, and waits until it is there.
    pub(crate) async fn climb_to(&self, id: PodId, step: Step) -> Result<(), EngineError> {
        let slot = self.inner.known(id)?;
        slot.raise_hold(step);
        let end = slot.wait(Wanted::Reached(step));
        Inner::kick(&self.inner, &slot);
        end.await.unwrap_or(Err(EngineError::Closing))
    }

    fn set_off(&self, admitted: Admitted) {
        let Admitted { slot, birth } = admitted;
        match birth {
            Some(birth) => Inner::begin(&self.inner, slot, birth),
            None => Inner::kick(&self.inner, &slot),
        }
    }

    /// Stops a pod: the sandbox dies, CNI lets go, the namespace is unmounted,
    /// its file stays. Stopping a stopped pod succeeds.
    ///
    /// # Errors
    /// [`EngineError::NoSuchPod`]; [`EngineError::Owes`] while something could
    /// not be undone.
    pub async fn stop(&self, id: PodId) -> Result<(), EngineError> {
        self.aim(id, Goal::Stop).await
    }

    /// Removes a pod: as stop, and then its file and its records go.
    ///
    /// # Errors
    /// As for [`Engine::stop`].
    pub async fn remove(&self, id: PodId) -> Result<(), EngineError> {
        self.aim(id, Goal::Remove).await
    }

    async fn aim(&self, id: PodId, goal: Goal) -> Result<(), EngineError> {
        let slot = self.inner.known(id)?;
        if self.inner.is_closing() {
            return Err(EngineError::Closing);
        }
        let end = slot.wait(Wanted::Goal(goal));
        let inner = self.inner.clone();
        // On a task of its own: a dropped call must not tear a record from
        // its fold.
        self.inner.spawn.spawn(Box::pin(async move {
            inner.aim(&slot, goal, Cause::Request).await;
        }));
        end.await.unwrap_or(Err(EngineError::Closing))
    }

    /// Records that a sandbox's process is gone; on a full disk, when there is
    /// space. What is not the recorded process, or is being stopped, is not news.
    pub async fn note_exit(&self, id: PodId, process: ProcessIdentity, code: Option<i32>) {
        let Some(slot) = self.inner.slot(id) else {
            return;
        };
        let inner = self.inner.clone();
        let noted = self.detached(async move {
            // A sandbox that ends before its start is recorded is news after it.
            let pod = slot.pod();
            if pod.status(Step::Start) == Status::Maybe {
                // One that is to have late networks is not to get them then.
                let settled = slot.wait(match pod.has_late() {
                    true => Wanted::Known(Step::Start),
                    false => Wanted::AtRest,
                });
                Inner::kick(&inner, &slot);
                let _ = settled.await;
            }
            let written = inner.record_exit(&slot, process, code).await;
            if let Err(error) = written {
                tracing::warn!(pod = %slot.id, %error, "an exit could not be recorded");
            }
            Inner::kick(&inner, &slot);
        });
        let _ = noted.await;
    }

    /// Runs `task` to its end, whether or not the answer is waited for.
    fn detached<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (sender, receiver) = oneshot::channel();
        self.inner.spawn.spawn(Box::pin(async move {
            let _ = sender.send(task.await);
        }));
        receiver
    }

    /// One pod.
    pub fn get(&self, id: PodId) -> Option<PodView> {
        self.inner.pods().view(id)
    }

    /// Every pod, by id, those on their way included.
    pub fn list(&self) -> Vec<PodView> {
        self.inner.pods().views()
    }

    /// The pods that an id, a unique prefix of one, or a name may mean.
    pub fn find(&self, text: &str) -> Vec<PodView> {
        self.inner.pods().find(text)
    }

    /// Pods that are gone, oldest first; the last thousand.
    pub fn graves(&self) -> Vec<Obituary> {
        let graves = self.inner.graves.lock();
        let graves = graves.unwrap_or_else(PoisonError::into_inner);
        graves.iter().cloned().collect()
    }

    /// Pods that do not decode, each with what is wrong with it.
    pub fn quarantined(&self) -> Vec<(PodId, String)> {
        let list = self.inner.quarantined.lock();
        list.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a pod off the list of those that do not decode: its records are
    /// not in the journal any more. What it has left on the host is nobody's
    /// from here on.
    pub fn leave_quarantine(&self, id: PodId) {
        let list = self.inner.quarantined.lock();
        let mut list = list.unwrap_or_else(PoisonError::into_inner);
        list.retain(|(pod, _)| *pod != id);
    }

    /// One pod's records.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn records(&self, id: PodId) -> Result<Vec<Entry>, JournalError> {
        self.inner.journal.read(id).await
    }

    /// What recovery would do if the daemon were started now.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn plan(&self) -> Result<RecoveryPlan, JournalError> {
        let replay = self.inner.journal.replay().await?;
        let host = HostFacts {
            now: self.inner.clock.now(),
            policy: self.inner.config.policy,
        };
        Ok(recovery_plan(&replay, &host))
    }

    /// What happens from now on, and what has happened since a cursor.
    pub fn subscribe(&self, since: Option<Cursor>) -> Subscription {
        self.inner.events.subscribe(since)
    }

    /// The pod as it was right after an event.
    pub fn view_after(&self, event: &Event) -> PodView {
        self.inner.pods().view_of(event.pod.clone())
    }

    /// This moment, by the engine's clock.
    pub fn now(&self) -> Stamp {
        self.inner.clock.now()
    }

    /// Whether new pods are taken in; if not, why.
    ///
    /// # Errors
    /// As for [`Journal::admits`].
    pub fn admits(&self) -> Result<(), JournalError> {
        self.inner.journal.admits()
    }

    /// Begins no new effect, and answers when those under way have ended. The
    /// caller bounds the wait: what is left is as after a crash, and pods run
    /// on.
    pub async fn shutdown(&self) {
        self.inner.closing.store(true, Ordering::SeqCst);
        tracing::info!("ending: no new effect is begun, pods run on");
        let slots = self.inner.pods().slots();
        let mut ends = Vec::new();
        for slot in slots {
            ends.push(slot.wait(Wanted::AtRest));
            Inner::kick(&self.inner, &slot);
        }
        for end in ends {
            let _ = end.await;
        }
    }
}

impl Inner {
    fn pods(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, id: PodId) -> Option<Arc<Slot>> {
        self.pods().slot(id)
    }

    fn known(&self, id: PodId) -> Result<Arc<Slot>, EngineError> {
        self.slot(id).ok_or(EngineError::NoSuchPod { id })
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// The namespace file of a pod, derived before it is used.
    fn sandbox_key(&self, id: PodId, mode: &NetworkMode) -> Option<String> {
        mode.has_own_namespace()
            .then(|| format!("{}/{id}", self.config.netns_dir))
    }

    /// The key of a pod that is gone.
    fn buried_key(&self, id: PodId) -> Option<PodKey> {
        let graves = self.graves.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pods = graves.iter().map(|grave| &grave.pod);
        pods.find(|pod| pod.id == id).map(|pod| pod.spec.key())
    }

    fn lay_to_rest(&self, obituary: Obituary) {
        let mut graves = self.graves.lock().unwrap_or_else(PoisonError::into_inner);
        graves.push_back(obituary);
        if graves.len() > GRAVES {
            graves.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
