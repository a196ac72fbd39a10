//! The bytes of a record: an envelope that never changes, around a payload
//! whose layout is frozen per format version. `FORMAT.md` has the tables.
//!
//! The envelope is checked first, magic, length and checksum, then the
//! version, and only then is the payload looked at. So damage is never taken
//! for an unknown version, nor a newer version for damage.

use podwalk_engine::clock::Stamp;
use podwalk_engine::id::{BootId, PodId};
use podwalk_engine::pod::Obituary;
use podwalk_engine::record::{Entry, Record};

mod codec;
mod v1;
mod v2;

/// The version that this build writes.
pub const FORMAT_VERSION: u16 = 2;
/// The envelope in front of every payload, bytes.
pub const ENVELOPE_BYTES: usize = 70;
/// The largest record, envelope included, bytes.
pub const RECORD_LIMIT: usize = 384 << 10;
/// The largest snapshot or obituary, envelope included, bytes: they hold all
/// that several records held.
pub const SNAPSHOT_LIMIT: usize = 768 << 10;

const RECORD_MAGIC: [u8; 4] = *b"PWLK";
const OBITUARY_MAGIC: [u8; 4] = *b"PWLO";
/// Where the checksum stands: the last four bytes of the envelope.
const CHECKSUM_AT: usize = ENVELOPE_BYTES - 4;

/// What an envelope says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The version of the payload's layout.
    pub version: u16,
    /// The pod.
    pub pod: PodId,
    /// The record's number within the pod; of an obituary, the number of the
    /// pod's next record.
    pub sequence: u64,
    /// When it was made.
    pub stamp: Stamp,
    /// The payload, not decoded.
    pub payload: &'a [u8],
}

/// Why bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They do not begin as a record does.
    #[error("no record begins here: the magic is {found:02x?}")]
    BadMagic {
        /// What stands in its place.
        found: [u8; 4],
    },
    /// They end before the record does.
    #[error("the record is cut short: {found} of {expected} bytes are there")]
    Truncated {
        /// How many are there.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// They go on after the record's end.
    #[error("{bytes} bytes follow the record's end")]
    Trailing {
        /// How many follow.
        bytes: usize,
    },
    /// The length is beyond the format's limit.
    #[error("the record says it has {bytes} bytes; the limit is {limit}")]
    TooLarge {
        /// What it says.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Some bit is not as it was written.
    #[error("the checksum is {found:08x}, the record says {expected:08x}")]
    Checksum {
        /// Of the bytes that are there.
        found: u32,
        /// As it was written.
        expected: u32,
    },
    /// A newer release wrote it.
    #[error(
        "the format version is {found}, this release knows up to {FORMAT_VERSION} (run the release that wrote it)"
    )]
    NewerVersion {
        /// Its version.
        found: u16,
    },
    /// No release wrote this version.
    #[error("the format version is {found}, which was never released")]
    UnknownVersion {
        /// Its version.
        found: u16,
    },
    /// The payload is not what its version says.
    #[error("the payload does not decode: {detail}")]
    Payload {
        /// Where it stopped.
        detail: String,
    },
}

/// A record larger than the format allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record of {bytes} bytes is larger than the limit of {limit}")]
pub struct TooLarge {
    /// Its size with envelope, bytes.
    pub bytes: usize,
    /// The limit, bytes.
    pub limit: usize,
}

/// The bytes of one record, in the newest format.
///
/// # Errors
/// [`TooLarge`] over [`RECORD_LIMIT`], or [`SNAPSHOT_LIMIT`] for a snapshot.
pub fn encode(entry: Entry) -> Result<Vec<u8>, TooLarge> {
    let limit = match entry.record {
        Record::Snapshot(_) => SNAPSHOT_LIMIT,
        _ => RECORD_LIMIT,
    };
    let mut bytes = open_envelope(RECORD_MAGIC, entry.pod, entry.sequence, &entry.stamp);
    codec::write(&v2::freeze_record(entry.record), &mut bytes);
    seal(bytes, limit)
}

/// The bytes of one obituary, in the newest format.
///
/// # Errors
/// [`TooLarge`] over [`SNAPSHOT_LIMIT`].
pub fn encode_obituary(obituary: Obituary) -> Result<Vec<u8>, TooLarge> {
    let pod = &obituary.pod;
    let mut bytes = open_envelope(OBITUARY_MAGIC, pod.id, pod.next_sequence, &pod.last);
    codec::write(&v2::freeze_obituary(obituary), &mut bytes);
    seal(bytes, SNAPSHOT_LIMIT)
}

/// Reads one record of any format that was ever released.
///
/// # Errors
/// [`DecodeError`] for all other bytes; never a panic, and never more memory
/// than a small multiple of the input.
pub fn decode(bytes: &[u8]) -> Result<Entry, DecodeError> {
    let envelope = open(bytes, RECORD_MAGIC)?;
    let record = match envelope.version {
        1 => v2::thaw_record(codec::read::<v1::records::Record>(envelope.payload)?.into()),
        2 => v2::thaw_record(codec::read(envelope.payload)?),
        other => return Err(unknown_version(other)),
    };
    Ok(Entry {
        pod: envelope.pod,
        sequence: envelope.sequence,
        stamp: envelope.stamp,
        record,
    })
}

/// Reads one obituary of any format that was ever released.
///
/// # Errors
/// As for [`decode`].
pub fn decode_obituary(bytes: &[u8]) -> Result<Obituary, DecodeError> {
    let envelope = open(bytes, OBITUARY_MAGIC)?;
    match envelope.version {
        1 => {
            let earlier = codec::read::<v1::pods::Obituary>(envelope.payload)?;
            Ok(v2::thaw_obituary(earlier.into()))
        }
        2 => Ok(v2::thaw_obituary(codec::read(envelope.payload)?)),
        other => Err(unknown_version(other)),
    }
}

/// Reads a record's envelope, whatever its version, and leaves the payload
/// alone: what can be said of a record that does not decode.
///
/// # Errors
/// [`DecodeError`] if the envelope is damaged.
pub fn envelope(bytes: &[u8]) -> Result<Envelope<'_>, DecodeError> {
    open(bytes, RECORD_MAGIC)
}

/// What the envelope of a record or an obituary says, with nothing verified:
/// for people who look at damage. None where there are too few bytes for one.
pub fn claimed(bytes: &[u8]) -> Option<Envelope<'_>> {
    let mut fields = Fields(bytes);
    fields.take::<4>()?;
    let (version, pod, sequence, stamp, _, _) = read_head(&mut fields)?;
    Some(Envelope {
        version,
        pod,
        sequence,
        stamp,
        payload: fields.0,
    })
}

fn unknown_version(found: u16) -> DecodeError {
    if found > FORMAT_VERSION {
        DecodeError::NewerVersion { found }
    } else {
        DecodeError::UnknownVersion { found }
    }
}

fn open_envelope(magic: [u8; 4], pod: PodId, sequence: u64, stamp: &Stamp) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(&magic);
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&pod.0);
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&stamp.boot.0);
    bytes.extend_from_slice(&stamp.wall_ns.to_le_bytes());
    bytes.extend_from_slice(&stamp.boottime_ns.to_le_bytes());
    // Length and checksum: written by `seal`, when they are known.
    bytes.extend_from_slice(&[0; 8]);
    debug_assert_eq!(bytes.len(), ENVELOPE_BYTES);
    bytes
}

fn seal(mut bytes: Vec<u8>, limit: usize) -> Result<Vec<u8>, TooLarge> {
    let payload = bytes.len() - ENVELOPE_BYTES;
    let (Ok(length), true) = (u32::try_from(payload), bytes.len() <= limit) else {
        return Err(TooLarge {
            bytes: bytes.len(),
            limit,
        });
    };
    bytes[CHECKSUM_AT - 4..CHECKSUM_AT].copy_from_slice(&length.to_le_bytes());
    let checksum = checksum(&bytes);
    bytes[CHECKSUM_AT..ENVELOPE_BYTES].copy_from_slice(&checksum.to_le_bytes());
    Ok(bytes)
}

/// CRC32C over everything but the checksum itself.
fn checksum(bytes: &[u8]) -> u32 {
    let head = crc32c::crc32c(&bytes[..CHECKSUM_AT]);
    crc32c::crc32c_append(head, &bytes[ENVELOPE_BYTES..])
}

fn open(bytes: &[u8], magic: [u8; 4]) -> Result<Envelope<'_>, DecodeError> {
    let mut fields = Fields(bytes);
    let found = fields.take().ok_or_else(|| cut_short(bytes))?;
    if found != magic {
        return Err(DecodeError::BadMagic { found });
    }
    let (version, pod, sequence, stamp, length, expected) =
        read_head(&mut fields).ok_or_else(|| cut_short(bytes))?;
    check_length(bytes, length as usize)?;
    let found = checksum(bytes);
    if found != expected {
        return Err(DecodeError::Checksum { found, expected });
    }
    Ok(Envelope {
        version,
        pod,
        sequence,
        stamp,
        payload: fields.0,
    })
}

fn read_head(fields: &mut Fields<'_>) -> Option<(u16, PodId, u64, Stamp, u32, u32)> {
    Some((
        u16::from_le_bytes(fields.take()?),
        PodId(fields.take()?),
        u64::from_le_bytes(fields.take()?),
        Stamp {
            boot: BootId(fields.take()?),
            wall_ns: u64::from_le_bytes(fields.take()?),
            boottime_ns: u64::from_le_bytes(fields.take()?),
        },
        u32::from_le_bytes(fields.take()?),
        u32::from_le_bytes(fields.take()?),
    ))
}

fn check_length(bytes: &[u8], payload: usize) -> Result<(), DecodeError> {
    let expected = ENVELOPE_BYTES.saturating_add(payload);
    if expected > SNAPSHOT_LIMIT {
        return Err(DecodeError::TooLarge {
            bytes: expected,
            limit: SNAPSHOT_LIMIT,
        });
    }
    if bytes.len() < expected {
        return Err(DecodeError::Truncated {
            found: bytes.len(),
            expected,
        });
    }
    if bytes.len() > expected {
        return Err(DecodeError::Trailing {
            bytes: bytes.len() - expected,
        });
    }
    Ok(())
}

fn cut_short(bytes: &[u8]) -> DecodeError {
    DecodeError::Truncated {
        found: bytes.len(),
        expected: ENVELOPE_BYTES,
    }
}

/// What is left to read of an envelope.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }
}

#[cfg(test)]
mod tests;
