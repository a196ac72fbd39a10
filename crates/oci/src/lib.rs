//! Sandboxes by the command line of OCI runtimes (crun, runc, youki, runsc), or by shims.
//!
//! A sandbox is one process in namespaces of its own, which holds them for the containers of a
//! pod. The network namespace is made and configured before, by somebody else; here it is only
//! named to the runtime. A sandbox comes and goes in these steps:
//!
//! 1. A [`SandboxConfig`] says what it shall be. [`SandboxConfig::check`] refuses what would
//!    reach the host or contradicts itself. [`spec()`] turns it, with what [`HostFacts`] says of
//!    the machine, into the OCI configuration; both are values, without a file or a process.
//! 2. [`Bundle::write`] puts that configuration on disk, with a root file system that holds the
//!    pause program and three files in `etc`. It is there whole or not at all.
//! 3. [`OciRuntime::create_and_start`] has the runtime make the sandbox and start it, and
//!    answers with its process: the pid **and** its start time, since pids are given away again.
//! 4. [`ProcessWatch`] holds that process open by a pidfd, so that its end is noticed at once
//!    and never mistaken for another's.
//! 5. [`OciRuntime::probe`] tells after a crash how far the start had come.
//! 6. [`CgroupsPath::usage`] reads what the sandbox's cgroup uses, from cgroups v1 and v2.
//! 7. [`OciRuntime::kill`] ends every process of the sandbox; [`OciRuntime::delete`] does so
//!    and has the runtime forget it; [`Bundle::remove`] removes the rest. Each succeeds when there is
//!    nothing to do, so that each may be repeated.
//!
//! A sandbox may have a user namespace of its own ([`UserNamespace`]), best the one that owns its
//! network namespace: then its root is nobody on the host. Its runtime walks to the bundle as
//! that nobody, so that each directory on the way must be passable to others (mode 711 is
//! enough); the pause program comes to it in an overlay, since the kernel would not lift a
//! `noexec` of the host's from a bind mount.
//!
//! The same verbs are there for shims ([`ShimRuntime`]: Kata, containerd-shim-runc-v2), which are
//! called once and then asked by ttrpc. A [`Runtime`] is a handler of either kind.
//!
//! The caller keeps the records: what it knows of a sandbox it hands in as a [`Target`], which
//! follows from the configuration. A [`Handler`] names the runtime's program, the directory of its
//! state, and its deadlines. By the port [`Spawn`] the caller takes hold of the runtime's
//! processes before they execute, since those outlive a caller that is killed; it must have
//! ended them before it probes or deletes.
//!
//! Invariants:
//! - `kill` and `delete` never succeed while a process of the sandbox may be alive, whatever the
//!   runtime says: the recorded process, the runtime's and all in the sandbox's cgroup were seen
//!   to end. They need neither the bundle nor, when it has no state, the runtime's program.
//! - What is named to a runtime as a network namespace is one; a plain file is refused.
//! - A sandbox has no capability, holds no pipe of ours, and sees no annotation of a user's
//!   that its handler was not told to pass.
//! - A call that is dropped, or overruns its deadline, takes its process group with it.
//! - Nothing is cleaned up behind the caller's back: who asked for a start also asks for its
//!   undoing.
//!
//! Absent on purpose: the engine, the network, images, containers within a sandbox (a shim that
//! groups is shown to be ready for them, by [`ShimRuntime::join`]).
#![forbid(unsafe_code)]

mod bundle;
mod cgroup;
mod choice;
mod command;
mod config;
mod config_error;
mod ending;
mod error;
mod format;
mod handler;
mod id;
mod log;
mod point;
/// Processes that are not our children: identity, watching, exit codes.
pub mod process;
mod runtime;
mod seccomp;
mod shim;
mod spec;
mod target;
mod usage;

pub use bundle::{Bundle, BundleError};
pub use cgroup::{CgroupLayout, CgroupParent, CgroupsPath, cgroup_layout};
pub use choice::Runtime;
pub use config::{
    Dns, IdMapping, NamespaceScope, Resources, SandboxConfig, Seccomp, SelinuxLabel, UserNamespace,
};
pub use config_error::ConfigError;
pub use error::{OciError, Verb};
pub use handler::{Deadlines, Handler};
pub use id::SandboxId;
pub use oci_spec;
pub use podwalk_process::{Spawn, Unlisted};
pub use process::{ExitCodes, NoExitCodes, ProcessIdentity, ProcessWatch};
pub use runtime::{OciRuntime, Probe, Sandbox, Version};
pub use shim::{ShimApi, ShimOptions, ShimRuntime, ShimSettings};
pub use spec::{HostFacts, spec};
pub use target::Target;
pub use usage::{CgroupUsage, MemoryUsage};
