//! The recorder's words.

use std::fs;

use tempfile::TempDir;

use super::*;

/// As the recorder writes a string.
fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("\\x{byte:02x}")).collect()
}

fn events(record: &str) -> Result<Vec<Event>> {
    let directory = TempDir::new()?;
    let path = directory.path().join("record");
    fs::write(&path, record)?;
    read(&path, Path::new("/disk"), Path::new("/said"))
}

#[test]
fn a_sync_that_is_interrupted_covers_what_had_ended_when_it_began() {
    let file = hex("/disk/a");
    let record = format!(
        "1 openat(AT_FDCWD<{}>, \"{file}\", O_RDWR|O_CREAT, 0666) = 3<{file}>\n\
         1 pwrite64(3<{file}>, \"\\x61\\x62\", 2, 7) = 2\n\
         1 fdatasync(3<{file}> <unfinished ...>\n\
         2 pwrite64(3<{file}>, \"\\x63\", 1, 9) = 1\n\
         1 <... fdatasync resumed>) = 0\n",
        hex("/")
    );
    let events = events(&record).unwrap();
    assert_eq!(events.len(), 4, "{events:?}");
    assert!(
        matches!(&events[1], Event::Write(path, 7, bytes) if path == Path::new("/disk/a") && bytes == b"ab"),
        "{events:?}"
    );
    assert!(
        matches!(&events[3], Event::Sync(sync) if sync.covers == 2 && sync.data_only),
        "{events:?}"
    );
}

#[test]
fn what_failed_and_what_is_elsewhere_is_nothing() {
    let (other, file) = (hex("/elsewhere"), hex("/disk/a"));
    let record = format!(
        "1 pwrite64(3<{other}>, \"\\x61\", 1, 7) = 1\n\
         1 fsync(3<{file}>) = -1 EIO (Input/output error)\n\
         1 copy_file_range(3<{other}>, NULL, 4<{other}>, NULL, 9, 0) = 9\n\
         1 +++ exited with 0 +++\n"
    );
    assert_eq!(events(&record).unwrap().len(), 0);
}

#[test]
fn writes_follow_the_offset_of_their_descriptor() {
    let file = hex("/disk/a");
    let record = format!(
        "1 openat(AT_FDCWD<{}>, \"{file}\", O_WRONLY|O_TRUNC) = 3<{file}>\n\
         1 write(3<{file}>, \"\\x61\\x62\", 2) = 2\n\
         1 write(3<{file}>, \"\\x63\", 1) = 1\n\
         1 lseek(3<{file}>, 0, SEEK_SET) = 0\n\
         1 write(3<{file}>, \"\\x64\", 1) = 1\n",
        hex("/")
    );
    let places: Vec<u64> = events(&record)
        .unwrap()
        .iter()
        .filter_map(|event| match event {
            Event::Write(_, at, _) => Some(*at),
            _ => None,
        })
        .collect();
    assert_eq!(places, [0, 2, 0]);
}

/// A write that the rig overlooks would make it blind.
#[test]
fn a_call_that_is_not_understood_is_an_error() {
    let file = hex("/disk/a");
    for call in [
        format!("copy_file_range(3<{file}>, NULL, 4<{file}>, NULL, 9, 0) = 9"),
        format!("pwritev(3<{file}>, [{{iov_base=\"\\x61\", iov_len=1}}], 1, 0) = 1"),
        format!("link(\"{file}\", \"{file}\") = 0"),
        format!("openat(AT_FDCWD<{file}>, \"{file}\", O_RDWR|O_DSYNC) = 3<{file}>"),
        format!("pwrite64(3<{file}>, \"\\x61\"..., 9, 0) = 9"),
    ] {
        assert!(events(&format!("1 {call}\n")).is_err(), "{call}");
    }
}
