//! Setting sysctls inside a namespace.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use crate::enter::inside;
use crate::error::Error;
use crate::user::{self, Owner};
use crate::{point, sight, sysctl};

/// The sysctl whose values are group ids: the kernel takes them as ids of the writer's own user
/// namespace.
const OF_GROUP_IDS: &str = "net.ipv4.ping_group_range";

/// Sets network sysctls in the namespace on `path`, in the order of their names. May be repeated.
///
/// `/proc/sys/net` shows the values of whichever namespace the thread that opens it is in. All names
/// and values are checked before the first is written; that they are permitted at all is for
/// [`check_sysctl`](crate::check_sysctl) to say. The first that the kernel refuses ends the call;
/// those before it stay set, and go with the namespace.
///
/// Ids in a value (`net.ipv4.ping_group_range`) are those of the user namespace that owns the
/// network, as if a process of the pod had set them: `0 0` is the pod's group 0, not the host's.
///
/// # Errors
/// [`Error::SysctlRefused`] before anything is written, [`Error::Sysctl`] when the kernel refuses
/// one; as [`enter`](crate::enter).
pub fn set_sysctls(path: &Path, sysctls: &BTreeMap<String, String>) -> Result<(), Error> {
    let mut writes = Vec::with_capacity(sysctls.len());
    for (name, value) in sysctls {
        let file = sysctl::network_file(name, value).map_err(|source| Error::SysctlRefused {
            path: path.to_path_buf(),
            source,
        })?;
        writes.push((name, value, file));
    }
    if writes.is_empty() {
        return Ok(());
    }
    let namespace = sight::open_namespace(path)?;
    let owner = user::owner(namespace.as_fd(), path)?;
    inside(namespace.as_fd(), path, || {
        for (name, value, file) in writes {
            let owner = match &owner {
                Owner::Beneath(owner) if name == OF_GROUP_IDS => Some(owner.as_fd()),
                _ => None,
            };
            write(&file, value, owner).map_err(|source| Error::Sysctl {
                name: name.clone(),
                value: value.clone(),
                path: path.to_path_buf(),
                source,
            })?;
            point::reached("netns.sysctl_set");
        }
        Ok(())
    })?
}

/// Writes a sysctl's file of the thread's network namespace, as a member of `owner` if there is one.
fn write(file: &str, value: &str, owner: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(file)?;
    match owner {
        Some(owner) => user::write_within(owner, &file, value.as_bytes()),
        None => file.write_all(value.as_bytes()),
    }
}
