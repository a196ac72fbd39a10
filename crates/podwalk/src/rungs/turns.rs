//! One thread at a time per pod.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use podwalk_engine::id::PodId;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// Locks by pod, which exist as long as somebody holds or awaits them.
#[derive(Debug, Default)]
pub struct Turns(Mutex<HashMap<PodId, Weak<Turn<()>>>>);

impl Turns {
    /// Waits until no thread works for this pod.
    pub(super) async fn of(&self, pod: PodId) -> OwnedMutexGuard<()> {
        self.lock_of(pod).lock_owned().await
    }

    fn lock_of(&self, pod: PodId) -> Arc<Turn<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = locks.get(&pod).and_then(Weak::upgrade) {
            return held;
        }
        locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(Turn::new(()));
        locks.insert(pod, Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use podwalk_engine::id::InstanceId;

    use super::*;

    fn pod(number: u8) -> PodId {
        PodId::new([number; 12], InstanceId([0; 4]))
    }

    fn is_ready(future: impl Future) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        matches!(pin!(future).poll(&mut context), Poll::Ready(_))
    }

    #[tokio::test]
    async fn who_works_for_a_pod_holds_only_that_pods_next_thread() {
        let turns = Turns::default();
        let turn = turns.of(pod(1)).await;
        assert!(!is_ready(turns.of(pod(1))));
        assert!(is_ready(turns.of(pod(2))));
        drop(turn);
        assert!(is_ready(turns.of(pod(1))));
    }

    #[tokio::test]
    async fn pods_that_nobody_works_for_are_forgotten() {
        let turns = Turns::default();
        for number in 0..100 {
            drop(turns.of(pod(number)).await);
        }
        assert_eq!(turns.0.lock().unwrap().len(), 1);
    }
}
