//! Pods as CRI tells them.

use std::collections::{BTreeMap, HashMap};

use podwalk_engine::engine::PodView;
use podwalk_engine::id::PodId;
use podwalk_engine::spec::PodKey;

use crate::node::Node;
use crate::proto::{metadata, namespace_options, v1};

/// When pods were made, as clients sort them: of one key a later attempt is never older than an
/// earlier one, whatever the wall clock has done meanwhile.
pub(crate) struct Ages(BTreeMap<PodId, i64>);

impl Ages {
    /// Of all pods that there are.
    pub(crate) fn of<'a>(views: impl Iterator<Item = &'a PodView>) -> Self {
        let mut by_key: BTreeMap<PodKey, Vec<&PodView>> = BTreeMap::new();
        for view in views {
            by_key.entry(view.pod.spec.key()).or_default().push(view);
        }
        let mut ages = BTreeMap::new();
        for mut views in by_key.into_values() {
            views.sort_by_key(|view| (view.pod.spec.attempt, view.pod.created.wall_ns));
            let mut last = i64::MIN;
            for view in views {
                last = made(view).max(last.saturating_add(1));
                ages.insert(view.pod.id, last);
            }
        }
        Self(ages)
    }

    fn age(&self, view: &PodView) -> i64 {
        self.0.get(&view.pod.id).copied().unwrap_or(made(view))
    }
}

/// Nanoseconds since 1970.
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

/// A pod as a list has it.
pub(crate) fn listed(view: &PodView, ages: &Ages) -> v1::PodSandbox {
    let spec = &view.pod.spec;
    v1::PodSandbox {
        id: view.pod.id.to_string(),
        metadata: Some(metadata(spec)),
        state: state(view).into(),
        created_at: ages.age(view),
        labels: owned(&spec.labels),
        annotations: owned(&spec.annotations),
        runtime_handler: spec.runtime_handler.clone(),
    }
}

/// A pod's whole status.
pub(crate) fn status(node: &dyn Node, view: &PodView, ages: &Ages) -> v1::PodSandboxStatus {
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
        metadata: Some(metadata(spec)),
        state: state(view).into(),
        created_at: ages.age(view),
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
        metadata: Some(metadata(spec)),
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
