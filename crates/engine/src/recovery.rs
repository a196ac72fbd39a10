//! Recovery: a plan first, then the same loop as ever.
//!
//! 1. [`recovery_plan`] folds every pod. What does not fold is set aside, by
//!    itself.
//! 2. A pod whose last record is of another boot gets a record that says so:
//!    what lived until reboot is gone, what lives on disk is owed.
//! 3. A pod that is gone, but whose DEL was recorded so shortly before the end
//!    of the old boot that the disk may have forgotten it, comes back to have
//!    it done again (design, section 3, rule 6).
//! 4. For each pod the plan says what comes next. It is a value: `podwalk
//!    plan` prints it, and the engine carries out the same one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::Stamp;
use crate::decide::{Facts, Next, Policy};
use crate::id::{BootId, PodId};
use crate::plan::plan;
use crate::pod::{FoldError, Obituary, Pod, fold};
use crate::ports::Replay;
use crate::record::{Entry, Goal, Observation, Record};
use crate::step::Step;

/// How long before the end of a boot a DEL is still done again.
const UNWRITTEN: Duration = Duration::from_secs(120);
/// How many records of a reboot are written at once.
const BATCH: usize = 64;

/// What recovery must know of the host.
#[derive(Debug, Clone, Copy)]
pub struct HostFacts {
    /// This moment, and so this boot.
    pub now: Stamp,
    /// What the configuration says.
    pub policy: Policy,
}

/// What recovery would do.
#[derive(Debug, Clone, Default)]
pub struct RecoveryPlan {
    /// Records that a reboot makes due, before anything else is done.
    pub reboot: Vec<Entry>,
    /// Every pod, owners of a shared network before their guests.
    pub pods: Vec<PodPlan>,
    /// Pods that do not decode or fold.
    pub quarantined: Vec<(PodId, String)>,
}

/// What would be done with one pod.
#[derive(Debug, Clone)]
pub struct PodPlan {
    /// The pod, the reboot's record included.
    pub pod: Pod,
    /// In one word.
    pub verdict: Verdict,
    /// Decision by decision, if all goes well.
    pub steps: Vec<Next>,
}

/// What would be done with one pod, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It is recorded as started: keep it, if it is what was recorded.
    Adopt,
    /// An interrupted start goes on.
    Resume,
    /// An interrupted start is undone.
    Undo,
    /// An interrupted stop or remove goes on.
    Descend,
    /// There is nothing to do.
    Rest,
}

impl RecoveryPlan {
    /// The obituaries of those whom the reboot has not brought back.
    pub(crate) fn still_buried<C: FromIterator<Obituary>>(&self, all: Vec<Obituary>) -> C {
        let living: BTreeSet<PodId> = self.pods.iter().map(|planned| planned.pod.id).collect();
        let buried = |obituary: &Obituary| !living.contains(&obituary.pod.id);
        all.into_iter().filter(buried).collect()
    }

    /// Each pod's records, the reboot's included.
    pub(crate) fn with_reboot(&self, pods: Vec<(PodId, Vec<Entry>)>) -> Vec<Vec<Entry>> {
        let mut records: BTreeMap<PodId, Vec<Entry>> = pods.into_iter().collect();
        for entry in &self.reboot {
            records.entry(entry.pod).or_default().push(entry.clone());
        }
        records.into_values().collect()
    }

    /// The reboot's records, in batches that the journal takes. A pod's own
    /// are never parted.
    pub fn reboot_batches(&self) -> Vec<Vec<Entry>> {
        let of_pods = self.reboot.chunk_by(|a, b| a.pod == b.pod);
        let of_pods: Vec<_> = of_pods.collect();
        of_pods.chunks(BATCH).map(<[_]>::concat).collect()
    }
}

/// Plans the recovery of everything that a journal holds. Pure.
pub fn recovery_plan(replay: &Replay, host: &HostFacts) -> RecoveryPlan {
    let mut recovery = RecoveryPlan {
        quarantined: replay.quarantined.clone(),
        ..RecoveryPlan::default()
    };
    let mut pods = Vec::new();
    for (id, entries) in &replay.pods {
        match fold(entries) {
            Ok(pod) => pods.push(pod),
            Err(error) => recovery.quarantined.push((*id, error.to_string())),
        }
    }
    let ends = ends_of_boots(replay, &pods);
    pods.retain_mut(|pod| {
        if pod.last.boot == host.now.boot {
            return true;
        }
        let folded = rebooted(pod, &ends, host);
        let kept = folded.is_ok();
        match folded {
            Ok(entry) => recovery.reboot.push(entry),
            Err(error) => recovery.quarantined.push((pod.id, error.to_string())),
        }
        kept
    });
    for obituary in revived(replay, &pods, host.now.boot, &ends) {
        let reborn = reborn(obituary.pod.clone());
        // What cannot be continued stays buried.
        if let Ok(mut pod) = fold([&reborn])
            && let Ok(rebooted) = rebooted(&mut pod, &ends, host)
        {
            recovery.reboot.extend([reborn, rebooted]);
            pods.push(pod);
        }
    }
    pods.sort_by_key(|pod| (pod.owner().is_some(), pod.id));
    recovery.pods = pods.into_iter().map(|pod| planned(pod, host)).collect();
    recovery
}

/// The last moment of each boot that anything is known of.
fn ends_of_boots(replay: &Replay, pods: &[Pod]) -> BTreeMap<BootId, u64> {
    let mut ends = BTreeMap::new();
    let mut seen = |boot: BootId, at: u64| {
        let end = ends.entry(boot).or_insert(0);
        *end = at.max(*end);
    };
    let obituaries = replay.obituaries.iter().map(|obituary| &obituary.pod);
    for pod in pods.iter().chain(obituaries) {
        seen(pod.last.boot, pod.last.boottime_ns);
    }
    for entry in replay.pods.iter().flat_map(|(_, entries)| entries) {
        seen(entry.stamp.boot, entry.stamp.boottime_ns);
        if let Record::Observed(Observation::Rebooted {
            from,
            last_record_ns,
            ..
        }) = &entry.record
        {
            seen(*from, *last_record_ns);
        }
    }
    ends
}

/// Folds the reboot into the pod; answers the record.
fn rebooted(
    pod: &mut Pod,
    ends: &BTreeMap<BootId, u64>,
    host: &HostFacts,
) -> Result<Entry, FoldError> {
    let from = pod.last.boot;
    let record = Observation::Rebooted {
        from,
        last_record_ns: ends.get(&from).copied().unwrap_or_default(),
        cni_may_be_back: may_be_back(pod, ends),
    };
    let entry = Entry {
        pod: pod.id,
        sequence: pod.next_sequence,
        stamp: host.now,
        record: Record::Observed(record),
    };
    pod.apply(&entry)?;
    Ok(entry)
}

/// Whether DEL was recorded so late that the disk may not know of it.
fn may_be_back(pod: &Pod, ends: &BTreeMap<BootId, u64>) -> bool {
    let Some(released) = pod.released.filter(|_| !pod.plan.is_empty()) else {
        return false;
    };
    let end = ends.get(&released.boot).copied().unwrap_or_default();
    let before_the_end = end.saturating_sub(released.boottime_ns);
    released.boot == pod.last.boot && u128::from(before_the_end) <= UNWRITTEN.as_nanos()
}

fn revived<'a>(
    replay: &'a Replay,
    pods: &[Pod],
    current: BootId,
    ends: &BTreeMap<BootId, u64>,
) -> Vec<&'a Obituary> {
    let living: BTreeSet<PodId> = pods.iter().map(|pod| pod.id).collect();
    let due = |obituary: &&Obituary| {
        let pod = &obituary.pod;
        pod.last.boot != current && may_be_back(pod, ends) && !living.contains(&pod.id)
    };
    replay.obituaries.iter().filter(due).collect()
}

/// The record that an obituary's pod goes on from. Its Remove was answered, so
/// it is in no list but the ledger.
fn reborn(mut pod: Pod) -> Entry {
    let sequence = pod.next_sequence;
    pod.next_sequence = pod.next_sequence.saturating_add(1);
    pod.outlived = Some(Goal::Remove);
    Entry {
        pod: pod.id,
        sequence,
        stamp: pod.last,
        record: Record::Snapshot(Box::new(pod)),
    }
}

fn planned(pod: Pod, host: &HostFacts) -> PodPlan {
    let facts = Facts {
        now: host.now,
        policy: host.policy,
        found: None,
        in_vain: Duration::ZERO,
        inherited: true,
        urgent: false,
        hold: Step::AttachLate,
        closing: false,
    };
    let steps = plan(&pod, &facts);
    let verdict = match (pod.goal, steps.first()) {
        (_, None | Some(Next::Rest)) => Verdict::Rest,
        (Goal::Run, Some(Next::Look(Step::Start))) if pod.is_started() => Verdict::Adopt,
        (Goal::Run, Some(Next::TurnDown(_))) => Verdict::Undo,
        (Goal::Run, Some(_)) => Verdict::Resume,
        (Goal::Stop | Goal::Remove, Some(_)) => Verdict::Descend,
    };
    PodPlan {
        pod,
        verdict,
        steps,
    }
}

#[cfg(test)]
mod tests;
