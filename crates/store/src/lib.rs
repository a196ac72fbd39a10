//! Podwalk's journal on disk.
//!
//! The engine (`podwalk-engine`) begins no effect before its record is in a
//! [`Journal`](podwalk_engine::ports::Journal). This crate is that journal,
//! twice: [`SledJournal`] on disk, [`MemoryJournal`] for tests and embedders
//! without a disk. One append on disk goes like this:
//!
//! 1. On the caller's side each record is encoded by [`mod@format`]: an envelope
//!    with pod, sequence, clocks and a CRC32C, then the payload in a layout
//!    that is frozen per format version. `FORMAT.md` shows the bytes. A record
//!    over 384 KiB is refused here.
//! 2. The call goes into the committer's queue. The caller gets a future, and
//!    may drop it: the append happens all the same.
//! 3. The committer, the one thread that writes, takes all calls that wait,
//!    and merges them into one batch: values of at most 4 KiB under sorted
//!    keys, and the bookkeeping (how many values there are, what they add up
//!    to). The batch is applied and flushed: SIGKILL is survived from here on.
//! 4. If any of the calls asked for
//!    [`Durability::Power`](podwalk_engine::ports::Durability::Power), or the
//!    payload since the last barrier would pass 384 KiB, it syncs sled's file
//!    by a descriptor of its own: power loss is survived from here on. A mark
//!    beside that file says how far it is now. After a second of idleness it
//!    does so unasked.
//! 5. Only then are the callers answered.
//!
//! Opening is as strict ([`SledJournal::open`]): lock, naming the holder; make
//! the store, under another name until it is whole, where there is none;
//! delete what an interrupted opening has left; look for space; copy sled's
//! snapshot of its page table; let sled open and read everything once, on a
//! thread with a deadline; sync its files and their directories, and delete
//! the copy; compare the bookkeeping and the mark; count the opening.
//!
//! What holds, whatever happens:
//!
//! - A batch is whole or not there, and batches survive in their order. sled
//!   alone keeps neither over a power cut; steps 3 and 4 are what it needs for
//!   that, and leaving one out breaks it.
//! - A failed sync is final. The journal is poisoned, takes no more work, and
//!   never says otherwise until the process is started anew.
//! - A full disk is not. The batch that met it is refused, also if it turns out
//!   to be in the file; the store is reopened inside the process by the first
//!   call that finds space again.
//! - Every call is answered: where sled waits for a write that has failed unheard,
//!   somebody wakes it.
//! - A pod whose records do not decode, or lack one, is in quarantine alone.
//!   Its bytes are kept until somebody drops them by its name
//!   ([`SledJournal::drop_quarantined`]).
//! - What was lost in silence is noticed at the next opening, is a
//!   [`Warning`], and refuses nothing.
//! - Compaction and burial put what takes the place of a pod's records first,
//!   and remove those after it in batches under the same bound: a crash leaves
//!   litter, which no reader counts and the next opening removes.
//!
//! [`copy_for_reading`] reads the journal of a daemon, down or up, without
//! touching it.

#![forbid(unsafe_code)]

pub mod format;

mod change;
mod committer;
mod copy;
mod directory;
mod error;
mod failure;
mod graves;
mod handle;
mod holder;
mod job;
mod key;
mod lock;
mod mark;
mod memory;
mod meta;
mod nudge;
mod open;
mod point;
#[cfg(test)]
mod samples;
mod scan;
mod shared;
mod sled_journal;
mod snapshot;
mod space;
#[cfg(test)]
mod strategies;

pub use committer::{BARRIER_BYTES, IDLE};
pub use copy::{JournalCopy, copy_for_reading};
pub use error::{OpenError, OpenReport, Warning};
pub use graves::{KEPT_AFTER_RELEASE, OBITUARIES};
pub use handle::RawRecord;
pub use holder::Holder;
pub use memory::{Append, MemoryJournal};
pub use meta::Census;
pub use open::OpenOptions;
pub use shared::Stats;
pub use sled_journal::SledJournal;
