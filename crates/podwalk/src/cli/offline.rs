//! The journal of a daemon that is down, read from a copy: its lock is never
//! held.

use std::path::Path;

use anyhow::Context;
use podwalk_engine::clock::Clock;
use podwalk_engine::decide::Policy;
use podwalk_engine::id::PodId;
use podwalk_engine::pod::fold;
use podwalk_engine::ports::Replay;
use podwalk_engine::recovery::{HostFacts, recovery_plan};
use podwalk_store::copy_for_reading;

use super::{Exit, NO_SUCH_POD};
use crate::api::{JournalLine, PlanAnswer};
use crate::serve::journal_dir;
use crate::world::SystemClock;

fn replay(state_dir: &Path) -> anyhow::Result<Replay> {
    let directory = journal_dir(state_dir);
    let shown = || {
        format!(
            "no daemon answers, and the journal in {} cannot be read",
            directory.display()
        )
    };
    let copy = copy_for_reading(&directory).with_context(shown)?;
    copy.replay().with_context(shown)
}

/// What recovery would do if the daemon were started now. Its configuration is
/// not known here, so that the defaults are taken.
pub(super) fn plan(state_dir: &Path) -> anyhow::Result<PlanAnswer> {
    let host = HostFacts {
        now: SystemClock::new()?.now(),
        policy: Policy::default(),
    };
    Ok(PlanAnswer::of(&recovery_plan(&replay(state_dir)?, &host)))
}

/// The records of the one pod that `text` means.
pub(super) fn journal(state_dir: &Path, text: &str) -> Result<Vec<JournalLine>, Exit> {
    let replay = replay(state_dir)?;
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
