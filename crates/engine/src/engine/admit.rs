//! Who is let in: keyed starts (design, section 3, rule 11), and what others
//! hold.

use std::sync::Arc;

use futures_util::lock::OwnedMutexGuard;

use crate::clock::Stamp;
use crate::engine::Inner;
use crate::engine::error::EngineError;
use crate::engine::registry::Registry;
use crate::engine::slot::Slot;
use crate::id::PodId;
use crate::pod::{Pod, Status, fold};
use crate::ports::JournalError;
use crate::record::{Cause, CreateIntent, Entry, Goal, Intent, Record};
use crate::spec::PodSpec;
use crate::step::{NetworkMode, Step};

/// A request that was let in.
pub(crate) struct Admitted {
    /// The pod it has come to.
    pub(crate) slot: Arc<Slot>,
    /// Set when the pod is new.
    pub(crate) birth: Option<Birth>,
}

/// The first records of a new pod, not written yet. The pen is taken, so that
/// nobody writes about the pod before they are.
pub(crate) struct Birth {
    pub(crate) records: Vec<Entry>,
    pub(crate) pen: OwnedMutexGuard<()>,
}

impl Inner {
    /// Lets a request in: to a pod that has its key, or to a new one. Under
    /// the registry's lock, so that two requests with one key never make two
    /// pods.
    pub(crate) fn admit(
        &self,
        id: PodId,
        spec: PodSpec,
        hold: Step,
    ) -> Result<Admitted, EngineError> {
        spec.validate()?;
        if self.is_closing() {
            return Err(EngineError::Closing);
        }
        let mut registry = self.pods();
        if let Some(slot) = alive(&registry, &spec) {
            if !slot.pod().spec.same_but_attempt(&spec) {
                return Err(EngineError::AlreadyExists {
                    key: spec.key(),
                    id: slot.id,
                });
            }
            return Ok(Admitted { slot, birth: None });
        }
        self.journal.admits()?;
        self.check_id(&registry, id)?;
        check_holders(&registry, &spec)?;
        check_owner(&registry, &spec)?;
        let now = later_than_its_kin(&registry, &spec, self.clock.now());
        let records = self.first_records(id, spec, now);
        let (slot, pen) = Slot::new_held(folded(&records)?, hold);
        registry.insert(slot.clone());
        let birth = Some(Birth { records, pen });
        Ok(Admitted { slot, birth })
    }

    /// An id names one pod, for ever: its records are never continued by
    /// another's.
    fn check_id(&self, registry: &Registry, id: PodId) -> Result<(), EngineError> {
        let living = registry.slot(id).map(|slot| slot.pod().spec.key());
        match living.or_else(|| self.buried_key(id)) {
            Some(key) => Err(EngineError::IdTaken { id, key }),
            None => Ok(()),
        }
    }

    /// What a pod begins with, in one batch.
    fn first_records(&self, id: PodId, spec: PodSpec, now: Stamp) -> Vec<Entry> {
        let sandbox_key = self.sandbox_key(id, &spec.network);
        let goal = Record::Goal {
            goal: Goal::Run,
            cause: Cause::Request,
        };
        let intent = Intent::Create(Box::new(CreateIntent {
            spec: Arc::new(spec),
            sandbox_key,
        }));
        number(id, 0, now, [goal, Record::Intent(intent)])
    }
}

/// Clients sort the pods of a key by when they were made, and take the youngest for the one that
/// counts: it is the youngest also when the wall clock was set back since the one before it.
fn later_than_its_kin(registry: &Registry, spec: &PodSpec, now: Stamp) -> Stamp {
    let key = spec.key();
    let kin = registry.with_key(&key).map(|slot| slot.pod());
    let after = kin.map(|pod| pod.created.wall_ns.saturating_add(1)).max();
    Stamp {
        wall_ns: now.wall_ns.max(after.unwrap_or(0)),
        ..now
    }
}

fn folded(records: &[Entry]) -> Result<Pod, EngineError> {
    fold(records).map_err(|error| {
        EngineError::Journal(JournalError::Unreadable {
            detail: error.to_string(),
        })
    })
}

/// Numbers records from `first` on.
pub(crate) fn number(
    pod: PodId,
    first: u64,
    stamp: Stamp,
    records: impl IntoIterator<Item = Record>,
) -> Vec<Entry> {
    let numbered = (first..).zip(records);
    numbered
        .map(|(sequence, record)| Entry {
            pod,
            sequence,
            stamp,
            record,
        })
        .collect()
}

/// The pod of this key that has the goal Run and a sandbox that is not dead.
fn alive(registry: &Registry, spec: &PodSpec) -> Option<Arc<Slot>> {
    let key = spec.key();
    registry
        .with_key(&key)
        .find(|slot| {
            let pod = slot.pod();
            pod.goal == Goal::Run && pod.exited.is_none()
        })
        .cloned()
}

/// Host ports that a pod holds, and names that a debt holds, are not given
/// away. A CRI key (one with a uid) is never held.
fn check_holders(registry: &Registry, spec: &PodSpec) -> Result<(), EngineError> {
    if spec.uid.is_empty() {
        let key = spec.key();
        let owing = registry.with_key(&key).map(|slot| slot.pod());
        if let Some(pod) = owing.into_iter().find(|pod| !pod.debts.is_empty()) {
            return Err(held(format!("the name {}", spec.name), &pod));
        }
    }
    if spec.ports.is_empty() {
        return Ok(());
    }
    for pod in registry.pods().filter(|pod| holds_ports(pod)) {
        let mapped = spec.ports.iter();
        let taken = mapped
            .filter(|port| pod.spec.ports.iter().any(|other| port.collides(other)))
            .map(|port| held(format!("host port {port}"), &pod))
            .next();
        if let Some(taken) = taken {
            return Err(taken);
        }
    }
    Ok(())
}

fn holds_ports(pod: &Pod) -> bool {
    let on_the_way = pod.goal == Goal::Run && pod.exited.is_none();
    let attaching = [Step::ConfigureCni, Step::AttachLate];
    on_the_way
        || attaching
            .iter()
            .any(|step| pod.status(*step) != Status::Never)
}

fn held(what: String, holder: &Pod) -> EngineError {
    EngineError::Held {
        what,
        holder: holder.id,
        debt: holder.owed().into_iter().next().map(Box::new),
    }
}

fn check_owner(registry: &Registry, spec: &PodSpec) -> Result<(), EngineError> {
    let NetworkMode::Pod(owner) = spec.network else {
        return Ok(());
    };
    let ready = registry
        .slot(owner)
        .map(|slot| slot.pod())
        .is_some_and(|pod| pod.is_ready() && pod.spec.network.has_own_namespace());
    match ready {
        true => Ok(()),
        false => Err(EngineError::OwnerNotStarted { owner }),
    }
}
