//! Taking a namespace off its file, and the file away.

use std::path::Path;

use rustix::fs::{AtFlags, CWD, unlinkat};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use crate::error::Error;
use crate::foreign::Foreign;
use crate::mountinfo;
use crate::point;
use crate::sight::{self, Kind};

/// Unmounts `path` until nothing is mounted on it; the file stays.
///
/// Succeeds, and may be repeated, where there is nothing to do: no file, a plain file, a symbolic
/// link (which is not followed). The unmount is lazy: who still holds the namespace (a process in
/// it, a copy of the mount in another mount namespace) keeps it alive, but no longer on this file.
/// The kernel takes the namespace apart later; that is not waited for.
///
/// # Errors
/// [`Error::Foreign`] for a directory with a mount on it, which can be none of ours;
/// [`Error::StillMounted`] if mounts are left that cannot be reached by the path; [`Error::System`],
/// [`Error::NotAbsolute`] and [`Error::MountTable`].
pub fn unpin(path: &Path) -> Result<(), Error> {
    let Some(place) = sight::resolve(path)? else {
        return Ok(());
    };
    refuse_mounted_directory(path)?;
    // A link in the last component answers EINVAL under NOFOLLOW, as does a file without a mount.
    loop {
        match unmount(
            &place.resolved,
            UnmountFlags::DETACH | UnmountFlags::NOFOLLOW,
        ) {
            Ok(()) => point::reached("netns.unmounted"),
            Err(Errno::INVAL | Errno::NOENT) => break,
            Err(errno) => return Err(Error::system("unmount", path)(errno)),
        }
    }
    match mountinfo::count_on(&mountinfo::read()?, &place.resolved) {
        0 => Ok(()),
        mounts => Err(Error::StillMounted {
            path: path.to_path_buf(),
            mounts,
        }),
    }
}

/// Removes the placeholder `path`; a file that is gone is success.
///
/// # Errors
/// [`Error::Mounted`] while something is mounted on it, [`Error::Foreign`] for anything but an empty
/// plain file (it is left alone), [`Error::System`] and [`Error::NotAbsolute`].
pub fn unlink(path: &Path) -> Result<(), Error> {
    let Some(sight) = sight::look(path)? else {
        return Ok(());
    };
    if sight.mounted {
        return Err(Error::Mounted {
            path: path.to_path_buf(),
        });
    }
    match sight.kind(path)? {
        Kind::Placeholder => {}
        Kind::Namespace(_) => {
            return Err(Error::Mounted {
                path: path.to_path_buf(),
            });
        }
        Kind::Foreign(found) => {
            return Err(Error::Foreign {
                path: path.to_path_buf(),
                found,
            });
        }
    }
    match unlinkat(CWD, path, AtFlags::empty()) {
        Ok(()) => point::reached("netns.unlinked"),
        Err(Errno::NOENT) => {}
        // Mounted on where the path does not show it: beneath another mount of the directory.
        Err(Errno::BUSY) => {
            return Err(Error::Mounted {
                path: path.to_path_buf(),
            });
        }
        Err(errno) => return Err(Error::system("remove", path)(errno)),
    }
    Ok(())
}

fn refuse_mounted_directory(path: &Path) -> Result<(), Error> {
    let Some(sight) = sight::look(path)?.filter(|sight| sight.mounted) else {
        return Ok(());
    };
    match sight.kind(path)? {
        Kind::Foreign(found @ Foreign::Directory) => Err(Error::Foreign {
            path: path.to_path_buf(),
            found,
        }),
        Kind::Placeholder | Kind::Namespace(_) | Kind::Foreign(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
