//! What can stand on a sandbox key's path that is neither a placeholder nor a pinned namespace.

use std::fmt;

/// Something on a namespace file's path that this crate did not put there and does not touch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Foreign {
    /// A symbolic link. It is never followed: its target belongs to somebody else.
    SymbolicLink,
    /// A directory.
    Directory,
    /// A plain file with something in it; placeholders are empty.
    NotEmpty {
        /// The file's size in bytes.
        bytes: u64,
    },
    /// A fifo, a socket or a device.
    Special,
    /// A namespace of another kind, by the name that `/proc/PID/ns` gives it (`mnt`, `pid`, …).
    OtherNamespace(&'static str),
    /// A mount of another file system on the file, by its magic number (`statfs(2)`).
    OtherMount {
        /// The file system's magic number.
        magic: u64,
    },
}

impl fmt::Display for Foreign {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SymbolicLink => out.write_str("a symbolic link"),
            Self::Directory => out.write_str("a directory"),
            Self::NotEmpty { bytes } => write!(out, "a file with {bytes} bytes in it"),
            Self::Special => out.write_str("a fifo, socket or device"),
            Self::OtherNamespace(kind) => write!(out, "a namespace of the kind '{kind}'"),
            Self::OtherMount { magic } => {
                write!(out, "a mount of another file system (magic {magic:#x})")
            }
        }
    }
}
