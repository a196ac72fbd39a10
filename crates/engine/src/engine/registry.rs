//! Every pod, by id and by key.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::slot::Slot;
use crate::id::PodId;
use crate::pod::Pod;
use crate::spec::PodKey;
use crate::step::Step;

/// A pod as clients see it.
#[derive(Debug, Clone)]
pub struct PodView {
    /// Its fold.
    pub pod: Arc<Pod>,
    /// Started, alive, wanted; and so is its owner, in mode `pod:`.
    pub ready: bool,
}

#[derive(Default)]
pub(crate) struct Registry {
    slots: BTreeMap<PodId, Arc<Slot>>,
    keys: BTreeMap<PodKey, Vec<PodId>>,
}

impl Registry {
    pub(crate) fn new(pods: impl Iterator<Item = Pod>) -> Self {
        let mut registry = Self::default();
        for pod in pods {
            registry.insert(Arc::new(Slot::new(pod, Step::AttachLate, true)));
        }
        registry
    }

    pub(crate) fn insert(&mut self, slot: Arc<Slot>) {
        let key = slot.pod().spec.key();
        self.keys.entry(key).or_default().push(slot.id);
        self.slots.insert(slot.id, slot);
    }

    pub(crate) fn remove(&mut self, id: PodId) {
        let Some(slot) = self.slots.remove(&id) else {
            return;
        };
        let key = slot.pod().spec.key();
        if let Some(ids) = self.keys.get_mut(&key) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.keys.remove(&key);
            }
        }
    }

    pub(crate) fn slot(&self, id: PodId) -> Option<Arc<Slot>> {
        self.slots.get(&id).cloned()
    }

    pub(crate) fn slots(&self) -> Vec<Arc<Slot>> {
        self.slots.values().cloned().collect()
    }

    /// The pods with this key.
    pub(crate) fn with_key(&self, key: &PodKey) -> impl Iterator<Item = &Arc<Slot>> {
        let ids = self.keys.get(key).into_iter().flatten();
        ids.filter_map(|id| self.slots.get(id))
    }

    pub(crate) fn pods(&self) -> impl Iterator<Item = Arc<Pod>> {
        self.slots.values().map(|slot| slot.pod())
    }

    pub(crate) fn view(&self, id: PodId) -> Option<PodView> {
        self.slots.get(&id).map(|slot| self.view_of(slot.pod()))
    }

    pub(crate) fn views(&self) -> Vec<PodView> {
        self.pods().map(|pod| self.view_of(pod)).collect()
    }

    /// A pod, as it is or was, with its owner as it is.
    pub(crate) fn view_of(&self, pod: Arc<Pod>) -> PodView {
        let owner_ready = match pod.owner() {
            None => true,
            Some(owner) => self.slot(owner).is_some_and(|slot| slot.pod().is_ready()),
        };
        PodView {
            ready: pod.is_ready() && owner_ready,
            pod,
        }
    }

    pub(crate) fn find(&self, text: &str) -> Vec<PodView> {
        if text.is_empty() {
            return Vec::new();
        }
        let whole: Option<PodId> = text.parse().ok();
        if let Some(view) = whole.and_then(|id| self.view(id)) {
            return vec![view];
        }
        let named = self.pods().filter(|pod| pod.spec.name == text);
        let named: Vec<_> = named.map(|pod| self.view_of(pod)).collect();
        if !named.is_empty() {
            return named;
        }
        let begins = |pod: &Arc<Pod>| pod.id.to_string().starts_with(text);
        self.pods()
            .filter(begins)
            .map(|pod| self.view_of(pod))
            .collect()
    }
}
