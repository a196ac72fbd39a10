//! What a power cut may leave, on a disk of two files.

use podwalk_tests::dice::Dice;
use tempfile::TempDir;

use super::*;
use crate::luck::Kind;

const ROOT: &str = "/disk";

/// A disk on which this has happened.
fn disk(events: &[Event]) -> Platter {
    let empty = TempDir::new().unwrap();
    let mut platter = Platter::holding(empty.path()).unwrap();
    platter.root = ROOT.into();
    for event in events {
        platter.take(event).unwrap();
    }
    platter
}

/// The names and contents that are left.
fn left(platter: &Platter, kind: Kind) -> BTreeMap<String, Vec<u8>> {
    let directory = TempDir::new().unwrap();
    let image = directory.path().join("image");
    let mut luck = Luck::new(kind, Dice::new(1, 1));
    platter.cut(&image, &mut luck).unwrap();
    let entries = fs::read_dir(&image).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, fs::read(path).unwrap())
    });
    entries.collect()
}

fn create(name: &str) -> Event {
    Event::Create(Path::new(ROOT).join(name))
}

fn write(name: &str, at: u64, bytes: Vec<u8>) -> Event {
    Event::Write(Path::new(ROOT).join(name), at, bytes)
}

/// A sync that began when so many events had ended.
fn sync(name: &str, covers: usize) -> Event {
    let path = Path::new(ROOT).join(name);
    let data_only = !name.is_empty();
    Event::Sync(Sync {
        path,
        data_only,
        covers,
    })
}

fn files<const N: usize>(expected: [(&str, Vec<u8>); N]) -> BTreeMap<String, Vec<u8>> {
    let owned = expected.map(|(name, bytes)| (name.to_owned(), bytes));
    owned.into()
}

#[test]
fn what_was_not_synced_may_be_lost_and_may_be_there() {
    let disk = disk(&[create("a"), write("a", 0, vec![1; 600])]);
    assert_eq!(left(&disk, Kind::Nothing), files([]));
    assert_eq!(left(&disk, Kind::Everything), files([("a", vec![1; 600])]));
}

/// The bytes of a file do not bring its name to the platter.
#[test]
fn a_file_needs_both_its_own_sync_and_its_directory_s() {
    let only_own = disk(&[create("a"), write("a", 0, vec![1]), sync("a", 2)]);
    assert_eq!(left(&only_own, Kind::Nothing), files([]));
    let both = disk(&[
        create("a"),
        write("a", 0, vec![1]),
        sync("a", 2),
        sync("", 3),
    ]);
    assert_eq!(left(&both, Kind::Nothing), files([("a", vec![1])]));
}

#[test]
fn a_sync_covers_nothing_that_ended_after_it_began() {
    let events = [
        create("a"),
        sync("", 1),
        write("a", 0, vec![1; 4]),
        sync("a", 2),
    ];
    assert_eq!(left(&disk(&events), Kind::Nothing), files([("a", vec![])]));
}

#[test]
fn a_disk_that_lies_keeps_nothing_of_what_fdatasync_promised() {
    let empty = TempDir::new().unwrap();
    let mut platter = Platter::holding(empty.path()).unwrap().lying();
    platter.root = ROOT.into();
    for event in [
        create("a"),
        sync("", 1),
        write("a", 0, vec![1]),
        sync("a", 3),
    ] {
        platter.take(&event).unwrap();
    }
    assert_eq!(left(&platter, Kind::Nothing), files([("a", vec![])]));
}

#[test]
fn a_sector_is_old_or_new_and_a_length_is_one_that_the_file_has_had() {
    let mut events = vec![
        create("a"),
        write("a", 0, vec![1; 2048]),
        sync("a", 2),
        sync("", 3),
    ];
    events.push(write("a", 512, vec![2; 1024]));
    let first = left(&disk(&events), Kind::First);
    let expected = [vec![1; 512], vec![2; 512], vec![1; 1024]].concat();
    assert_eq!(first, files([("a", expected)]));
    let last = left(&disk(&events), Kind::Last);
    let expected = [vec![1; 1024], vec![2; 512], vec![1; 512]].concat();
    assert_eq!(last, files([("a", expected)]));
    events.push(Event::Resize("/disk/a".into(), 100));
    for number in 0..50 {
        let mut luck = Luck::new(Kind::Sectors(50), Dice::new(number, 1));
        let length = disk(&events).files[0].cut(&mut luck).len();
        assert!([100, 2048].contains(&length), "{length}");
    }
}

#[test]
fn a_new_name_is_there_in_place_of_the_old_one_or_not_at_all() {
    let events = [
        create("a"),
        sync("", 1),
        Event::Rename("/disk/a".into(), "/disk/b".into()),
    ];
    let disk = disk(&events);
    assert_eq!(left(&disk, Kind::Nothing), files([("a", vec![])]));
    assert_eq!(left(&disk, Kind::Everything), files([("b", vec![])]));
}
