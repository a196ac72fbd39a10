//! The lock file: one process per journal, and it says who.
//!
//! sled has a lock of its own, which does not say who holds it, and which is
//! taken only after sled has begun to write.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::OpenError;
use crate::holder::Holder;

/// How long the lock of a holder that has ended is waited for: a child that it
/// has forked keeps the lock until it executes its own program.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause between two tries; the kernel cannot say who else holds a lock.
const AGAIN: Duration = Duration::from_millis(10);

/// A lock that is held until it is dropped. The file stays: deleting it would
/// let two processes lock two files of one name.
#[derive(Debug)]
pub(crate) struct LockFile {
    _file: File,
}

impl LockFile {
    /// Takes the lock, or says who has it.
    pub(crate) fn take(path: &Path) -> Result<Self, OpenError> {
        Self::take_within(path, PATIENCE)
    }

    fn take_within(path: &Path, patience: Duration) -> Result<Self, OpenError> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(OpenError::io("open", path))?;
        let begun = Instant::now();
        while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != Errno::WOULDBLOCK {
                return Err(OpenError::io("lock", path)(error.into()));
            }
            let holder = holder(&mut file);
            if !holder.has_ended() || begun.elapsed() >= patience {
                let path = path.to_owned();
                return Err(OpenError::Locked { path, holder });
            }
            std::thread::sleep(AGAIN);
        }
        sign(&mut file).map_err(OpenError::io("write", path))?;
        Ok(Self { _file: file })
    }
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    // Who waited has read the words of the holder before.
    file.rewind()?;
    file.write_all(Holder::this_process().text().as_bytes())
}

/// Who has signed. Unreadable is as good as not yet written: the lock is what
/// counts.
fn holder(file: &mut File) -> Holder {
    let mut text = String::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(4096).read_to_string(&mut text));
    if read.is_err() {
        text.clear();
    }
    Holder::parse(&text)
}

#[cfg(test)]
mod tests;
