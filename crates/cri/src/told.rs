//! Pods as CRI tells them.

use std::collections::{BTreeMap, HashMap};

use podwalk_engine::engine::PodView;

use crate::node::Node;
use crate::proto::{metadata, namespace_options, v1};

/// When a pod was made, in nanoseconds since 1970. The engine sees to it that a later pod of a key is
/// never the older one, as clients sort them.
fn made(view: &PodView) -> i64 {
    i64::try_from(view.pod.created.wall_ns).unwrap_or(i64::MAX)
}

fn state(view: &PodView) -> v1::PodSandboxState {
    match view.ready {
        true => v1::PodSandboxState::SandboxReady,
        false => v1::PodSandboxState::SandboxNotready,
    }
}

fn owned(map: &BTreeMap<String, String>) -> HashMap<String, String> {
    map.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// Who a pod is. Clients refuse a pod without a uid, as `podwalk run` makes them: its id stands there,
/// which is as unique.
fn identity(view: &PodView) -> v1::PodSandboxMetadata {
    let mut told = metadata(&view.pod.spec);
    if told.uid.is_empty() {
        told.uid = view.pod.id.to_string();
    }
    told
}

/// A pod as a list has it.
pub(crate) fn listed(view: &PodView) -> v1::PodSandbox {
    let spec = &view.pod.spec;
    v1::PodSandbox {
        id: view.pod.id.to_string(),
        metadata: Some(identity(view)),
        state: state(view).into(),
        created_at: made(view),
        labels: owned(&spec.labels),
        annotations: owned(&spec.annotations),
        runtime_handler: spec.runtime_handler.clone(),
    }
}

/// A pod's whole status.
pub(crate) fn status(node: &dyn Node, view: &PodView) -> v1::PodSandboxStatus {
    let spec = &view.pod.spec;
    let mut addresses = node.addresses(view).into_iter().map(|ip| ip.to_string());
    let network = v1::PodSandboxNetworkStatus {
        ip: addresses.next().unwrap_or_default(),
        additional_ips: addresses.map(|ip| v1::PodIp { ip }).collect(),
    };
    let namespaces = v1::Namespace {
        options: Some(namespace_options(spec)),
    };
    v1::PodSandboxStatus {
        id: view.pod.id.to_string(),
        metadata: Some(identity(view)),
        state: state(view).into(),
        created_at: made(view),
        network: Some(network),
        linux: Some(v1::LinuxPodSandboxStatus {
            namespaces: Some(namespaces),
        }),
        labels: owned(&spec.labels),
        annotations: owned(&spec.annotations),
        runtime_handler: spec.runtime_handler.clone(),
    }
}

/// Who a pod is, in statistics.
pub(crate) fn attributes(view: &PodView) -> v1::PodSandboxAttributes {
    let spec = &view.pod.spec;
    v1::PodSandboxAttributes {
        id: view.pod.id.to_string(),
        metadata: Some(identity(view)),
        labels: owned(&spec.labels),
        annotations: owned(&spec.annotations),
    }
}

/// Whether a pod has all of these labels.
pub(crate) fn has_labels(view: &PodView, wanted: &HashMap<String, String>) -> bool {
    let labels = &view.pod.spec.labels;
    wanted
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

#[cfg(test)]
mod tests;
