//! One thread, many walks, and always the same order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Wake, Waker};

use podwalk_engine::ports::{BoxFuture, Spawn};

/// How many turns a task may have on average before time goes on; a whole walk
/// takes some hundred.
const TURNS: usize = 5_000;

/// Runs tasks on the caller's thread. With a seed of zero whoever became ready
/// first runs first; with another one the next is drawn.
#[derive(Debug, Clone)]
pub struct Executor {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ready: Mutex<Ready>,
    living: Mutex<BTreeMap<u64, Arc<Task>>>,
}

#[derive(Debug, Default)]
struct Ready {
    queue: Vec<Arc<Task>>,
    draw: u64,
    born: u64,
}

struct Task {
    id: u64,
    future: Mutex<Option<BoxFuture<'static, ()>>>,
    queued: AtomicBool,
    shared: Weak<Shared>,
}

impl Executor {
    /// An executor whose order depends on nothing but `seed`.
    pub fn new(seed: u64) -> Self {
        let ready = Ready {
            draw: seed,
            ..Ready::default()
        };
        let shared = Shared {
            ready: Mutex::new(ready),
            living: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Runs whatever is ready until nothing is, or `dead` says so. False when it
    /// goes on and on: somebody walks in a circle while time stands still.
    pub fn run(&self, dead: impl Fn() -> bool) -> bool {
        let mut turns = 0;
        while !dead() {
            let Some(task) = self.shared.ready().next() else {
                return true;
            };
            turns += 1;
            if turns > TURNS * (1 + self.living()) {
                return false;
            }
            task.queued.store(false, Ordering::SeqCst);
            let waker = Waker::from(task.clone());
            let ended = match &mut *locked(&task.future) {
                None => continue,
                Some(future) => future
                    .as_mut()
                    .poll(&mut Context::from_waker(&waker))
                    .is_ready(),
            };
            if ended {
                *locked(&task.future) = None;
                locked(&self.shared.living).remove(&task.id);
            }
        }
        true
    }

    /// Drops every task where it stands, as SIGKILL does.
    pub fn kill(&self) {
        let living = std::mem::take(&mut *locked(&self.shared.living));
        self.shared.ready().queue.clear();
        for task in living.into_values() {
            drop(locked(&task.future).take());
        }
    }

    /// How many tasks have not ended.
    pub fn living(&self) -> usize {
        locked(&self.shared.living).len()
    }
}

impl Spawn for Executor {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        let mut ready = self.shared.ready();
        ready.born += 1;
        let task = Arc::new(Task {
            id: ready.born,
            future: Mutex::new(Some(future)),
            queued: AtomicBool::new(true),
            shared: Arc::downgrade(&self.shared),
        });
        ready.queue.push(task.clone());
        locked(&self.shared.living).insert(task.id, task);
    }
}

impl Shared {
    fn ready(&self) -> MutexGuard<'_, Ready> {
        locked(&self.ready)
    }
}

impl Ready {
    fn next(&mut self) -> Option<Arc<Task>> {
        if self.queue.is_empty() {
            return None;
        }
        let index = match self.draw {
            0 => 0,
            _ => {
                // Marsaglia's xorshift: never zero again.
                self.draw ^= self.draw << 13;
                self.draw ^= self.draw >> 7;
                self.draw ^= self.draw << 17;
                usize::try_from(self.draw % self.queue.len() as u64).unwrap_or_default()
            }
        };
        Some(self.queue.remove(index))
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        if !self.queued.swap(true, Ordering::SeqCst) {
            shared.ready().queue.push(self);
        }
    }
}

impl std::fmt::Debug for Task {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Task({})", self.id)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
