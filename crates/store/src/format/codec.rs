//! bincode 1.3.3 with every choice made explicit.

use bincode::Options;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{DecodeError, SNAPSHOT_LIMIT};

/// Fixed-width integers, little endian, nothing after the value, and no length
/// believed that is beyond the largest payload.
fn options() -> impl Options {
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_little_endian()
        .reject_trailing_bytes()
        .with_limit(SNAPSHOT_LIMIT as u64)
}

/// Appends `value`'s bytes.
///
/// The limit is not applied here: the caller measures the whole and answers
/// with the true size.
pub(super) fn write<T: Serialize>(value: &T, bytes: &mut Vec<u8>) {
    let written = options().with_no_limit().serialize_into(&mut *bytes, value);
    // A vector takes every byte, and no frozen type has a value that bincode
    // cannot write (a map or sequence of unknown length).
    debug_assert!(written.is_ok(), "a frozen type serialises");
}

/// Reads one value that fills `bytes`.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    options()
        .deserialize(bytes)
        .map_err(|error| DecodeError::Payload {
            detail: error.to_string(),
        })
}
