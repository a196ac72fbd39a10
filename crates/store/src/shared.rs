//! What the callers' side and the committer's thread share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use podwalk_engine::ports::{JournalError, Replay};

use crate::graves::Graves;
use crate::handle::Handle;
use crate::open::OpenOptions;

/// Whether the journal takes work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Health {
    /// It does.
    Sound,
    /// The disk was full; the next append tries to reopen it.
    Full(String),
    /// Never again in this process.
    Poisoned(String),
}

/// Counts since the opening.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Batches that were written, each for one group of waiting callers.
    pub batches: u64,
    /// Calls that were answered with success.
    pub calls: u64,
    /// Barriers: syncs of sled's file.
    pub barriers: u64,
    /// Of these, how many nobody asked for: before the bound of payload, or
    /// after a second of idleness.
    pub unasked_barriers: u64,
    /// Payload: keys and values, written or removed, bytes.
    pub payload_bytes: u64,
    /// How often it was reopened after a full disk.
    pub reopenings: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) batches: AtomicU64,
    pub(crate) calls: AtomicU64,
    pub(crate) barriers: AtomicU64,
    pub(crate) unasked_barriers: AtomicU64,
    pub(crate) payload_bytes: AtomicU64,
    pub(crate) reopenings: AtomicU64,
}

impl Counters {
    pub(crate) fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            batches: read(&self.batches),
            calls: read(&self.calls),
            barriers: read(&self.barriers),
            unasked_barriers: read(&self.unasked_barriers),
            payload_bytes: read(&self.payload_bytes),
            reopenings: read(&self.reopenings),
        }
    }
}

/// Adds to a counter that orders nothing.
pub(crate) fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

/// What both sides see. No lock is held across another but `handle`, which is
/// taken first.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: OpenOptions,
    handle: RwLock<Handle>,
    health: Mutex<Health>,
    graves: Mutex<Graves>,
    /// What the opening has read, until it is asked for or outdated.
    first: Mutex<Option<Replay>>,
    pub(crate) counters: Counters,
}

impl Shared {
    pub(crate) fn new(options: OpenOptions, db: sled::Db, graves: Graves, first: Replay) -> Self {
        Self {
            options,
            handle: RwLock::new(Handle::new(db)),
            health: Mutex::new(Health::Sound),
            graves: Mutex::new(graves),
            first: Mutex::new(Some(first)),
            counters: Counters::default(),
        }
    }

    /// For readers, who see whole batches only.
    pub(crate) fn reader(&self) -> RwLockReadGuard<'_, Handle> {
        self.handle.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the committer.
    pub(crate) fn writer(&self) -> RwLockWriteGuard<'_, Handle> {
        self.handle.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn graves(&self) -> MutexGuard<'_, Graves> {
        locked(&self.graves)
    }

    /// What the opening has read, once.
    pub(crate) fn take_first(&self) -> Option<Replay> {
        locked(&self.first).take()
    }

    pub(crate) fn health(&self) -> Health {
        locked(&self.health).clone()
    }

    pub(crate) fn set_health(&self, health: Health) {
        *locked(&self.health) = health;
    }
}

impl Health {
    /// The error that callers get.
    pub(crate) fn refusal(&self) -> Result<(), JournalError> {
        match self {
            Health::Sound => Ok(()),
            Health::Full(detail) => Err(JournalError::Full {
                detail: detail.clone(),
            }),
            Health::Poisoned(detail) => Err(JournalError::Poisoned {
                detail: detail.clone(),
            }),
        }
    }
}

/// A panic elsewhere leaves these values whole: each is set in one move.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
