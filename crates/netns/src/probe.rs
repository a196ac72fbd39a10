//! What is on a sandbox key's path, found out without touching it.

use std::os::fd::AsFd;
use std::path::Path;

use crate::error::Error;
use crate::foreign::Foreign;
use crate::identity::{self, Identity};
use crate::mountinfo;
use crate::sight::{self, Kind};

/// What was found on a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing, or not even the directory.
    Missing,
    /// A placeholder: an empty plain file with nothing mounted on it.
    Empty,
    /// Something that is neither a placeholder nor a network namespace.
    Foreign(Foreign),
    /// A network namespace.
    Namespace {
        /// Which one; compare it with the recorded one before trusting it.
        identity: Identity,
        /// How many mounts are stacked on the file. 1 is as it should be; more is what a repeated
        /// bind leaves, and [`unpin`](crate::unpin) takes all of them away. 0 means that the file
        /// is a namespace without a mount of its own on it.
        mounts: u32,
    },
}

/// Looks at `path`. Changes nothing: no mount, no file, and no thread of the caller's.
///
/// # Errors
/// [`Error::NotAbsolute`], [`Error::System`], [`Error::Thread`] or [`Error::MountTable`] if it cannot
/// be found out; [`Error::Exchanged`] if the mount went away during the look.
pub fn probe(path: &Path) -> Result<Found, Error> {
    let Some(sight) = sight::look(path)? else {
        return Ok(Found::Missing);
    };
    let namespace = match sight.kind(path)? {
        Kind::Placeholder => return Ok(Found::Empty),
        Kind::Foreign(foreign) => return Ok(Found::Foreign(foreign)),
        Kind::Namespace(namespace) => namespace,
    };
    let identity = identity::of(namespace.as_fd(), path)?;
    if !sight.mounted {
        return Ok(Found::Namespace {
            identity,
            mounts: 0,
        });
    }
    match mountinfo::stack_depth(&mountinfo::read()?, sight.mount) {
        0 => Err(Error::Exchanged {
            path: path.to_path_buf(),
        }),
        mounts => Ok(Found::Namespace { identity, mounts }),
    }
}

/// Whether the namespace `identity` is on `path`, however often it is mounted there. Changes
/// nothing. It costs the same however many mounts the machine has, unlike [`probe`].
///
/// # Errors
/// As [`probe`], but for the mount table's.
pub fn is_on(path: &Path, identity: &Identity) -> Result<bool, Error> {
    let Some(sight) = sight::look(path)? else {
        return Ok(false);
    };
    let number = (identity.device, identity.inode);
    if sight.object_id != number {
        return Ok(false);
    }
    match sight.kind(path)? {
        Kind::Namespace(namespace) => Ok(identity::of(namespace.as_fd(), path)? == *identity),
        Kind::Placeholder | Kind::Foreign(_) => Ok(false),
    }
}
