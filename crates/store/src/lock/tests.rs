//! The lock file within one process. Two processes are in `tests/lock.rs`.

use tempfile::TempDir;

use super::*;

#[test]
fn the_second_taker_is_told_who_holds_it() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("lock");
    let held = LockFile::take(&path).unwrap();
    let refused = LockFile::take(&path).unwrap_err();
    let OpenError::Locked {
        path: named,
        holder,
    } = &refused
    else {
        panic!("{refused}");
    };
    assert_eq!((named, holder), (&path, &Holder::this_process()));
    let pid = format!("in use by pid {} (started at tick ", std::process::id());
    assert!(refused.to_string().contains(&pid), "{refused}");
    drop(held);
    LockFile::take(&path).unwrap();
}

#[test]
fn what_a_dead_holder_has_left_is_overwritten() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("lock");
    let old = "pid 1\nstart 2\nhost a-name-that-is-longer-than-any-other-in-this-test\n";
    std::fs::write(&path, old.repeat(20)).unwrap();
    let _held = LockFile::take(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(Holder::parse(&text), Holder::this_process());
    assert_eq!(text, Holder::this_process().text());
}

#[test]
fn a_holder_that_has_said_nothing_yet_is_said_so() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("lock");
    let _held = LockFile::take(&path).unwrap();
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    let refused = LockFile::take(&path).unwrap_err().to_string();
    assert!(
        refused.contains("a process that has not said its pid yet"),
        "{refused}"
    );
}

#[test]
fn a_missing_directory_is_named() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("nowhere/lock");
    let refused = LockFile::take(&path).unwrap_err().to_string();
    assert!(refused.contains("nowhere/lock"), "{refused}");
}

const AN_HOUR: Duration = Duration::from_secs(3600);

/// As after a crash: the words are of a process that is gone, and a child of it
/// still holds on.
fn held_by_one_who_has_ended(path: &Path) -> LockFile {
    let held = LockFile::take(path).unwrap();
    let gone = Holder {
        start_time: Some(1),
        ..Holder::this_process()
    };
    assert!(gone.has_ended() && !Holder::this_process().has_ended());
    std::fs::write(path, gone.text()).unwrap();
    held
}

/// How many descriptors of this process are of a file.
fn descriptors(path: &Path) -> usize {
    let all = std::fs::read_dir("/proc/self/fd").unwrap();
    let links = all.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links.filter(|link| link == path).count()
}

#[test]
fn the_lock_of_a_holder_that_has_ended_is_waited_for() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().canonicalize().unwrap().join("lock");
    let held = held_by_one_who_has_ended(&path);
    let taker = std::thread::spawn({
        let path = path.clone();
        move || LockFile::take_within(&path, AN_HOUR).map(drop)
    });
    while descriptors(&path) < 2 {
        std::thread::yield_now();
    }
    // It has looked by now, most likely; it must not give up.
    (0..1000).for_each(|_| std::thread::yield_now());
    assert!(!taker.is_finished());
    drop(held);
    taker.join().unwrap().unwrap();
}

#[test]
fn the_lock_of_a_holder_that_has_ended_is_not_waited_for_without_end() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("lock");
    let _held = held_by_one_who_has_ended(&path);
    let refused = LockFile::take_within(&path, Duration::ZERO).unwrap_err();
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
}

#[test]
fn the_lock_of_a_holder_that_lives_is_not_waited_for() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("lock");
    let _held = LockFile::take(&path).unwrap();
    let refused = LockFile::take_within(&path, AN_HOUR).unwrap_err();
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
}

#[test]
fn who_has_waited_signs_at_the_beginning_of_the_file() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("lock");
    std::fs::write(&path, Holder::this_process().text()).unwrap();
    let mut file = File::options().read(true).write(true).open(&path).unwrap();
    holder(&mut file);
    sign(&mut file).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, Holder::this_process().text());
}
