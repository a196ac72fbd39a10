//! A few bytes beside sled's file that say how far the journal has been.
//!
//! When a byte inside its log is damaged, sled may take what lies before it
//! for all there ever was: an older state, consistent in itself, bookkeeping
//! and all. So each barrier is followed by a mark in a file of its own. It is
//! written after the barrier and not synced, hence never ahead of the platter,
//! and a journal that ends before its mark has lost something. Openings and
//! the orderly end do sync it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::meta::Meta;

const MAGIC: [u8; 4] = *b"PWLM";
/// Magic, epoch, batches, checksum.
const BYTES: usize = 24;

/// How far the journal has been, at least.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The number of openings.
    pub(crate) epoch: u64,
    /// The number of batches on the platter.
    pub(crate) batches: u64,
}

impl Mark {
    /// That the batches of this bookkeeping are on the platter.
    pub(crate) fn of(epoch: u64, meta: &Meta) -> Self {
        Self {
            epoch,
            batches: meta.batches,
        }
    }

    fn bytes(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..12].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.batches.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..20]);
        bytes[20..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// None for anything that is not a whole mark: then nothing is known, as
    /// before the first opening.
    fn parse(bytes: &[u8]) -> Option<Mark> {
        let (head, checksum) = bytes.split_last_chunk::<4>()?;
        let (magic, fields) = head.split_first_chunk::<4>()?;
        if *magic != MAGIC || crc32c::crc32c(head).to_le_bytes() != *checksum {
            return None;
        }
        let (epoch, batches) = fields.split_first_chunk()?;
        Some(Mark {
            epoch: u64::from_le_bytes(*epoch),
            batches: u64::from_le_bytes(batches.try_into().ok()?),
        })
    }

    /// The mark in that file; without one, or with a torn one, zeros.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub(crate) fn read(path: &Path) -> io::Result<Mark> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Mark::parse(&bytes).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Mark::default()),
            Err(error) => Err(error),
        }
    }
}

/// The file, open for as long as the journal is.
#[derive(Debug)]
pub(crate) struct MarkFile(File);

impl MarkFile {
    /// Opens, or makes, the file.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        options.open(path).map(Self)
    }

    /// Sets the mark in place: it fits into one sector, and a torn one counts
    /// as none.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn set(&self, mark: Mark) -> io::Result<()> {
        self.0.write_all_at(&mark.bytes(), 0)
    }

    /// Puts it on the platter.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

#[cfg(test)]
mod tests;
