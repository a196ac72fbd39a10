//! Power loss under the real journal, in crash images.
//!
//! A process that appends runs under `strace`. Every write and sync of it is replayed onto a
//! [`platter`], which loses what was not synced, and from which crash images are made: at any moment,
//! with any part of the later sectors. That is more than any file system would do. Each image must
//! open, hold what was acknowledged, and hold nothing half.
#![forbid(unsafe_code)]

mod images;
mod life;
mod luck;
mod platter;
mod recording;
mod trace;
mod workload;
