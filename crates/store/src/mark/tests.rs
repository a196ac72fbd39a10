//! The mark's bytes.

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

proptest! {
    #[test]
    fn a_mark_comes_back_as_it_was(epoch: u64, batches: u64) {
        let mark = Mark { epoch, batches };
        prop_assert_eq!(Mark::parse(&mark.bytes()), Some(mark));
    }

    #[test]
    fn a_flipped_bit_is_no_mark(epoch: u64, at in 0..BYTES, bit in 0..8_u8) {
        let mut bytes = Mark { epoch, batches: 7 }.bytes();
        bytes[at] ^= 1 << bit;
        prop_assert_eq!(Mark::parse(&bytes), None);
    }

    #[test]
    fn arbitrary_bytes_are_no_mark(bytes: Vec<u8>) {
        prop_assert_eq!(Mark::parse(&bytes), None);
    }
}

#[test]
fn a_file_holds_the_last_mark() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("mark");
    assert_eq!(Mark::read(&path).unwrap(), Mark::default());
    let file = MarkFile::open(&path).unwrap();
    assert_eq!(Mark::read(&path).unwrap(), Mark::default());
    for batches in [3, 70_000, 5] {
        let mark = Mark { epoch: 2, batches };
        file.set(mark).unwrap();
        file.sync().unwrap();
        assert_eq!(Mark::read(&path).unwrap(), mark);
    }
    assert!(Mark::read(dir.path()).is_err(), "a directory is no file");
}

#[test]
fn a_mark_says_how_far_the_bookkeeping_is() {
    let meta = Meta {
        batches: 9,
        ..Meta::default()
    };
    let (epoch, batches) = (3, 9);
    assert_eq!(Mark::of(3, &meta), Mark { epoch, batches });
}
