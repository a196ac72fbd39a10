//! What can go wrong with a runtime.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::cgroup::CgroupLayout;

/// A call of a runtime, for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Makes the sandbox and starts it.
    Run,
    /// Starts a shim.
    Start,
    /// Asks what the runtime knows.
    State,
    /// Sends a signal.
    Kill,
    /// Forgets it.
    Delete,
    /// Asks for the runtime's version.
    Version,
}

impl fmt::Display for Verb {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Run => "run",
            Self::Start => "start",
            Self::State => "state",
            Self::Kill => "kill",
            Self::Delete => "delete",
            Self::Version => "--version",
        })
    }
}

/// A sandbox could not be started, looked at or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OciError {
    /// There is no such runtime.
    #[error(
        "the runtime of handler {handler:?} is missing: {} was not found{}; \
         install it, or set the handler's binary",
        binary.display(), places(searched)
    )]
    RuntimeMissing {
        /// The handler.
        handler: String,
        /// Its binary, as configured.
        binary: PathBuf,
        /// Where it was looked for; empty if it was configured by its path.
        searched: Vec<PathBuf>,
    },
    /// The runtime is a file that cannot be executed.
    #[error("the runtime {} is not executable: {source}; chmod +x it, or set the handler's binary", path.display())]
    NotExecutable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The runtime is no program of this machine.
    #[error(
        "the runtime {} is no program for this machine: {source}; install the one for {}",
        path.display(), std::env::consts::ARCH
    )]
    WrongFormat {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The runtime could not be started for another reason.
    #[error("cannot execute {}: {source}; see the limits of processes and memory", path.display())]
    Exec {
        /// The runtime.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Its process could not be put where it can be found after a crash.
    #[error(
        "cannot keep track of the processes of {verb} for sandbox {id}: {source}; it was not started"
    )]
    NotEnlisted {
        /// The call.
        verb: Verb,
        /// The sandbox.
        id: String,
        /// Why not.
        source: io::Error,
    },
    /// The runtime was started and could not be followed to its end. It was killed.
    #[error(
        "{} {verb} of sandbox {id} was given up: {why}; see the limits of memory and open files",
        binary.display()
    )]
    Lost {
        /// The runtime.
        binary: PathBuf,
        /// The call.
        verb: Verb,
        /// The sandbox.
        id: String,
        /// What went wrong.
        why: String,
    },
    /// The runtime refuses how cgroups are mounted, or a limit that needs a controller.
    #[error(
        "{} refuses the cgroup layout ({layout}): {message}; \
         mount cgroups v1 or v2 alone, and ask for no limit whose controller is not there",
        binary.display()
    )]
    CgroupLayoutRefused {
        /// The runtime.
        binary: PathBuf,
        /// The layout.
        layout: CgroupLayout,
        /// What the runtime said.
        message: String,
    },
    /// What was to be named as the network or user namespace is none.
    #[error(
        "{} is not a namespace but an ordinary file; \
         the sandbox was not started, because it would not be in its pod's namespace",
        path.display()
    )]
    NotANamespace {
        /// The file.
        path: PathBuf,
    },
    /// The file of the network or user namespace cannot be looked at.
    #[error("cannot look at the namespace {}: {source}", path.display())]
    Namespace {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The runtime failed.
    #[error("{} {verb} of sandbox {id} failed ({exit}): {message}", binary.display())]
    Failed {
        /// The runtime.
        binary: PathBuf,
        /// The call.
        verb: Verb,
        /// The sandbox.
        id: String,
        /// How it exited.
        exit: std::process::ExitStatus,
        /// Its last messages.
        message: String,
    },
    /// The runtime took too long. Its process group was killed; what it did is unknown.
    #[error("{} {verb} of sandbox {id} took longer than {after:?} and was killed; see what it waits for", binary.display())]
    Deadline {
        /// The runtime.
        binary: PathBuf,
        /// The call.
        verb: Verb,
        /// The sandbox.
        id: String,
        /// The deadline.
        after: Duration,
    },
    /// The runtime succeeded, and its answer makes no sense.
    #[error("the answer of {} {verb} for sandbox {id} cannot be read: {why}", binary.display())]
    Answer {
        /// The runtime.
        binary: PathBuf,
        /// The call.
        verb: Verb,
        /// The sandbox.
        id: String,
        /// What is wrong with it.
        why: String,
    },
    /// A call of a shim failed.
    #[error("the shim of sandbox {id} at {address} did not do {call}: {why}")]
    Rpc {
        /// The sandbox.
        id: String,
        /// Where the shim listens.
        address: String,
        /// The method.
        call: &'static str,
        /// What it said, or how the connection ended.
        why: String,
    },
    /// A shim makes no sandboxes by the sandbox service, by which the handler asks for them. It has
    /// made none.
    #[error(
        "the shim of sandbox {id} at {address} makes no sandbox by the sandbox service: {why}; \
         set the handler's api to \"task\""
    )]
    NoSandboxService {
        /// The sandbox.
        id: String,
        /// Where the shim listens.
        address: String,
        /// How that showed.
        why: String,
    },
    /// A shim did not answer in time; what it did is unknown.
    #[error(
        "the shim of sandbox {id} at {address} did not answer {call} within {after:.1?}; \
         see what it waits for, or give the handler more time"
    )]
    RpcDeadline {
        /// The sandbox.
        id: String,
        /// Where the shim listens.
        address: String,
        /// The method.
        call: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// The sandbox's process ended before it was seen running.
    #[error("the process of sandbox {id} ended at once; see the kernel's log for seccomp or OOM")]
    EndedAtOnce {
        /// The sandbox.
        id: String,
    },
    /// The runtime let the sandbox's process go, which did not get to its program in time.
    #[error("process {pid} of sandbox {id} does not get to run; see /proc/{pid}/stack")]
    NeverRan {
        /// The sandbox.
        id: String,
        /// The process.
        pid: u32,
    },
    /// A process of the sandbox lives after SIGKILL. The sandbox must not be taken for stopped.
    #[error(
        "process {pid} of sandbox {id} is still alive {after:?} after SIGKILL; \
         it hangs in the kernel (see /proc/{pid}/stack), most often on a volume: free that"
    )]
    StillAlive {
        /// The sandbox.
        id: String,
        /// One such process; 0 if our process namespace does not show it.
        pid: u32,
        /// How long it was waited for.
        after: Duration,
    },
    /// A process could not be watched or killed.
    #[error("cannot {verb} process {pid} of sandbox {id}: {source}")]
    Process {
        /// What was tried.
        verb: &'static str,
        /// The sandbox.
        id: String,
        /// The process.
        pid: u32,
        /// Why not.
        source: io::Error,
    },
    /// The runtime's state, or the sandbox's cgroup, cannot be read or removed.
    #[error("cannot {verb} {} of sandbox {id}: {source}", path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// The file or cgroup.
        path: PathBuf,
        /// The sandbox.
        id: String,
        /// Why not.
        source: io::Error,
    },
}

impl OciError {
    /// Whether it is certain that nothing was begun: no process of a runtime ran, so that there
    /// is nothing to undo. Everything else may have left something.
    pub fn nothing_begun(&self) -> bool {
        matches!(
            self,
            Self::RuntimeMissing { .. }
                | Self::NotExecutable { .. }
                | Self::WrongFormat { .. }
                | Self::Exec { .. }
                | Self::NotEnlisted { .. }
                | Self::NotANamespace { .. }
                | Self::Namespace { .. }
        )
    }
}

fn places(searched: &[PathBuf]) -> String {
    if searched.is_empty() {
        return String::new();
    }
    let places: Vec<_> = searched
        .iter()
        .map(|place| place.to_string_lossy())
        .collect();
    format!(" in {}", places.join(", "))
}

#[cfg(test)]
mod tests;
