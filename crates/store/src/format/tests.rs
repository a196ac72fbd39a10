//! Bytes that are records, and bytes that are not.

use std::sync::Arc;

use podwalk_engine::record::{Observation, Record};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::samples::{entry, every_record, note, obituary, sized, snapshot};
use crate::strategies;

proptest! {
    #[test]
    fn every_record_comes_back_as_it_was(entry in strategies::entry()) {
        let bytes = encode(entry.clone()).unwrap();
        prop_assert_eq!(decode(&bytes), Ok(entry));
    }

    #[test]
    fn every_obituary_comes_back_as_it_was(obituary in strategies::obituary()) {
        let bytes = encode_obituary(obituary.clone()).unwrap();
        prop_assert_eq!(decode_obituary(&bytes), Ok(obituary));
    }

    #[test]
    fn arbitrary_bytes_are_an_error(bytes in vec(any::<u8>(), 0..2048)) {
        prop_assert!(decode(&bytes).is_err());
        prop_assert!(decode_obituary(&bytes).is_err());
    }

    /// Behind a good envelope the payload decoder meets whatever there is: it
    /// ends, and what it takes for a record is one.
    #[test]
    fn arbitrary_payloads_end(payload in vec(any::<u8>(), 0..2048)) {
        let bytes = sealed(FORMAT_VERSION, &payload);
        match decode(&bytes) {
            Ok(entry) => prop_assert_eq!(encode(entry).unwrap(), bytes),
            Err(error) => {
                let is_payload = matches!(error, DecodeError::Payload { .. });
                prop_assert!(is_payload, "{}", error);
            }
        }
    }

    /// The same with payloads that are nearly right, so that all of the
    /// decoder is reached.
    #[test]
    fn damaged_payloads_end(
        entry in strategies::entry(),
        damage in vec((any::<Index>(), any::<u8>()), 1..4),
    ) {
        let good = encode(entry).unwrap();
        let mut payload = good[ENVELOPE_BYTES..].to_vec();
        for (at, byte) in damage {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        match decode(&sealed(FORMAT_VERSION, &payload)) {
            Ok(_) | Err(DecodeError::Payload { .. }) => {}
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    #[test]
    fn one_flipped_bit_anywhere_is_noticed(
        entry in strategies::entry(),
        at in any::<Index>(),
        bit in 0..8_u8,
    ) {
        let mut bytes = encode(entry).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let error = decode(&bytes).unwrap_err();
        let expected = match at {
            0..4 => matches!(error, DecodeError::BadMagic { .. }),
            62..66 => matches!(
                error,
                DecodeError::Truncated { .. }
                    | DecodeError::Trailing { .. }
                    | DecodeError::TooLarge { .. }
            ),
            _ => matches!(error, DecodeError::Checksum { .. }),
        };
        prop_assert!(expected, "{} at byte {}", error, at);
    }

    #[test]
    fn every_cut_is_noticed(entry in strategies::entry(), at in any::<Index>()) {
        let bytes = encode(entry).unwrap();
        let cut = &bytes[..at.index(bytes.len())];
        let cut_short = matches!(decode(cut), Err(DecodeError::Truncated { .. }));
        prop_assert!(cut_short);
    }
}

/// A payload in an envelope of its own, with a right checksum.
fn sealed(version: u16, payload: &[u8]) -> Vec<u8> {
    let sample = note(1, 2);
    let mut bytes = open_envelope(RECORD_MAGIC, sample.pod, sample.sequence, &sample.stamp);
    bytes[4..6].copy_from_slice(&version.to_le_bytes());
    bytes.extend_from_slice(payload);
    seal(bytes, SNAPSHOT_LIMIT).unwrap()
}

#[test]
fn the_envelope_is_as_the_format_document_says() {
    let sample = note(7, 0x0102_0304);
    let bytes = encode(sample.clone()).unwrap();
    let payload = bytes.len() - 70;
    assert_eq!(bytes[..4], *b"PWLK");
    assert_eq!(bytes[4..6], [2, 0]);
    assert_eq!(bytes[6..22], sample.pod.0);
    assert_eq!(bytes[22..30], [4, 3, 2, 1, 0, 0, 0, 0]);
    assert_eq!(bytes[30..46], sample.stamp.boot.0);
    assert_eq!(bytes[46..54], sample.stamp.wall_ns.to_le_bytes());
    assert_eq!(bytes[54..62], sample.stamp.boottime_ns.to_le_bytes());
    assert_eq!(bytes[62..66], u32::try_from(payload).unwrap().to_le_bytes());
    let mut others = bytes[..66].to_vec();
    others.extend_from_slice(&bytes[70..]);
    assert_eq!(bytes[66..70], crc32c::crc32c(&others).to_le_bytes());
    assert_eq!(encode_obituary(obituary(1, 2)).unwrap()[..4], *b"PWLO");
}

#[test]
fn the_envelope_reads_where_the_payload_does_not() {
    let bytes = sealed(9, b"from the future");
    let read = envelope(&bytes).unwrap();
    assert_eq!((read.version, read.sequence), (9, 2));
    assert_eq!(read.payload, b"from the future");
    assert_eq!((read.pod, read.stamp), (note(1, 2).pod, note(1, 2).stamp));
}

#[test]
fn a_newer_version_is_told_from_damage() {
    let newer = sealed(FORMAT_VERSION + 1, b"whatever");
    let found = FORMAT_VERSION + 1;
    assert_eq!(decode(&newer), Err(DecodeError::NewerVersion { found }));
    let never = sealed(0, b"whatever");
    assert_eq!(
        decode(&never),
        Err(DecodeError::UnknownVersion { found: 0 })
    );
    let mut damaged = encode(note(1, 2)).unwrap();
    damaged[4] += 1;
    assert!(matches!(
        decode(&damaged),
        Err(DecodeError::Checksum { .. })
    ));
}

#[test]
fn records_and_obituaries_are_not_taken_for_each_other() {
    let record = encode(note(1, 0)).unwrap();
    let gone = encode_obituary(obituary(1, 1)).unwrap();
    assert_eq!(
        decode_obituary(&record),
        Err(DecodeError::BadMagic { found: *b"PWLK" })
    );
    assert_eq!(
        decode(&gone),
        Err(DecodeError::BadMagic { found: *b"PWLO" })
    );
}

#[test]
fn no_two_kinds_of_record_share_their_bytes() {
    let records = every_record();
    let encoded: std::collections::BTreeSet<_> = records
        .iter()
        .map(|(_, record)| encode(entry(1, 0, record.clone())).unwrap())
        .collect();
    assert_eq!(encoded.len(), records.len());
}

#[test]
fn what_follows_a_record_is_refused() {
    let mut bytes = encode(note(1, 0)).unwrap();
    bytes.extend_from_slice(b"xyz");
    assert_eq!(decode(&bytes), Err(DecodeError::Trailing { bytes: 3 }));
    let mut payload = bytes[ENVELOPE_BYTES..].to_vec();
    payload.push(0);
    assert!(matches!(
        decode(&sealed(1, &payload)),
        Err(DecodeError::Payload { .. })
    ));
}

/// Lengths beyond the payload are refused before anything is allocated for
/// them: were they believed, these would end the test's process.
#[test]
fn no_length_is_believed() {
    for lie in [u64::MAX, 1 << 60, 1 << 40, 1 << 20] {
        // Observed, Forgiven, ConfigureCni, no attachment, then a text.
        let mut text = 5_u32.to_le_bytes().to_vec();
        text.extend_from_slice(&4_u32.to_le_bytes());
        text.extend_from_slice(&3_u32.to_le_bytes());
        text.push(0);
        text.extend_from_slice(&lie.to_le_bytes());
        // Done, ReadyNetwork, then a list.
        let mut list = 2_u32.to_le_bytes().to_vec();
        list.extend_from_slice(&2_u32.to_le_bytes());
        list.extend_from_slice(&lie.to_le_bytes());
        for payload in [text, list] {
            let decoded = decode(&sealed(1, &payload));
            assert!(
                matches!(decoded, Err(DecodeError::Payload { .. })),
                "{decoded:?}"
            );
        }
    }
    let mut long = encode(note(1, 0)).unwrap();
    long[62..66].copy_from_slice(&u32::MAX.to_le_bytes());
    let (bytes, limit) = (u32::MAX as usize + ENVELOPE_BYTES, SNAPSHOT_LIMIT);
    assert_eq!(decode(&long), Err(DecodeError::TooLarge { bytes, limit }));
    // The limit itself is no lie: it is the length that is wrong.
    let largest = u32::try_from(SNAPSHOT_LIMIT - ENVELOPE_BYTES).unwrap();
    long[62..66].copy_from_slice(&largest.to_le_bytes());
    let (found, expected) = (long.len(), SNAPSHOT_LIMIT);
    assert_eq!(
        decode(&long),
        Err(DecodeError::Truncated { found, expected })
    );
}

#[test]
fn a_record_over_the_limit_is_refused_with_both_sizes() {
    let rest = encode(sized(1, 0, 0)).unwrap().len();
    let fits = sized(1, 0, RECORD_LIMIT - rest);
    let bytes = encode(fits.clone()).unwrap();
    assert_eq!(bytes.len(), RECORD_LIMIT);
    assert_eq!(decode(&bytes), Ok(fits));
    let (bytes, limit) = (RECORD_LIMIT + 1, RECORD_LIMIT);
    assert_eq!(
        encode(sized(1, 0, RECORD_LIMIT - rest + 1)),
        Err(TooLarge { bytes, limit })
    );
}

#[test]
fn a_snapshot_may_hold_more_than_a_record() {
    let mut large = snapshot(1, 4);
    let Record::Snapshot(pod) = &mut large.record else {
        unreachable!("a snapshot is a snapshot");
    };
    Arc::make_mut(&mut pod.spec).hostname = "h".repeat(RECORD_LIMIT);
    let bytes = encode(large.clone()).unwrap();
    assert!(bytes.len() > RECORD_LIMIT);
    assert_eq!(decode(&bytes), Ok(large));
    let mut larger = obituary(1, 4);
    Arc::make_mut(&mut larger.pod.spec).hostname = "h".repeat(SNAPSHOT_LIMIT);
    assert_eq!(encode_obituary(larger).unwrap_err().limit, SNAPSHOT_LIMIT);
}

#[test]
fn every_error_says_what_was_found() {
    let restart = encode(entry(1, 0, Record::Observed(Observation::Restart))).unwrap();
    let said = |bytes: &[u8]| decode(bytes).unwrap_err().to_string();
    assert_eq!(
        said(b"PW"),
        "the record is cut short: 2 of 70 bytes are there"
    );
    assert_eq!(
        said(b"ELF!"),
        "no record begins here: the magic is [45, 4c, 46, 21]"
    );
    assert_eq!(
        said(&restart[..71]),
        "the record is cut short: 71 of 78 bytes are there"
    );
    assert_eq!(
        said(&sealed(7, b"")),
        "the format version is 7, this release knows up to 2 (run the release that wrote it)"
    );
}

#[test]
fn what_a_damaged_record_claims_can_still_be_read() {
    let entry = crate::samples::note(7, 3);
    let mut bytes = encode(entry.clone()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    assert!(matches!(
        envelope(&bytes),
        Err(DecodeError::Checksum { .. })
    ));
    let claimed = claimed(&bytes).unwrap();
    assert_eq!((claimed.pod, claimed.sequence), (entry.pod, entry.sequence));
    assert_eq!(
        (claimed.version, claimed.stamp),
        (FORMAT_VERSION, entry.stamp)
    );
    assert_eq!(super::claimed(&bytes[..ENVELOPE_BYTES - 1]), None);
}
