//! Which network namespace it is.
//!
//! nsfs hands out inode numbers that were freed a moment ago: the next namespace but two may carry
//! the number of one that is gone. So a namespace is named by the boot it lives in, its inode, and
//! its cookie, a number that the kernel gives to one namespace per boot and never again.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::error::Error;
use crate::{enter, sys};

/// Where the kernel tells its boot id.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What tells one network namespace from every other, of this boot and of all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The boot it lives in: the UUID of `/proc/sys/kernel/random/boot_id`.
    pub boot_id: [u8; 16],
    /// The device number of nsfs, as `stat(2)` gives it.
    pub device: u64,
    /// Its inode number on nsfs. Reused soon after the namespace is gone.
    pub inode: u64,
    /// `SO_NETNS_COOKIE` of a socket made inside (kernel 5.14). Never reused within a boot.
    pub cookie: u64,
}

/// The id of this boot, read anew each time.
///
/// # Errors
/// [`Error::System`] if procfs cannot be read, [`Error::BootId`] if it holds no UUID.
pub fn boot_id() -> Result<[u8; 16], Error> {
    let text =
        std::fs::read_to_string(BOOT_ID).map_err(Error::system("read", Path::new(BOOT_ID)))?;
    parse_boot_id(text.trim_end())
}

/// The identity of the open network namespace `namespace`, whose file is `path`.
pub(crate) fn of(namespace: BorrowedFd<'_>, path: &Path) -> Result<Identity, Error> {
    let cookie = enter::inside(namespace, path, || cookie_here(path))??;
    with_cookie(namespace, path, cookie)
}

/// The identity of the namespace that the calling thread is in, whose file will be `path`.
pub(crate) fn of_this_thread(namespace: BorrowedFd<'_>, path: &Path) -> Result<Identity, Error> {
    with_cookie(namespace, path, cookie_here(path)?)
}

fn with_cookie(namespace: BorrowedFd<'_>, path: &Path, cookie: u64) -> Result<Identity, Error> {
    let stat = rustix::fs::fstat(namespace).map_err(Error::system("look at", path))?;
    Ok(Identity {
        boot_id: boot_id()?,
        device: stat.st_dev,
        inode: stat.st_ino,
        cookie,
    })
}

/// The cookie of the namespace that the calling thread is in. A unix socket is the cheapest one.
fn cookie_here(path: &Path) -> Result<u64, Error> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(Error::system("make a socket in the namespace on", path))?;
    sys::namespace_cookie(socket.as_fd()).map_err(Error::system("read the cookie of", path))
}

/// Reads a UUID in its usual form: 32 hexadecimal digits with four dashes.
fn parse_boot_id(text: &str) -> Result<[u8; 16], Error> {
    let bad = || Error::BootId {
        found: text.to_owned(),
    };
    let well_formed = text.len() == 36
        && text.char_indices().all(|(at, digit)| match at {
            8 | 13 | 18 | 23 => digit == '-',
            _ => digit.is_ascii_hexdigit(),
        });
    if !well_formed {
        return Err(bad());
    }
    let value = u128::from_str_radix(&text.replace('-', ""), 16).map_err(|_| bad())?;
    Ok(value.to_be_bytes())
}

#[cfg(test)]
mod tests;
