//! Who may run when, and what has been attached since this runtime exists.
//!
//! Two locks stand before every ADD, DEL and CHECK, taken in this order: the container's (no two
//! operations for one container, not even over several attachments), then the network's, shared.
//! GC takes the network's alone, exclusively. STATUS and VERSION take none, so that a plugin that
//! hangs in ADD never keeps anyone from asking.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{OwnedMutexGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::attachment::AttachmentId;

/// How far an attachment has come, as far as this process knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// An ADD was begun and has not succeeded, or a DEL was begun: a DEL is owed.
    Owed,
    /// ADD succeeded.
    Attached,
}

#[derive(Default)]
pub(crate) struct Ledger {
    containers: Registry<String, tokio::sync::Mutex<()>>,
    networks: Registry<String, RwLock<()>>,
    phases: Mutex<HashMap<AttachmentId, Phase>>,
}

/// Held during an ADD, DEL or CHECK.
pub(crate) struct Turn {
    _network: OwnedRwLockReadGuard<()>,
    _container: OwnedMutexGuard<()>,
}

impl Ledger {
    /// Waits until nothing else runs for the container and no GC in the network.
    pub(crate) async fn turn(&self, container: &str, network: &str) -> Turn {
        let container = self.containers.get(container).lock_owned().await;
        Turn {
            _network: self.networks.get(network).read_owned().await,
            _container: container,
        }
    }

    /// Waits until nothing at all runs in the network.
    pub(crate) async fn alone(&self, network: &str) -> OwnedRwLockWriteGuard<()> {
        self.networks.get(network).write_owned().await
    }

    pub(crate) fn phase(&self, id: &AttachmentId) -> Option<Phase> {
        lock(&self.phases).get(id).copied()
    }

    pub(crate) fn set(&self, id: AttachmentId, phase: Phase) {
        lock(&self.phases).insert(id, phase);
    }

    pub(crate) fn forget(&self, id: &AttachmentId) {
        lock(&self.phases).remove(id);
    }
}

/// Locks by name that exist as long as someone holds or awaits them.
struct Registry<K, L>(Mutex<HashMap<K, Weak<L>>>);

impl<K, L> Default for Registry<K, L> {
    fn default() -> Self {
        Registry(Mutex::new(HashMap::new()))
    }
}

impl<L: Default> Registry<String, L> {
    fn get(&self, key: &str) -> Arc<L> {
        let mut locks = lock(&self.0);
        if let Some(held) = locks.get(key).and_then(Weak::upgrade) {
            return held;
        }
        locks.retain(|_, held| held.strong_count() > 0);
        let fresh = Arc::new(L::default());
        locks.insert(key.to_owned(), Arc::downgrade(&fresh));
        fresh
    }
}

impl<K: Hash + Eq, L> Registry<K, L> {
    #[cfg(test)]
    fn len(&self) -> usize {
        lock(&self.0).len()
    }
}

/// The maps are whole after every statement, so a panic elsewhere does not spoil them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// Polls once; nothing here needs a reactor.
    fn ready<F: Future>(future: F) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        matches!(pin!(future).poll(&mut context), Poll::Ready(_))
    }

    #[tokio::test]
    async fn duty_41_operations_of_one_container_take_turns() {
        let ledger = Ledger::default();
        let turn = ledger.turn("c1", "one").await;
        assert!(!ready(ledger.turn("c1", "one")));
        assert!(!ready(ledger.turn("c1", "other")));
        assert!(ready(ledger.turn("c2", "one")));
        drop(turn);
        assert!(ready(ledger.turn("c1", "other")));
    }

    #[tokio::test]
    async fn duty_42_gc_excludes_operations_of_its_network() {
        let ledger = Ledger::default();
        let turn = ledger.turn("c1", "one").await;
        assert!(!ready(ledger.alone("one")));
        assert!(ready(ledger.alone("other")));
        drop(turn);
        let alone = ledger.alone("one").await;
        assert!(!ready(ledger.turn("c1", "one")));
        assert!(!ready(ledger.alone("one")));
        assert!(ready(ledger.turn("c2", "other")));
        drop(alone);
        assert!(ready(ledger.turn("c1", "one")));
    }

    #[tokio::test]
    async fn locks_that_nobody_holds_are_forgotten() {
        let ledger = Ledger::default();
        for number in 0..100 {
            drop(ledger.turn(&format!("c{number}"), "one").await);
        }
        assert_eq!(ledger.containers.len(), 1);
        assert_eq!(ledger.networks.len(), 1);
    }
}
