//! Why a journal does not open, and what is said about one that does.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::holder::Holder;
use crate::meta::Census;

/// Why the journal was not opened. Nothing was changed in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it open.
    #[error("{} is in use by {holder} (stop that daemon, or use another state directory)", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who wrote the lock file last.
        holder: Holder,
    },
    /// The file system refused something.
    #[error("cannot {action} {}: {source} (check that the directory is writable and its disk is sound)", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// An opening without enough space could be cut half way.
    #[error("{} has {free} bytes free, opening needs {needed} (free some space)", path.display())]
    NoSpace {
        /// The directory.
        path: PathBuf,
        /// Bytes available there.
        free: u64,
        /// Bytes that an opening may write.
        needed: u64,
    },
    /// Values outside the log, which this store never writes.
    #[error("{} is not empty, and this store never writes there (restore the directory from a copy)", path.display())]
    Blobs {
        /// The directory of blobs.
        path: PathBuf,
    },
    /// There is no journal there, and none was asked to be made.
    #[error("there is no journal in {} (is this the state directory?)", path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// The file does not read, as a whole.
    #[error("the journal in {} is damaged: {detail} (restore the directory from a copy, or move it away to start without the pods in it)", path.display())]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// It has not opened in time. The attempt may still be running, and holds
    /// the journal until this process ends.
    #[error("the journal in {} has not opened within {deadline:?} (its disk hangs, or its file is damaged: look at the disk, then restart)", path.display())]
    Hung {
        /// The directory.
        path: PathBuf,
        /// How long it was given.
        deadline: Duration,
    },
}

/// Something that an operator should know, and that refuses nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// What is there is not what was written: something was lost, or came
    /// back. Look for orphans on the host.
    #[error("the journal holds {} values where {} were written: look for orphans on the host", found.pairs, written.pairs)]
    CensusMismatch {
        /// What the last batch wrote.
        written: Census,
        /// What was found.
        found: Census,
    },
    /// The bookkeeping is missing. Every store is made with it.
    #[error("the journal has lost its bookkeeping; {} values are there: look for orphans on the host", found.pairs)]
    CensusMissing {
        /// What was found.
        found: Census,
    },
    /// The journal ends before what is known to have been on the platter:
    /// its file is damaged, or was replaced by an older one. Look for orphans
    /// on the host.
    #[error(
        "the journal ends at batch {found}, and batch {written} was on the disk: look for orphans on the host, and at the disk"
    )]
    RolledBack {
        /// The batch of the last mark.
        written: u64,
        /// The last batch that was found.
        found: u64,
    },
    /// An opening was cut before; what it left was deleted.
    #[error("an earlier opening was interrupted: {file} was deleted")]
    InterruptedOpening {
        /// The file's name.
        file: String,
    },
    /// Keys that no release wrote; they are left alone.
    #[error("{count} keys are of no known kind, and were left alone")]
    UnknownKeys {
        /// How many.
        count: u64,
    },
}

/// What an opening found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Pods with records that decode.
    pub pods: usize,
    /// Their records.
    pub records: usize,
    /// Obituaries.
    pub obituaries: usize,
    /// Pods that do not decode.
    pub quarantined: usize,
    /// What an operator should know.
    pub warnings: Vec<Warning>,
}

impl Warning {
    /// Whether records are missing, or came back.
    pub fn is_loss(&self) -> bool {
        matches!(
            self,
            Warning::CensusMismatch { .. }
                | Warning::CensusMissing { .. }
                | Warning::RolledBack { .. }
        )
    }
}

impl OpenError {
    /// Whether a sync has failed: then nobody knows what is on the platter, and
    /// a second one that succeeds would say nothing.
    pub(crate) fn is_failed_sync(&self) -> bool {
        matches!(self, Self::Io { action: "sync", .. })
    }

    /// An [`OpenError::Io`] in waiting: for `map_err`.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

#[cfg(test)]
mod tests;
