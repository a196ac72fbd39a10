use super::*;

fn namespace_of_this_thread() -> std::path::PathBuf {
    std::fs::read_link("/proc/thread-self/ns/net").unwrap()
}

#[test]
fn work_runs_on_another_thread_and_may_borrow() {
    let here = std::thread::current().id();
    let text = String::from("borrowed");
    let (there, length) = apart(|| (std::thread::current().id(), text.len())).unwrap();
    assert_ne!(here, there);
    assert_eq!(length, 8);
}

#[test]
fn a_panic_of_the_work_reaches_the_caller() {
    let caught = std::panic::catch_unwind(|| apart(|| std::panic::resume_unwind(Box::new(7_u8))));
    let payload = caught.map(|_: Result<(), Error>| ()).unwrap_err();
    assert_eq!(payload.downcast_ref::<u8>(), Some(&7));
}

#[test]
fn what_is_no_namespace_is_not_entered() {
    let before = namespace_of_this_thread();
    let file = std::fs::File::open("/proc/self/stat").unwrap();
    let error = inside(file.as_fd(), Path::new("/proc/self/stat"), || ()).unwrap_err();
    assert!(error.to_string().contains("/proc/self/stat"), "{error}");
    assert_eq!(namespace_of_this_thread(), before);
}

#[test]
fn a_plain_file_is_not_entered() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("plain");
    assert!(matches!(enter(&path, || ()), Err(Error::Missing { .. })));
    std::fs::write(&path, "").unwrap();
    assert!(matches!(enter(&path, || ()), Err(Error::NotPinned { .. })));
}
