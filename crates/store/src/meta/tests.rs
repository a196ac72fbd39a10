//! The census.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn the_bookkeeping_comes_back_as_it_was(batches: u64, pairs: u64, sum: u64) {
        let meta = Meta { batches, census: Census { pairs, sum } };
        prop_assert_eq!(Meta::parse(&meta.bytes()), Some(meta));
    }

    #[test]
    fn order_does_not_count_and_what_is_taken_out_is_gone(
        values in proptest::collection::vec(any::<Vec<u8>>(), 0..12),
        gone: Vec<u8>,
    ) {
        let mut there = Census::default();
        values.iter().for_each(|value| there.add(b"key", value));
        let mut back = Census::default();
        back.add(b"gone", &gone);
        values.iter().rev().for_each(|value| back.add(b"key", value));
        prop_assert_ne!(back, there);
        back.subtract(b"gone", &gone);
        prop_assert_eq!(back, there);
    }
}

#[test]
fn another_value_under_the_same_key_is_noticed() {
    let mut written = Census::default();
    written.add(b"key", b"value");
    let mut found = Census::default();
    found.add(b"key", b"walue");
    assert_ne!(written, found);
    assert_eq!(written.pairs, found.pairs);
}

#[test]
fn anything_but_three_integers_is_no_bookkeeping() {
    assert_eq!(Meta::parse(&[0; 23]), None);
    assert_eq!(Meta::parse(&[0; 25]), None);
    assert_eq!(Meta::parse(&[0; 24]), Some(Meta::default()));
}
