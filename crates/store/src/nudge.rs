//! Somebody who wakes sled when it waits for nothing.
//!
//! sled hands a buffer to one of its threads and waits until it is written.
//! Where that write fails, the thread notes the error, and on one of two ways
//! forgets to wake who waits: a full disk would then be no refusal but a
//! journal that never answers again. Every other flush looks at the error
//! first, and wakes everybody. So while the committer has been at one thing for
//! long, another flush is tried beside it; on a disk that is merely slow it
//! waits for the same, and does no harm.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::guarded;

/// After so long the first nudge; each further one after twice the time.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest time between two.
const MOST_PATIENCE: Duration = Duration::from_secs(64);

/// A nudge: it may have to wait as well, and has a thread of its own.
type Nudge = Arc<dyn Fn() + Send + Sync>;

/// A flush beside the one that waits.
fn flush_of(db: sled::Db) -> Nudge {
    // It is not what it answers that counts.
    Arc::new(move || drop(guarded(|| db.flush())))
}

/// The one who watches, on a thread of its own until it is dropped.
pub(crate) struct Nudger(Arc<Watch>);

/// Somebody at work with sled, until it is dropped.
pub(crate) struct AtWork(Arc<Watch>);

struct Watch {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// None while the store is being reopened.
    nudge: Option<Nudge>,
    /// When the next one is due; none while nobody is at work.
    due: Option<Instant>,
    patience: Duration,
    /// The thread sleeps until it is told of work.
    sleeps: bool,
    ended: bool,
}

impl Nudger {
    /// One who watches over `db`.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub(crate) fn new(db: &sled::Db) -> io::Result<Self> {
        Self::with(flush_of(db.clone()))
    }

    fn with(nudge: Nudge) -> io::Result<Self> {
        let state = State {
            nudge: Some(nudge),
            due: None,
            patience: PATIENCE,
            sleeps: false,
            ended: false,
        };
        let watch = Arc::new(Watch {
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let own = Arc::clone(&watch);
        thread::Builder::new()
            .name("podwalk-nudge".to_owned())
            .spawn(move || own.run())?;
        Ok(Self(watch))
    }

    /// Work begins.
    pub(crate) fn at_work(&self) -> AtWork {
        let mut state = self.0.lock();
        state.patience = PATIENCE;
        state.due = Some(Instant::now() + PATIENCE);
        // Under load it does not sleep, and nobody has to be woken.
        if std::mem::take(&mut state.sleeps) {
            self.0.changed.notify_one();
        }
        AtWork(Arc::clone(&self.0))
    }

    /// From now on it is another store, or none.
    pub(crate) fn watch_over(&self, db: Option<&sled::Db>) {
        self.0.lock().nudge = db.map(|db| flush_of(db.clone()));
    }
}

impl Drop for Nudger {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.ended = true;
        state.nudge = None;
        self.0.changed.notify_one();
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.lock().due = None;
    }
}

impl Watch {
    /// A panic elsewhere leaves a whole state: each field is set in one move.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.lock();
        while !state.ended {
            let now = Instant::now();
            state = match state.due {
                Some(due) if due <= now => {
                    state.nudge(now);
                    state
                }
                Some(due) => self.sleep(state, due - now),
                None if state.sleeps => {
                    let woken = self.changed.wait(state);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
                // What has just ended may go on at once: a short sleep first.
                None => {
                    let mut state = self.sleep(state, PATIENCE);
                    state.sleeps = state.due.is_none();
                    state
                }
            };
        }
    }

    fn sleep<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        let woken = self.changed.wait_timeout(state, time);
        woken.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl State {
    fn nudge(&mut self, now: Instant) {
        self.patience = (self.patience * 2).min(MOST_PATIENCE);
        self.due = Some(now + self.patience);
        if let Some(nudge) = self.nudge.clone() {
            let name = "podwalk-nudge".to_owned();
            // Without a thread now there may be one for the next.
            let _ = thread::Builder::new().name(name).spawn(move || nudge());
        }
    }
}

#[cfg(test)]
mod tests;
