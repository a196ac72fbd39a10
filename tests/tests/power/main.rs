//! Power loss, full disks and disks that fail, under the real journal and the real daemon.
//!
//! Power is cut in two ways:
//!
//! 1. **From a record** (`images`): a process that appends runs under `strace`. Every write and sync of
//!    it is replayed onto a `platter`, which loses what was not synced, and from which crash images are
//!    made: at any moment, with any part of the later sectors. That is more than any file system does.
//! 2. **On a real disk**: the journal (`pulled`), or the daemon and its plugins (`reboot`, `load`), work
//!    on a file system on a loop device (ext4, XFS), whose backing file is cloned at random moments, in
//!    one instant each.
//!
//! Each image must open, hold what was acknowledged, and hold nothing half.
//!
//! And the disk refuses: the journal at one system call after another (`refused`), the daemon before
//! each of its appends (`failing`).
#![forbid(unsafe_code)]

mod failing;
mod images;
mod life;
mod load;
mod luck;
mod platter;
mod pulled;
mod reboot;
mod recording;
mod refused;
mod trace;
mod workload;
