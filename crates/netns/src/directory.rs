//! The directory of namespace files, and whose mount table we stand in.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};

use crate::error::Error;
use crate::mountinfo::{self, Mount};
use crate::point;
use crate::unpin::{unlink, unpin};

/// One name that [`sweep`] took away, or tried to.
#[derive(Debug)]
pub struct Swept {
    /// The namespace file.
    pub path: PathBuf,
    /// Whether it is gone.
    pub outcome: Result<(), Error>,
}

/// Makes `directory` if it is missing, and a shared mount if it is none.
///
/// What is mounted beneath a shared mount shows in every mount namespace that has a copy of it, and
/// so does its unmount: otherwise a service that was started with mounts of its own would hold our
/// namespaces for ever. If the directory is no mount it is bound on itself, once: repeating the call
/// changes nothing. It gets a peer group of its own, so that its mounts do not show a second time on
/// the directory beneath. A symbolic link on the way (`/var/run`) is followed.
///
/// A bind would hide what is mounted beneath already, which are other clients' namespaces. Then the
/// directory stays as it is: as shared as the mount that it lies in, which is on most machines.
///
/// # Errors
/// [`Error::System`] naming the step, [`Error::MountTable`].
pub fn share_directory(directory: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(directory).map_err(Error::system("make the directory", directory))?;
    point::reached("netns.directory_made");
    let resolved = directory
        .canonicalize()
        .map_err(Error::system("resolve", directory))?;
    let lock = File::open(&resolved).map_err(Error::system("open", directory))?;
    flock(&lock, FlockOperation::LockExclusive).map_err(Error::system("lock", directory))?;
    let table = mountinfo::read()?;
    match topmost_on(&table, &resolved) {
        Some(mount) if mount.shared => return Ok(()),
        Some(_) => {}
        None if holds_mounts(&table, &resolved) => {
            if !lies_in_shared(&table, &resolved) {
                tracing::warn!(
                    directory = %resolved.display(),
                    "not made a shared mount, which would hide what is mounted beneath it"
                );
            }
            return Ok(());
        }
        None => bind_on_itself(&resolved)?,
    }
    mount_change(&resolved, MountPropagationFlags::SHARED)
        .map_err(Error::system("share the mount", &resolved))?;
    point::reached("netns.directory_shared");
    Ok(())
}

/// Whether this process stands in the mount namespace of process 1.
///
/// Elsewhere a pinned namespace goes when the last process of that mount namespace goes.
///
/// # Errors
/// [`Error::System`] if `/proc` does not show both.
pub fn is_host_mount_namespace() -> Result<bool, Error> {
    let identify = |path: &str| {
        let path = Path::new(path);
        let metadata =
            std::fs::metadata(path).map_err(Error::system("look at the mount namespace", path))?;
        Ok((metadata.dev(), metadata.ino()))
    };
    Ok(identify("/proc/self/ns/mnt")? == identify("/proc/1/ns/mnt")?)
}

/// After a reboot, or where a node was restarted: unpins and removes each name that `belongs` to us.
///
/// One that fails does not stop the others. What carries another's name is not looked at. A missing
/// directory is an empty one.
///
/// # Errors
/// [`Error::System`] if the directory cannot be read.
pub fn sweep(directory: &Path, belongs: impl Fn(&str) -> bool) -> Result<Vec<Swept>, Error> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::system("read the directory", directory)(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::system("read the directory", directory))?;
        if entry.file_name().to_str().is_some_and(&belongs) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    let clear = |path: PathBuf| Swept {
        outcome: unpin(&path).and_then(|()| unlink(&path)),
        path,
    };
    Ok(paths.into_iter().map(clear).collect())
}

/// Binds the directory on itself, in a peer group of its own.
fn bind_on_itself(resolved: &Path) -> Result<(), Error> {
    mount_bind(resolved, resolved).map_err(Error::system("bind on itself", resolved))?;
    point::reached("netns.directory_bound");
    // A bind joins the peer group that it was copied from: leave that before sharing anew.
    mount_change(resolved, MountPropagationFlags::PRIVATE)
        .map_err(Error::system("make private the mount", resolved))?;
    point::reached("netns.directory_private");
    Ok(())
}

/// Whether something is mounted beneath `directory`.
fn holds_mounts(table: &[Mount], directory: &Path) -> bool {
    let beneath = |mount: &Mount| mount.point != directory && mount.point.starts_with(directory);
    table.iter().any(beneath)
}

/// Whether the mount that `directory` lies in is shared. Of several on one point the last one that
/// the table shows is on top.
fn lies_in_shared(table: &[Mount], directory: &Path) -> bool {
    let around = table
        .iter()
        .filter(|mount| directory.starts_with(&mount.point));
    let nearest = around.max_by_key(|mount| mount.point.components().count());
    nearest.is_some_and(|mount| mount.shared)
}

/// The mount on exactly `point` that nothing else lies on.
fn topmost_on<'table>(table: &'table [Mount], point: &Path) -> Option<&'table Mount> {
    let mut on = table.iter().filter(|mount| mount.point == point);
    on.clone()
        .find(|mount| !on.any(|other| other.parent == mount.id))
}

#[cfg(test)]
mod tests;
