//! What can go wrong while processes are enlisted or quieted.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::error::remedy;
use crate::process;

/// Process ids, as a list that people can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pids(pub Vec<u32>);

/// An effect's processes could not be enlisted, found or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name cannot be a cgroup's.
    #[error(
        "'{name}' cannot name a cgroup; use 1 to 255 bytes without '/', control characters or a leading dot"
    )]
    Name {
        /// The name as given.
        name: String,
    },
    /// A cgroup file or directory could not be used.
    #[error("cannot {step} {}: {source}; {}", path.display(), remedy(source))]
    Cgroup {
        /// What was tried.
        step: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A program was not started.
    #[error("cannot start {} for pod {pod}: {source}", program.display())]
    Start {
        /// The pod.
        pod: String,
        /// The program.
        program: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A program's working directory cannot be entered.
    #[error("cannot enter {} to start a program for pod {pod}: {source}; {}", path.display(), remedy(source))]
    Directory {
        /// The pod.
        pod: String,
        /// The directory.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// Processes did not go before the deadline. What they do may still happen.
    #[error(
        "processes of an effect of pod {pod} do not end: {pids}; look why with 'cat /proc/PID/stack'"
    )]
    Alive {
        /// The pod.
        pod: String,
        /// Those that are left. 0 stands for one in a pid namespace that we do not see.
        pids: Pids,
    },
    /// A process could not be reached.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// The processes of a pod could not be waited for.
    #[error(
        "cannot wait for the processes of an effect of pod {pod}: {source}; {}",
        remedy(source)
    )]
    Wait {
        /// The pod.
        pod: String,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The list of processes could not be read.
    #[error("cannot list the processes in {}: {source}; {}", path.display(), remedy(source))]
    ProcessTable {
        /// What was read.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn cgroup(step: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Cgroup {
            step,
            path: path.to_path_buf(),
            source: source.into(),
        }
    }

    pub(crate) fn start(pod: &str, program: &Path, source: io::Error) -> Self {
        Self::Start {
            pod: pod.to_owned(),
            program: program.to_path_buf(),
            source,
        }
    }

    pub(crate) fn process_table(path: &Path, source: io::Error) -> Self {
        Self::ProcessTable {
            path: path.to_path_buf(),
            source,
        }
    }

    pub(crate) fn wait(pod: &str, errno: Errno) -> Self {
        Self::Wait {
            pod: pod.to_owned(),
            source: errno.into(),
        }
    }

    pub(crate) fn signal(pid: u32, errno: Errno) -> Self {
        Self::Process(process::Error::System {
            step: "kill",
            pid,
            source: errno.into(),
        })
    }
}

impl fmt::Display for Pids {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, pid) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(out, "{comma}{pid}")?;
        }
        Ok(())
    }
}
