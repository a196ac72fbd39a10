//! Looking at a path without touching what is there.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::libc;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use crate::error::Error;
use crate::foreign::Foreign;
use crate::sys;

/// `NSFS_MAGIC` of `linux/magic.h`: the file system that namespaces are files of.
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// A path whose last component is literal and whose directory is resolved, as the mount table
/// shows it (`/var/run/netns/x` is `/run/netns/x` there).
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The directory without symbolic links, joined with the file's name.
    pub(crate) resolved: PathBuf,
}

/// What was seen at a path. Holds on to the object, so that a later step means the same one.
pub(crate) struct Sight {
    /// An `O_PATH` descriptor of the object, mounts on the path included.
    object: OwnedFd,
    /// The id of the mount it lies on.
    pub(crate) mount: u64,
    /// Whether something is mounted exactly here.
    pub(crate) mounted: bool,
    /// Device and inode.
    pub(crate) object_id: (u64, u64),
}

/// What the object is.
pub(crate) enum Kind {
    /// An empty regular file with nothing mounted on it: a placeholder.
    Placeholder,
    /// A network namespace, opened.
    Namespace(OwnedFd),
    /// Anything else.
    Foreign(Foreign),
}

/// Resolves `path`'s directory; `None` if that does not exist.
pub(crate) fn resolve(path: &Path) -> Result<Option<Place>, Error> {
    let (Some(directory), Some(name), true) = (path.parent(), path.file_name(), path.is_absolute())
    else {
        return Err(Error::NotAbsolute {
            path: path.to_path_buf(),
        });
    };
    match directory.canonicalize() {
        Ok(directory) => Ok(Some(Place {
            resolved: directory.join(name),
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::system("resolve the directory of", path)(error)),
    }
}

/// Looks at `path`, never through a symbolic link at its end; `None` if nothing is there.
pub(crate) fn look(path: &Path) -> Result<Option<Sight>, Error> {
    let Some(place) = resolve(path)? else {
        return Ok(None);
    };
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let object = match rustix::fs::openat(CWD, &place.resolved, flags, Mode::empty()) {
        Ok(object) => object,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(Error::system("look at", path)(errno)),
    };
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    let seen = rustix::fs::statx(&object, "", AtFlags::EMPTY_PATH, wanted)
        .map_err(Error::system("look at", path))?;
    let stat = rustix::fs::fstat(&object).map_err(Error::system("look at", path))?;
    Ok(Some(Sight {
        object,
        mount: seen.stx_mnt_id,
        mounted: seen.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
        object_id: (stat.st_dev, stat.st_ino),
    }))
}

/// Opens the network namespace on `path`.
pub(crate) fn open_namespace(path: &Path) -> Result<OwnedFd, Error> {
    let sight = look(path)?.ok_or_else(|| Error::Missing {
        path: path.to_path_buf(),
    })?;
    match sight.kind(path)? {
        Kind::Namespace(namespace) => Ok(namespace),
        Kind::Placeholder => Err(Error::NotPinned {
            path: path.to_path_buf(),
        }),
        Kind::Foreign(found) => Err(Error::Foreign {
            path: path.to_path_buf(),
            found,
        }),
    }
}

impl Sight {
    /// What the object is; `path` is what errors name.
    pub(crate) fn kind(&self, path: &Path) -> Result<Kind, Error> {
        let system = fstatfs_magic(&self.object).map_err(Error::system("look at", path))?;
        if system == NSFS_MAGIC {
            return self.namespace(path);
        }
        let stat = rustix::fs::fstat(&self.object).map_err(Error::system("look at", path))?;
        let bytes = u64::try_from(stat.st_size).unwrap_or(0);
        let foreign = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => Foreign::SymbolicLink,
            FileType::Directory => Foreign::Directory,
            _ if self.mounted => Foreign::OtherMount { magic: system },
            FileType::RegularFile if bytes == 0 => return Ok(Kind::Placeholder),
            FileType::RegularFile => Foreign::NotEmpty { bytes },
            _ => Foreign::Special,
        };
        Ok(Kind::Foreign(foreign))
    }

    /// Opens the same object for reading, for `flock(2)` or an ioctl.
    pub(crate) fn reopen(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Ok(rustix::fs::openat(
            CWD,
            self.proc_path(),
            flags,
            Mode::empty(),
        )?)
    }

    /// A name of the object that means it for as long as this lives, whatever happens to its path.
    pub(crate) fn proc_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.object.as_raw_fd()))
    }

    fn namespace(&self, path: &Path) -> Result<Kind, Error> {
        let namespace = self.reopen().map_err(Error::system("open", path))?;
        let kind = sys::namespace_kind(namespace.as_fd())
            .map_err(Error::system("ask the kind of the namespace on", path))?;
        Ok(match kind {
            libc::CLONE_NEWNET => Kind::Namespace(namespace),
            other => Kind::Foreign(Foreign::OtherNamespace(kind_name(other))),
        })
    }
}

/// The magic number of the file system that `object` lies on.
pub(crate) fn fstatfs_magic(object: &OwnedFd) -> io::Result<u64> {
    let magic = rustix::fs::fstatfs(object)?.f_type;
    Ok(u64::try_from(magic).unwrap_or(u64::MAX))
}

/// The name under which `/proc/PID/ns` shows a kind of namespace.
fn kind_name(kind: i32) -> &'static str {
    match kind {
        libc::CLONE_NEWNS => "mnt",
        libc::CLONE_NEWCGROUP => "cgroup",
        libc::CLONE_NEWUTS => "uts",
        libc::CLONE_NEWIPC => "ipc",
        libc::CLONE_NEWUSER => "user",
        libc::CLONE_NEWPID => "pid",
        libc::CLONE_NEWTIME => "time",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests;
