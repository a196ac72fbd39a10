//! After a reboot: files of ours in the namespace directory that belong to no
//! pod any more.

use std::collections::BTreeSet;
use std::path::Path;

use podwalk_engine::id::{InstanceId, PodId};
use podwalk_engine::pod::Status;
use podwalk_engine::recovery::RecoveryPlan;
use podwalk_engine::step::Step;

/// Sweeps, if the plan says that the machine was booted anew. Another
/// instance's files, and those of pods in quarantine, are not ours to touch.
pub(super) fn sweep(netns_dir: &Path, instance: InstanceId, plan: &RecoveryPlan) {
    if plan.reboot.is_empty() {
        return;
    }
    let holds_file = |status: Status| status != Status::Never;
    let pods = plan.pods.iter().map(|planned| &planned.pod);
    let kept = pods.filter(|pod| {
        [Step::Create, Step::MountNetns]
            .iter()
            .any(|step| holds_file(pod.status(*step)))
    });
    let kept: BTreeSet<PodId> = kept
        .map(|pod| pod.id)
        .chain(plan.quarantined.iter().map(|(id, _)| *id))
        .collect();
    let ours = |name: &str| {
        name.parse::<PodId>()
            .is_ok_and(|id| id.instance() == instance && !kept.contains(&id))
    };
    let swept = podwalk_netns::sweep(netns_dir, ours).unwrap_or_else(|error| {
        tracing::warn!(%error, "the namespace directory was not swept");
        Vec::new()
    });
    for file in swept {
        let path = file.path.display();
        match file.outcome {
            Ok(()) => tracing::info!(%path, "swept after the reboot"),
            Err(error) => tracing::warn!(%path, %error, "not swept"),
        }
    }
}
