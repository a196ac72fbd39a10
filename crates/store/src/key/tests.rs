//! Order and chunks.

use proptest::prelude::*;

use super::*;

fn any_key() -> impl Strategy<Value = Key> {
    let fields = (any::<[u8; 16]>(), any::<u64>(), any::<u16>(), any::<bool>());
    fields.prop_map(|(pod, number, chunk, is_record)| {
        let pod = PodId(pod);
        if is_record {
            let sequence = number;
            return Key::Record {
                pod,
                sequence,
                chunk,
            };
        }
        Key::Obituary { number, pod, chunk }
    })
}

proptest! {
    #[test]
    fn a_key_comes_back_as_it_was(key in any_key()) {
        prop_assert_eq!(Key::parse(&key.bytes()), Some(key));
    }

    #[test]
    fn bytes_sort_as_keys_do(one in any_key(), other in any_key()) {
        prop_assert_eq!(one.bytes().cmp(&other.bytes()), one.cmp(&other));
    }

    #[test]
    fn arbitrary_bytes_are_a_key_only_if_they_are_its_bytes(
        bytes in proptest::collection::vec(any::<u8>(), 0..32),
    ) {
        if let Some(key) = Key::parse(&bytes) {
            prop_assert_eq!(key.bytes(), bytes);
        }
    }

    #[test]
    fn chunks_joined_are_the_value(length in 0_usize..20_000) {
        let value: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let cut: Vec<_> = chunks(&value).collect();
        prop_assert!(cut.iter().all(|(_, chunk)| chunk.len() <= CHUNK_BYTES));
        prop_assert!(cut.iter().map(|(number, _)| usize::from(*number)).eq(0..cut.len()));
        let joined: Vec<u8> = cut.iter().flat_map(|(_, chunk)| chunk.to_vec()).collect();
        prop_assert_eq!(joined, value);
    }
}

#[test]
fn bookkeeping_sorts_before_all_data_and_is_no_key() {
    let pod = PodId([0; 16]);
    let first = Key::Obituary {
        number: 0,
        pod,
        chunk: 0,
    };
    for key in [META, EPOCH] {
        assert!(is_bookkeeping(&key));
        assert_eq!(Key::parse(&key), None);
        assert!(key.as_slice() < first.bytes().as_slice());
    }
    assert!(!is_bookkeeping(b"mx"));
}

#[test]
fn prefixes_are_what_the_keys_begin_with() {
    let pod = PodId([7; 16]);
    let record = Key::Record {
        pod,
        sequence: 3,
        chunk: 1,
    };
    assert!(record.bytes().starts_with(&records_of(pod)));
    let obituary = Key::Obituary {
        number: 3,
        pod,
        chunk: 1,
    };
    assert!(obituary.bytes().starts_with(&grave(3, pod)));
}
