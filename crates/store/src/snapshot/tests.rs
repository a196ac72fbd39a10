//! What is kept, what is put back.

use tempfile::TempDir;

use super::*;

/// A journal's directory with sled's in it, and these snapshots there.
fn directories(snapshots: &[&str]) -> (TempDir, std::path::PathBuf) {
    let dir = TempDir::new().unwrap();
    let sled_dir = dir.path().join("sled");
    fs::create_dir(&sled_dir).unwrap();
    for name in snapshots {
        fs::write(sled_dir.join(name), name).unwrap();
    }
    (dir, sled_dir)
}

#[test]
fn the_newest_is_kept_and_let_go() {
    let (dir, sled_dir) = directories(&["snap.00A1", "snap.0F01", "snap.0F02.generating"]);
    keep(dir.path(), &sled_dir).unwrap();
    assert_eq!(names(dir.path(), KEPT).unwrap(), ["kept.snap.0F01"]);
    release(dir.path()).unwrap();
    assert_eq!(names(dir.path(), KEPT).unwrap(), [""; 0]);
    assert_eq!(names(&sled_dir, SNAPSHOT).unwrap().len(), 2);
}

#[test]
fn one_that_was_lost_is_put_back_with_its_name_and_bytes() {
    let (dir, sled_dir) = directories(&["snap.00A1"]);
    keep(dir.path(), &sled_dir).unwrap();
    fs::remove_file(sled_dir.join("snap.00A1")).unwrap();
    keep(dir.path(), &sled_dir).unwrap();
    assert_eq!(fs::read(sled_dir.join("snap.00A1")).unwrap(), b"snap.00A1");
}

#[test]
fn a_store_that_never_had_one_is_left_alone() {
    let (dir, sled_dir) = directories(&[]);
    keep(dir.path(), &sled_dir).unwrap();
    release(dir.path()).unwrap();
    assert_eq!(fs::read_dir(&sled_dir).unwrap().count(), 0);
}

/// What a deletion that power loss took back has left is older than sled's.
#[test]
fn an_old_copy_never_replaces_a_newer_snapshot() {
    let (dir, sled_dir) = directories(&["snap.00B0"]);
    fs::write(dir.path().join("kept.snap.00A0"), b"old").unwrap();
    keep(dir.path(), &sled_dir).unwrap();
    assert_eq!(names(&sled_dir, SNAPSHOT).unwrap(), ["snap.00B0"]);
    fs::remove_file(sled_dir.join("snap.00B0")).unwrap();
    keep(dir.path(), &sled_dir).unwrap();
    assert_eq!(names(&sled_dir, SNAPSHOT).unwrap(), ["snap.00B0"]);
}
