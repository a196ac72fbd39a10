//! Network namespaces that outlive their maker, and the processes of an effect, found again.
//!
//! This crate is useful alone: it knows no pod, no journal and no engine. It works on two things
//! that a daemon leaves behind in the kernel when it dies, namespaces and processes, and its rule
//! for both is that whatever was begun can be found, told apart from its neighbours, and ended.
//!
//! # A namespace's life
//!
//! 1. [`share_directory`] makes the directory of namespace files a shared mount, once per node.
//! 2. [`place`] makes an empty file, the placeholder. Its path is the sandbox key.
//! 3. [`pin`] makes a namespace on a thread of its own and binds it on the file. The thread ends,
//!    the mount keeps the namespace, and the [`Identity`] that is returned says which one it is.
//!    [`pin_owned`] does the same for a pod with a user namespace of its own, in one step: it makes
//!    that one too, with its [`Mappings`], and the network is its. [`user_namespace`] opens it for
//!    the runtime; [`owned`] tells the two kinds of pin apart.
//! 4. [`lo_up`] and [`set_sysctls`] ready it; [`links`] says what is in it and [`counters`] what
//!    went through; [`enter`] runs anything else inside.
//! 5. [`probe`] says what is on a path, at any time and without touching it. After a crash the
//!    answer is compared with the recorded identity before anything there is trusted.
//! 6. [`unpin`] unmounts until nothing is mounted on the file; [`unlink`] removes it. Both succeed
//!    when there is nothing to do. [`sweep`] does both to all names that are ours, after a reboot.
//!
//! ```no_run
//! # fn main() -> Result<(), podwalk_netns::Error> {
//! use podwalk_netns::{Found, lo_up, pin, place, probe, share_directory, unlink, unpin};
//!
//! let key = std::path::Path::new("/run/netns/my-pod");
//! share_directory(std::path::Path::new("/run/netns"))?;
//! place(key)?;
//! let recorded = pin(key)?;
//! lo_up(key)?;
//! // After a crash: is it still there, is it the recorded one, is it pinned exactly once?
//! assert_eq!(probe(key)?, Found::Namespace { identity: recorded, mounts: 1 });
//! unpin(key)?;
//! unlink(key)?;
//! # Ok(())
//! # }
//! ```
//!
//! # An effect's processes
//!
//! A plugin or a runtime goes on when the daemon is killed, and can finish after its own undo. So:
//!
//! 1. [`Effects::spawn`](effects::Effects::spawn) starts a program in a cgroup named after the pod,
//!    with the name in its environment.
//! 2. [`Effects::quiet`](effects::Effects::quiet) kills all that is there **and sees it gone**,
//!    before any probe or undo. What the effect moved elsewhere on purpose (a runtime moves the
//!    sandbox into the sandbox's cgroup) is not there and lives on.
//! 3. [`process`] watches that one: a [`ProcessId`](process::ProcessId) is a pid with its start
//!    time, a [`PidFd`](process::PidFd) is that process and no later one with its number.
//!
//! # Invariants
//!
//! - **No thread is left in another namespace.** What enters one runs on a thread that ends with it.
//! - **No process is left behind.** The child that makes a user namespace, which a threaded process
//!   cannot, is reaped before the call returns, and dies with this process.
//! - **Nothing is stacked.** [`pin`] refuses a file that has a mount, under the file's lock.
//! - **The last component of a path is literal.** No verb follows a symbolic link there.
//! - **What is not ours is not touched**: it is an [`Error::Foreign`] that says what it is.
//! - **A number is not an identity.** Inodes and pids are reused; cookies and start times are not.
//! - **Blocking.** Every call blocks its thread, for microseconds to the given deadline; an
//!   asynchronous caller uses a thread for blocking work. Only `PidFd::exited` is asynchronous.
//! - **Crash points.** Where dying leaves something different behind, an event with the target
//!   `podwalk::point` says so; a crash harness counts them. Unsafe code stands in one file, `sys`.
#![deny(unsafe_code)]

mod cgroup;
mod counters;
mod directory;
pub mod effects;
mod enter;
mod error;
mod foreign;
mod identity;
mod links;
mod mappings;
mod mountinfo;
mod pin;
mod point;
mod probe;
pub mod process;
mod settings;
mod sight;
mod sys;
mod sysctl;
mod unpin;
mod user;

pub use counters::{LinkCounters, counters};
pub use directory::{Swept, is_host_mount_namespace, share_directory, sweep};
pub use enter::{enter, inside};
pub use error::Error;
pub use foreign::Foreign;
pub use identity::{Identity, boot_id};
pub use links::{Address, Link, Scope, give_addresses, links, lo_up};
pub use mappings::{IdMapping, Ids, Mappings, Unmappable};
pub use pin::{pin, place};
pub use probe::{Found, is_on, probe};
pub use settings::set_sysctls;
pub use sysctl::{Refused, SAFE_SYSCTLS, SysctlScope, check_sysctl};
pub use unpin::{unlink, unpin};
pub use user::{owned, pin_owned, user_namespace};
