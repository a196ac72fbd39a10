//! Network namespaces that a user namespace of their own owns.
//!
//! Whoever owns a network namespace is root in it: the root of a pod with its own user namespace can
//! set up links only if that user namespace owns the pod's network. A threaded process cannot enter
//! a new user namespace, so another process makes both, the **holder**:
//!
//! 1. A thread of its own makes the holder, in a new user namespace.
//! 2. The caller writes its two maps, for only a process outside may.
//! 3. The holder makes the network namespace: after the maps, so that its files in `/proc/net` and
//!    `/sys` are born with the right owner.
//! 4. The caller binds that on the placeholder.
//! 5. The holder ends and is reaped. The mount holds the network namespace, which holds its owner.
//!
//! A caller that dies takes the holder with it. What is left is what [`pin`](crate::pin()) leaves: a
//! placeholder, or a namespace pinned on it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::io::retry_on_intr;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, recv, send, shutdown,
    socketpair,
};

use crate::error::Error;
use crate::identity::{self, Identity};
use crate::mappings::{self, IdMapping, Ids, Mappings};
use crate::pin::{self, Locked};
use crate::{point, sight, sys};

/// As [`pin`](crate::pin()), in a new user namespace with these `mappings`, which owns the network.
///
/// Members of that user namespace may set up the network, and nobody else in it may. setgroups(2)
/// stays allowed there. To put a process into it, see [`user_namespace`].
///
/// # Errors
/// As [`pin`](crate::pin()); [`Error::Unmappable`] before anything is made, [`Error::HolderEnded`].
pub fn pin_owned(path: &Path, mappings: &Mappings) -> Result<Identity, Error> {
    mappings.check_here()?.map_err(|source| Error::Unmappable {
        path: path.to_path_buf(),
        source,
    })?;
    let locked = pin::lock(path)?;
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(Error::system("make a socket pair for", path))?;
    std::thread::scope(|scope| {
        // Dropped, also by a panic, before the scope waits for the thread.
        let holder = Holder(ours);
        let thread = std::thread::Builder::new()
            .name("netns-holder".into())
            .spawn_scoped(scope, move || hold(&theirs))
            .map_err(|source| Error::Thread { source })?;
        let pinned = pin_through(&holder, mappings, &locked, path);
        drop(holder);
        let made = match thread.join() {
            Ok(made) => made,
            Err(payload) => std::panic::resume_unwind(payload),
        };
        // Without a holder, that is the reason, and not that it did not answer.
        let pid = made.map_err(Error::system("make a user namespace for", path))?;
        reap(pid);
        point::reached("netns.holder_ended");
        pinned
    })
}

/// The user namespace that owns the network namespace on `path`.
///
/// A runtime joins it by the name `/proc/PID/fd/N`, PID being this process. The descriptor keeps it
/// alive, as does the network namespace.
///
/// # Errors
/// As [`enter`](crate::enter()); [`Error::System`] with `EPERM` if the owner is neither this
/// process's user namespace nor beneath it.
pub fn user_namespace(path: &Path) -> Result<OwnedFd, Error> {
    let namespace = sight::open_namespace(path)?;
    sys::owner(namespace.as_fd()).map_err(Error::system("ask the owner of", path))
}

/// Whether a user namespace other than this process's owns the network namespace on `path`.
///
/// What [`pin`](crate::pin()) made is not, what [`pin_owned`] made is.
///
/// # Errors
/// As [`enter`](crate::enter()); [`Error::System`] if it cannot be found out.
pub fn owned(path: &Path) -> Result<bool, Error> {
    let namespace = sight::open_namespace(path)?;
    Ok(!matches!(owner(namespace.as_fd(), path)?, Owner::Ours))
}

/// Whose a network namespace is.
pub(crate) enum Owner {
    /// This process's user namespace.
    Ours,
    /// One beneath it.
    Beneath(OwnedFd),
    /// One that the kernel does not show: this process is in it or beside it, and not above.
    Elsewhere,
}

/// Whose the open network namespace `namespace` is; `path` is what errors name.
pub(crate) fn owner(namespace: BorrowedFd<'_>, path: &Path) -> Result<Owner, Error> {
    let owner = match sys::owner(namespace) {
        Ok(owner) => owner,
        Err(error) if error.raw_os_error() == Some(nix::libc::EPERM) => {
            return Ok(Owner::Elsewhere);
        }
        Err(error) => return Err(Error::system("ask the owner of", path)(error)),
    };
    let ours = rustix::fs::stat("/proc/self/ns/user")
        .map_err(Error::system("look at our user namespace for", path))?;
    let theirs = rustix::fs::fstat(&owner).map_err(Error::system("look at the owner of", path))?;
    if (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino) {
        Ok(Owner::Ours)
    } else {
        Ok(Owner::Beneath(owner))
    }
}

/// Writes `value` into the open `file` as a process of the user namespace `owner` would.
///
/// Blocks all signals on the calling thread for good: only for one that ends afterwards.
pub(crate) fn write_within(owner: BorrowedFd<'_>, file: &File, value: &[u8]) -> io::Result<()> {
    // The child must not run the handlers of this process.
    SigSet::all().thread_block()?;
    match reap(sys::write_within(owner, file.as_fd(), value)?) {
        Some(WaitStatus::Exited(_, 0)) => Ok(()),
        Some(WaitStatus::Exited(_, errno)) => Err(io::Error::from_raw_os_error(errno)),
        _ => Err(io::Error::from(io::ErrorKind::Interrupted)),
    }
}

/// The thread of the holder: from its birth to its end.
fn hold(steered: &OwnedFd) -> io::Result<Pid> {
    SigSet::all().thread_block()?;
    let ended = sys::hold_user_namespace(steered.as_fd());
    // Not left to the drop: a child of another thread, forked and not exec'ed yet, may have a copy.
    let _ = shutdown(steered, Shutdown::Both);
    ended
}

/// Has the holder make both namespaces and pins the one.
fn pin_through(
    holder: &Holder,
    mappings: &Mappings,
    locked: &Locked,
    path: &Path,
) -> Result<Identity, Error> {
    let pid = holder.answer(path)?;
    point::reached("netns.holder_made");
    map(pid, Ids::Users, &mappings.uids, path)?;
    map(pid, Ids::Groups, &mappings.gids, path)?;
    point::reached("netns.holder_mapped");
    holder.go_on(path)?;
    match holder.answer(path)? {
        0 => {}
        errno => {
            let refusal = io::Error::from_raw_os_error(errno);
            return Err(Error::system("make a network namespace for", path)(refusal));
        }
    }
    let namespace = File::open(format!("/proc/{pid}/ns/net"))
        .map_err(Error::system("open the new namespace for", path))?;
    let identity = identity::of(namespace.as_fd(), path)?;
    point::reached("netns.unshared");
    // By the descriptor: what was identified is what is bound.
    let source = PathBuf::from(format!("/proc/self/fd/{}", namespace.as_raw_fd()));
    locked.bind(&source, path)?;
    Ok(identity)
}

/// Writes one map of the user namespace that `pid` is in, which the kernel takes whole and once.
fn map(pid: i32, ids: Ids, mappings: &[IdMapping], path: &Path) -> Result<(), Error> {
    OpenOptions::new()
        .write(true)
        .open(format!("/proc/{pid}/{}", ids.map()))
        .and_then(|mut file| file.write_all(mappings::text(mappings).as_bytes()))
        .map_err(Error::system("map ids in the user namespace for", path))
}

/// The end of the socket by which the holder is steered (see [`sys::hold_user_namespace`]).
struct Holder(OwnedFd);

impl Holder {
    /// The next number that the holder says.
    fn answer(&self, path: &Path) -> Result<i32, Error> {
        let mut number = [0; size_of::<i32>()];
        // The socket's end shows as an empty message, or as a reset if ours was not taken.
        match retry_on_intr(|| recv(&self.0, &mut number, RecvFlags::empty())) {
            Ok((length, _)) if length == number.len() => Ok(i32::from_ne_bytes(number)),
            Ok(_) | Err(rustix::io::Errno::CONNRESET) => Err(Error::HolderEnded {
                path: path.to_path_buf(),
            }),
            Err(errno) => Err(Error::system("hear of the namespaces for", path)(errno)),
        }
    }

    /// Lets the holder take its next step.
    fn go_on(&self, path: &Path) -> Result<(), Error> {
        match retry_on_intr(|| send(&self.0, &0_i32.to_ne_bytes(), SendFlags::NOSIGNAL)) {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::HolderEnded {
                path: path.to_path_buf(),
            }),
        }
    }
}

impl Drop for Holder {
    /// Ends the holder, whoever else may have a copy of the socket at the moment.
    fn drop(&mut self) {
        let _ = shutdown(&self.0, Shutdown::Both);
    }
}

/// Waits for a child that tells nobody of its end; none if there is nothing to wait for.
fn reap(pid: Pid) -> Option<WaitStatus> {
    loop {
        match waitpid(pid, Some(WaitPidFlag::__WALL)) {
            Err(Errno::EINTR) => {}
            answer => return answer.ok(),
        }
    }
}

#[cfg(test)]
mod tests;
