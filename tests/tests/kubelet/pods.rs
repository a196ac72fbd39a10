//! What kubelet knows of its pods, and what may never be true of a list.

use std::collections::{BTreeMap, BTreeSet};

use k8s_cri::v1::{PodSandbox, PodSandboxState};

/// Sandboxes by the uid of their pod, the newest first, as kubelet sorts them.
pub(crate) type Listed = BTreeMap<String, Vec<PodSandbox>>;

/// What is remembered over all relists.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Sandboxes that kubelet has asked to stop, or that were killed on purpose.
    pub(crate) down: BTreeSet<String>,
    /// Sandboxes whose stop was granted.
    pub(crate) stopped: BTreeSet<String>,
    /// Sandboxes that kubelet has asked to remove.
    pub(crate) removed: BTreeSet<String>,
    /// What a pod's address was.
    addresses: BTreeMap<String, String>,
    /// What the daemon has told that it may not.
    pub(crate) broken: Vec<String>,
    /// RunPodSandbox calls that were granted.
    pub(crate) starts: u64,
    /// Sandboxes that were killed on purpose.
    pub(crate) deaths: u64,
    /// Errors that a daemon has answered with, and may.
    pub(crate) excused: Vec<String>,
}

/// Groups a list by pod.
pub(crate) fn group(items: Vec<PodSandbox>) -> Listed {
    let mut listed = Listed::new();
    for item in items {
        let uid = item.metadata.as_ref().map(|metadata| metadata.uid.clone());
        listed
            .entry(uid.unwrap_or_default())
            .or_default()
            .push(item);
    }
    for sandboxes in listed.values_mut() {
        sandboxes.sort_by_key(|one| std::cmp::Reverse(one.created_at));
    }
    listed
}

/// The uid of a pod with this name.
pub(crate) fn uid_of(name: &str) -> String {
    format!("uid-of-{name}")
}

pub(crate) fn is_ready(sandbox: &PodSandbox) -> bool {
    sandbox.state() == PodSandboxState::SandboxReady
}

pub(crate) fn attempt(sandbox: &PodSandbox) -> u32 {
    sandbox
        .metadata
        .as_ref()
        .map_or(0, |metadata| metadata.attempt)
}

impl Memory {
    /// Holds a list against the daemon: no pod twice, none that is healthy as not ready, and no
    /// later attempt as the older one. Whose networks have failed is told by `has_failed`.
    pub(crate) fn hear(&mut self, listed: &Listed, has_failed: impl Fn(&str) -> bool) {
        for (uid, sandboxes) in listed {
            if sandboxes.iter().filter(|one| is_ready(one)).count() > 1 {
                self.broken
                    .push(format!("two sandboxes of {uid} are ready: {sandboxes:?}"));
            }
            let attempts: Vec<_> = sandboxes.iter().map(attempt).collect();
            if !attempts.is_sorted_by(|newer, older| newer >= older) {
                self.broken
                    .push(format!("attempts of {uid} by age: {attempts:?}"));
            }
            let healthy = sandboxes.iter().filter(|one| !self.down.contains(&one.id));
            let ill = healthy.filter(|one| !is_ready(one) && !has_failed(&one.id));
            let ill: Vec<_> = ill.collect();
            if !ill.is_empty() {
                self.broken.push(format!(
                    "nobody has stopped these, and they are not ready: {ill:?}"
                ));
            }
        }
    }

    /// Holds a sandbox's address against what it was.
    pub(crate) fn hear_address(&mut self, id: &str, address: &str) {
        let known = self.addresses.entry(id.to_owned());
        let known = known.or_insert_with(|| address.to_owned());
        if known != address || address.is_empty() {
            self.broken.push(format!(
                "the address of {id} was {known} and is {address:?}"
            ));
        }
    }
}
