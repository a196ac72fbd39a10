//! The placeholder file, and a namespace bound on it so that it outlives its maker.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use rustix::mount::mount_bind;

use crate::enter::apart;
use crate::error::Error;
use crate::identity::{self, Identity};
use crate::point;
use crate::sight::{self, Kind, Sight};

/// The namespace of the calling thread, whichever thread that is.
const THREAD_NAMESPACE: &str = "/proc/thread-self/ns/net";

/// Makes the placeholder that a namespace is pinned on later: an empty file, mode 0444.
///
/// An empty regular file that is there already is taken as it is, so that the call can be repeated.
///
/// # Errors
/// [`Error::Foreign`] for anything else on the path, [`Error::Mounted`] if something is mounted on
/// it, [`Error::System`] if the file cannot be made (the directory is not made here).
pub fn place(path: &Path) -> Result<(), Error> {
    if sight::resolve(path)?.is_none() {
        return Err(Error::system("make", path)(Errno::NOENT));
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
    match rustix::fs::openat(CWD, path, flags, Mode::RUSR | Mode::RGRP | Mode::ROTH) {
        Ok(_) => {
            point::reached("netns.placed");
            Ok(())
        }
        Err(Errno::EXIST) => placeholder(path).map(|_| ()),
        Err(errno) => Err(Error::system("make", path)(errno)),
    }
}

/// Makes a network namespace and pins it on the placeholder `path`; returns which one it is.
///
/// A thread of its own unshares, binds its namespace on the file and ends; the mount keeps the
/// namespace. The file is locked meanwhile, so that of two calls at once one is refused: a second
/// bind is never stacked on a first. The namespace's `lo` is still down.
///
/// # Errors
/// [`Error::Missing`] without a placeholder, [`Error::Mounted`] if something is mounted on it
/// already, [`Error::Foreign`] if it is no placeholder, [`Error::Exchanged`] if it was replaced
/// meanwhile; [`Error::Thread`] and [`Error::System`] if the system refuses.
pub fn pin(path: &Path) -> Result<Identity, Error> {
    let locked = lock(path)?;
    apart(|| unshare_onto(&locked, path))?
}

/// A placeholder that nobody else pins on meanwhile.
pub(crate) struct Locked {
    sight: Sight,
    /// Open for as long as the lock is held.
    _lock: File,
}

/// Locks the placeholder on `path`.
pub(crate) fn lock(path: &Path) -> Result<Locked, Error> {
    let unlocked = placeholder(path)?;
    let lock = unlocked
        .reopen()
        .map(File::from)
        .map_err(Error::system("open", path))?;
    flock(&lock, FlockOperation::LockExclusive).map_err(Error::system("lock", path))?;
    // Whoever held the lock before us may have pinned: only what is seen under the lock counts.
    let sight = placeholder(path)?;
    if sight.object_id != unlocked.object_id {
        return Err(Error::Exchanged {
            path: path.to_path_buf(),
        });
    }
    Ok(Locked { sight, _lock: lock })
}

impl Locked {
    /// Binds the namespace that `source` names on the placeholder.
    pub(crate) fn bind(&self, source: &Path, path: &Path) -> Result<(), Error> {
        mount_bind(source, self.sight.proc_path())
            .map_err(Error::system("bind a network namespace on", path))?;
        point::reached("netns.bound");
        Ok(())
    }
}

/// Leaves the thread's namespace for a new one and binds that on the file. Only for a thread that
/// ends afterwards.
fn unshare_onto(locked: &Locked, path: &Path) -> Result<Identity, Error> {
    unshare(CloneFlags::CLONE_NEWNET)
        .map_err(Error::system("make a network namespace for", path))?;
    let namespace =
        File::open(THREAD_NAMESPACE).map_err(Error::system("open the new namespace for", path))?;
    let identity = identity::of_this_thread(namespace.as_fd(), path)?;
    point::reached("netns.unshared");
    locked.bind(Path::new(THREAD_NAMESPACE), path)?;
    Ok(identity)
}

/// The placeholder on `path`, or why there is none.
fn placeholder(path: &Path) -> Result<Sight, Error> {
    let sight = sight::look(path)?.ok_or_else(|| Error::Missing {
        path: path.to_path_buf(),
    })?;
    if sight.mounted {
        return Err(Error::Mounted {
            path: path.to_path_buf(),
        });
    }
    match sight.kind(path)? {
        Kind::Placeholder => Ok(sight),
        // Without a mount on the path this is a link into /proc or a bind of the directory.
        Kind::Namespace(_) => Err(Error::Mounted {
            path: path.to_path_buf(),
        }),
        Kind::Foreign(found) => Err(Error::Foreign {
            path: path.to_path_buf(),
            found,
        }),
    }
}

#[cfg(test)]
mod tests;
