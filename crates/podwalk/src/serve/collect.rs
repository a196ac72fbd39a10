//! After recovery: what is attached to a network and is nobody's.
//!
//! Addresses that host-local was making when the machine died are given back
//! ([`torn`]). And CNI GC: plugins are told once which attachments are ours.
//!
//! Whoever else uses a network would lose its addresses by that, so it is done
//! only in networks that the operator has declared to be Podwalk's alone. And
//! a pod in quarantine may be attached to any of them: then GC is not run.

use std::sync::Arc;

use podwalk_cni::{Attachment, AttachmentId, Ran};
use podwalk_engine::engine::Engine;
use podwalk_engine::pod::Status;
use podwalk_engine::step::Step;

use crate::networks::Networks;

mod torn;

/// Collects in each of `exclusive` that is configured.
pub(super) async fn collect(engine: Engine, networks: Vec<Arc<Networks>>, exclusive: Vec<String>) {
    let Some(cni) = networks.first().map(|networks| networks.cni()) else {
        return;
    };
    if exclusive.is_empty() {
        return;
    }
    let quarantine = !engine.quarantined().is_empty();
    if quarantine {
        tracing::warn!("a pod is in quarantine: attachments are not collected");
    }
    let loaded: Vec<_> = networks.iter().map(|one| one.loaded()).collect();
    for name in exclusive {
        let Some(conflist) = loaded.iter().find_map(|one| one.network(&name)) else {
            tracing::warn!(network = name, "declared exclusive, and not configured");
            continue;
        };
        torn::give_back(conflist).await;
        if quarantine {
            continue;
        }
        match cni.gc(conflist, &[], || attached(&engine, &name)).await {
            Ok(Ran::Yes) => tracing::info!(network = name, "collected"),
            Ok(ran) => tracing::debug!(network = name, ?ran, "not collected"),
            Err(error) => tracing::warn!(network = name, %error, "not all is collected"),
        }
    }
}

/// All that may be attached to a network, what is owed included.
fn attached(engine: &Engine, network: &str) -> Vec<AttachmentId> {
    let views = engine.list().into_iter();
    let pods = views.filter(|view| {
        let on_the_way = view.pod.status(Step::ReadyNetwork) != Status::Never;
        let attaching = [Step::ConfigureCni, Step::AttachLate];
        let may_be = |step: &Step| view.pod.status(*step) != Status::Never;
        on_the_way || attaching.iter().any(may_be)
    });
    let planned = pods.flat_map(|view| {
        let id = view.pod.id.to_string();
        let plan = view
            .pod
            .plan
            .iter()
            .filter(|planned| planned.network == network);
        let ids = plan.map(|planned| Attachment::new(id.clone(), planned.interface.clone()).id());
        ids.collect::<Vec<_>>()
    });
    planned.collect()
}
