//! The lock file: one process per journal, and it says who.
//!
//! sled has a lock of its own, which does not say who holds it, and which is
//! taken only after sled has begun to write.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::OpenError;
use crate::holder::Holder;

/// A lock that is held until it is dropped. The file stays: deleting it would
/// let two processes lock two files of one name.
#[derive(Debug)]
pub(crate) struct LockFile {
    _file: File,
}

impl LockFile {
    /// Takes the lock, or says who has it.
    pub(crate) fn take(path: &Path) -> Result<Self, OpenError> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(OpenError::io("open", path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(locked(path.to_owned(), &mut file)),
            Err(error) => return Err(OpenError::io("lock", path)(error.into())),
        }
        sign(&mut file).map_err(OpenError::io("write", path))?;
        Ok(Self { _file: file })
    }
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.write_all(Holder::this_process().text().as_bytes())
}

fn locked(path: PathBuf, file: &mut File) -> OpenError {
    let mut text = String::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(4096).read_to_string(&mut text));
    // Unreadable is as good as not yet written: the lock is what counts.
    if read.is_err() {
        text.clear();
    }
    OpenError::Locked {
        path,
        holder: Holder::parse(&text),
    }
}

#[cfg(test)]
mod tests;
