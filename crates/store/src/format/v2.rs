//! Format version 2, frozen: late attachments.
//!
//! An attachment of the network plan says whether it is late, and AttachLate
//! answers with results. All else is as in [version 1](super::v1), whose layouts
//! are part of this one.

use podwalk_engine::{pod, record};

use super::v1::Frozen;

mod pods;
mod records;
mod steps;

pub(super) use pods::Obituary;
pub(super) use records::Record;

/// A record as it is written.
pub(super) fn freeze_record(live: record::Record) -> Record {
    Record::freeze(live)
}

/// A record as it was read.
pub(super) fn thaw_record(frozen: Record) -> record::Record {
    frozen.thaw()
}

/// An obituary as it is written.
pub(super) fn freeze_obituary(live: pod::Obituary) -> Obituary {
    Obituary::freeze(live)
}

/// An obituary as it was read.
pub(super) fn thaw_obituary(frozen: Obituary) -> pod::Obituary {
    frozen.thaw()
}
