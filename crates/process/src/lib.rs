//! One program of an effect: started where it is found again, fed, listened to, never left behind.
//!
//! CNI plugins, OCI runtimes and shims are programs, and all of them are called in the same way:
//!
//! 1. [`Spawn`] starts the program. It is a port, because programs outlive their caller: whoever
//!    recovers from a crash must be able to find all of them, so that a daemon starts each in a
//!    cgroup named after its pod. [`Unlisted`] starts it where the caller is.
//! 2. It leads a process group of its own, so that it and what it starts can be killed at once.
//! 3. [`run`] gives it its input while its output is read, all bounded.
//! 4. Its end is seen through a pidfd, before it is reaped. Until then its id cannot be given to
//!    another process, so that killing the group hits nobody else: a child that it leaves behind,
//!    with an output open, neither holds us nor, unless [`Job::leaves`] says so, lives on.
//! 5. What it wrote before it ended is in the pipes; it is read without waiting. Then it is reaped.
//!
//! ```
//! use std::{ffi::OsStr, path::Path, time::Duration};
//! use podwalk_process::{Command, Job, Unlisted, run};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let command = Command {
//!     program: Path::new("/bin/cat"),
//!     arguments: vec![OsStr::new("-")],
//!     environment: Vec::new(),
//!     directory: Path::new("/"),
//! };
//! let job = Job::new(command, "pod-1", Duration::from_secs(30)).input(b"all of this");
//! let exit = run(&Unlisted, job, &|_| ()).await.unwrap();
//! assert!(exit.status.success());
//! assert_eq!(exit.stdout, b"all of this");
//! # }
//! ```
//!
//! Dropping the future of [`run`] kills the group. The crate needs a tokio runtime with I/O and time
//! enabled, and knows nothing of pods, CNI or the OCI.
#![forbid(unsafe_code)]

mod child;
mod run;
mod spawn;

pub use run::{Cut, Exit, Job, Moment, OUTPUT_LIMIT, STDERR_KEPT, run};
pub use spawn::{Command, NotSpawned, Spawn, Spawned, Stdio, Unlisted};
