//! Keys: what sorts where, and how a record is cut into values.
//!
//! A key begins with one byte that says what it is of. All integers are
//! big-endian, so that sled's order is the journal's order.

use podwalk_engine::id::PodId;

/// The largest value, bytes. Larger ones could become sled blobs, which no
/// barrier of ours reaches.
pub(crate) const CHUNK_BYTES: usize = 4096;

/// The bookkeeping that every batch updates.
pub(crate) const META: [u8; 2] = *b"mb";
/// The number of openings.
pub(crate) const EPOCH: [u8; 2] = *b"me";

const OBITUARY: u8 = b'o';
const POD: u8 = b'p';

/// A key that holds data, taken apart. Chunk by chunk a value's key counts up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// A chunk of an obituary.
    Obituary {
        /// The burial's number: the order of burials.
        number: u64,
        /// The pod.
        pod: PodId,
        /// The chunk's number.
        chunk: u16,
    },
    /// A chunk of a record.
    Record {
        /// The pod.
        pod: PodId,
        /// The record's number in it.
        sequence: u64,
        /// The chunk's number.
        chunk: u16,
    },
}

impl Key {
    /// The bytes.
    pub(crate) fn bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(27);
        match self {
            Key::Obituary { number, pod, chunk } => {
                bytes.extend_from_slice(&grave(number, pod));
                bytes.extend_from_slice(&chunk.to_be_bytes());
            }
            Key::Record {
                pod,
                sequence,
                chunk,
            } => {
                bytes.extend_from_slice(&records_of(pod));
                bytes.extend_from_slice(&sequence.to_be_bytes());
                bytes.extend_from_slice(&chunk.to_be_bytes());
            }
        }
        bytes
    }

    /// Takes a key apart; none for the bookkeeping, and for what no release
    /// wrote.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Key> {
        let (kind, rest) = bytes.split_first()?;
        match *kind {
            OBITUARY => {
                let (number, rest) = rest.split_first_chunk::<8>()?;
                let (pod, rest) = rest.split_first_chunk::<16>()?;
                Some(Key::Obituary {
                    number: u64::from_be_bytes(*number),
                    pod: PodId(*pod),
                    chunk: u16::from_be_bytes(rest.try_into().ok()?),
                })
            }
            POD => {
                let (pod, rest) = rest.split_first_chunk::<16>()?;
                let (sequence, rest) = rest.split_first_chunk::<8>()?;
                Some(Key::Record {
                    pod: PodId(*pod),
                    sequence: u64::from_be_bytes(*sequence),
                    chunk: u16::from_be_bytes(rest.try_into().ok()?),
                })
            }
            _ => None,
        }
    }
}

/// What all keys of a pod's records begin with.
pub(crate) fn records_of(pod: PodId) -> [u8; 17] {
    let mut prefix = [POD; 17];
    prefix[1..].copy_from_slice(&pod.0);
    prefix
}

/// What all keys of one obituary begin with.
pub(crate) fn grave(number: u64, pod: PodId) -> [u8; 25] {
    let mut prefix = [OBITUARY; 25];
    prefix[1..9].copy_from_slice(&number.to_be_bytes());
    prefix[9..].copy_from_slice(&pod.0);
    prefix
}

/// Whether the key is one of those that hold no data.
pub(crate) fn is_bookkeeping(key: &[u8]) -> bool {
    key == META || key == EPOCH
}

/// Cuts a value into chunks, each with its number. No value of ours is so
/// large that its chunks cannot be numbered by sixteen bits.
pub(crate) fn chunks(value: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    (0..=u16::MAX).zip(value.chunks(CHUNK_BYTES))
}

#[cfg(test)]
mod tests;
