//! The journal of a daemon that is down, read from a copy: its lock is never
//! held.

use std::path::Path;

use anyhow::Context;
use podwalk_engine::clock::Clock;
use podwalk_engine::decide::Policy;
use podwalk_engine::id::PodId;
use podwalk_engine::pod::{Pod, fold};
use podwalk_engine::ports::Replay;
use podwalk_engine::recovery::{HostFacts, RecoveryPlan, recovery_plan};
use podwalk_store::{JournalCopy, copy_for_reading};

use super::{Exit, NO_SUCH_POD};
use crate::api::{DebtLine, JournalLine, PlanAnswer, QuarantineDetail};
use crate::doctor::Patient;
use crate::handlers::recorded_handler;
use crate::quarantine::by_pod;
use crate::serve::journal_dir;
use crate::world::SystemClock;

/// A copy of the journal, and how to say that it cannot be read.
struct Copied {
    copy: JournalCopy,
    unreadable: String,
}

impl Copied {
    fn of(state_dir: &Path) -> anyhow::Result<Self> {
        let directory = journal_dir(state_dir);
        let unreadable = format!(
            "no daemon answers, and the journal in {} cannot be read",
            directory.display()
        );
        let copy = copy_for_reading(&directory).with_context(|| unreadable.clone())?;
        Ok(Self { copy, unreadable })
    }

    fn replay(&self) -> anyhow::Result<Replay> {
        let replay = self.copy.replay();
        replay.with_context(|| self.unreadable.clone())
    }

    /// What recovery would do if the daemon were started now. Its configuration
    /// is not known here, so that the defaults are taken.
    fn plan(&self) -> anyhow::Result<RecoveryPlan> {
        let host = HostFacts {
            now: SystemClock::new()?.now(),
            policy: Policy::default(),
        };
        Ok(recovery_plan(&self.replay()?, &host))
    }
}

/// What recovery would do if the daemon were started now.
pub(super) fn plan(state_dir: &Path) -> anyhow::Result<PlanAnswer> {
    Ok(PlanAnswer::of(&Copied::of(state_dir)?.plan()?))
}

/// The pods that the next daemon would look after; none where there has been no daemon yet.
pub(super) fn patients(state_dir: &Path) -> anyhow::Result<Vec<Patient>> {
    if !journal_dir(state_dir).exists() {
        return Ok(Vec::new());
    }
    let plan = Copied::of(state_dir)?.plan()?;
    let pods = plan.pods.into_iter().map(|planned| planned.pod);
    let patient = |pod: Pod| Patient {
        id: pod.id.to_string(),
        handler: recorded_handler(&pod).to_owned(),
        name: pod.spec.name.clone(),
    };
    Ok(pods.map(patient).collect())
}

/// All that would be owed if the daemon were started now.
pub(super) fn debts(state_dir: &Path) -> anyhow::Result<Vec<DebtLine>> {
    let plan = Copied::of(state_dir)?.plan()?;
    let now = SystemClock::new()?.now();
    let pods = plan.pods.iter().map(|planned| &planned.pod);
    Ok(pods.flat_map(|pod| DebtLine::of(pod, &now)).collect())
}

/// The pods that do not decode, with their bytes.
pub(super) fn quarantine(state_dir: &Path) -> anyhow::Result<Vec<QuarantineDetail>> {
    let copied = Copied::of(state_dir)?;
    let mut list = Vec::new();
    for (pod, reason) in by_pod(copied.plan()?.quarantined) {
        let raw = copied.copy.quarantined(pod);
        let raw = raw.with_context(|| copied.unreadable.clone())?;
        list.push(QuarantineDetail::of(pod.to_string(), reason, &raw));
    }
    Ok(list)
}

/// The records of the one pod that `text` means.
pub(super) fn journal(state_dir: &Path, text: &str) -> Result<Vec<JournalLine>, Exit> {
    let replay = Copied::of(state_dir)?.replay()?;
    let means =
        |id: &PodId, name: Option<&str>| id.to_string().starts_with(text) || name == Some(text);
    let mut found = replay.pods.iter().filter(|(id, entries)| {
        let pod = fold(entries).ok();
        means(id, pod.as_ref().map(|pod| pod.spec.name.as_str()))
    });
    match (found.next(), found.next()) {
        (Some((_, entries)), None) => Ok(entries.iter().map(JournalLine::of).collect()),
        (Some(_), Some(_)) => Err(anyhow::anyhow!("'{text}' means more than one pod").into()),
        (None, _) => Err(Exit {
            code: NO_SUCH_POD,
            message: format!("no pod '{text}' in the journal"),
        }),
    }
}
