//! What can go wrong with a namespace file, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::foreign::Foreign;

/// A namespace verb failed. Every variant names the path and the remedy.
///
/// A caller that walks a pod needs to tell apart only three things: [`Error::is_foreign`]
/// (somebody else's object is in the way; retrying is useless until it is moved),
/// [`Error::Mounted`] (call [`unpin`](crate::unpin) first), and the rest (the system refused;
/// retry with backoff).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed.
    #[error("cannot {step} {}: {source}; {}", path.display(), remedy(source))]
    System {
        /// What was tried, as a verb phrase that the path completes.
        step: &'static str,
        /// The path it was tried on.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The path is relative or has no file name, so it means something else in another directory.
    #[error("{} is not the absolute path of a file; name the namespace file from the root", path.display())]
    NotAbsolute {
        /// The path as given.
        path: PathBuf,
    },
    /// There is no file to pin a namespace on, or none to enter.
    #[error("{} does not exist; make the placeholder file first", path.display())]
    Missing {
        /// The path that is missing.
        path: PathBuf,
    },
    /// Something that is not ours stands on the path. It was not touched.
    #[error("{} is {found}, not a namespace file; it was left alone, move it away", path.display())]
    Foreign {
        /// The path it stands on.
        path: PathBuf,
        /// What it is.
        found: Foreign,
    },
    /// The file is a plain one: nothing is mounted on it, so there is no namespace to enter.
    #[error("{} is a plain file with no namespace on it; pin one first", path.display())]
    NotPinned {
        /// The plain file.
        path: PathBuf,
    },
    /// Something is mounted on the file already. A second bind would be stacked on the first.
    #[error("something is mounted on {} already; probe it, or unpin it first", path.display())]
    Mounted {
        /// The mounted-on file.
        path: PathBuf,
    },
    /// Mounts are left on the file after all that can be reached were taken away.
    #[error("{mounts} mounts are left on {}; they lie beneath another mount of its directory or are locked: look with 'findmnt -l'", path.display())]
    StillMounted {
        /// The mounted-on file.
        path: PathBuf,
        /// How many mounts the mount table still shows on it.
        mounts: u32,
    },
    /// The file was exchanged while it was looked at.
    #[error("{} was exchanged while it was in use; nobody else may write in its directory, then try again", path.display())]
    Exchanged {
        /// The path whose file changed.
        path: PathBuf,
    },
    /// No thread could be started. A namespace is never entered on a thread that goes on.
    #[error(
        "cannot start a thread to enter a namespace: {source}; {}",
        remedy(source)
    )]
    Thread {
        /// What the system answered.
        source: io::Error,
    },
    /// The kernel's boot id is not a UUID.
    #[error("the boot id '{found}' is not a UUID; is /proc mounted as procfs?")]
    BootId {
        /// The text that was found.
        found: String,
    },
    /// A line of the mount table does not have the documented form (`proc_pid_mountinfo(5)`).
    #[error(
        "/proc/self/mountinfo has a line that cannot be read: '{line}'; is /proc mounted as procfs?"
    )]
    MountTable {
        /// The line, unchanged.
        line: String,
    },
    /// The namespace has no loopback interface. Every network namespace is born with one.
    #[error("the namespace on {} has no loopback interface; it was deleted or renamed, make the namespace anew", path.display())]
    NoLoopback {
        /// The namespace file.
        path: PathBuf,
    },
    /// A sysctl could not be set in the namespace.
    #[error("cannot set sysctl {name} = '{value}' in the namespace on {}: {source}; {}", path.display(), sysctl_remedy(source))]
    Sysctl {
        /// The sysctl's dotted name.
        name: String,
        /// The value that was asked for.
        value: String,
        /// The namespace file.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A sysctl's name or value was refused before anything was written.
    #[error("nothing was set in the namespace on {}: {source}", path.display())]
    SysctlRefused {
        /// The namespace file.
        path: PathBuf,
        /// Why it was refused.
        source: crate::sysctl::Refused,
    },
    /// The mappings of a user namespace were refused before anything was made.
    #[error("no user namespace was made for {}: {source}", path.display())]
    Unmappable {
        /// The namespace file.
        path: PathBuf,
        /// Why they were refused.
        source: crate::mappings::Unmappable,
    },
    /// The process that held a new user namespace ended before its network namespace was pinned.
    #[error("the process that made the namespaces for {} ended early; something killed it (memory?), try again", path.display())]
    HolderEnded {
        /// The namespace file.
        path: PathBuf,
    },
}

impl Error {
    /// Whether somebody else's object is in the way, which no retry can change.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        matches!(self, Self::Foreign { .. })
    }

    /// A failed system call on `path`, for `map_err`.
    pub(crate) fn system<E: Into<io::Error>>(
        step: &'static str,
        path: &Path,
    ) -> impl FnOnce(E) -> Self {
        let path = path.to_path_buf();
        move |source| Self::System {
            step,
            path,
            source: source.into(),
        }
    }
}

/// What an operator can do about a system call's failure.
pub(crate) fn remedy(source: &io::Error) -> &'static str {
    use nix::libc::{EACCES, EMFILE, ENFILE, ENOENT, ENOMEM, ENOPROTOOPT, ENOSPC, EPERM, EROFS};
    match source.raw_os_error() {
        Some(EPERM | EACCES) => "run as root with CAP_SYS_ADMIN and CAP_NET_ADMIN",
        Some(ENOSPC) => {
            "raise user.max_net_namespaces, user.max_user_namespaces or user.max_mnt_namespaces, or free space"
        }
        Some(EMFILE | ENFILE) => "raise the limit on open files",
        Some(ENOMEM) => "free memory",
        Some(ENOENT) => "make its directory first and see that /proc is mounted",
        Some(EROFS) => "choose a directory on a writable file system",
        Some(ENOPROTOOPT) => "a kernel of 5.14 or newer is needed",
        _ => "try again; if it stays, look at the kernel's log",
    }
}

/// What a user can do about a sysctl that the kernel does not take.
fn sysctl_remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound => "this kernel has no such sysctl inside a network namespace",
        io::ErrorKind::InvalidInput => "the kernel does not take this value for it",
        _ => remedy(source),
    }
}

#[cfg(test)]
mod tests;
