use super::*;
use crate::config::{Dns, IdMapping, UserNamespace};
use oci_spec::runtime::Spec;
use std::collections::BTreeSet;

fn config(id: &str) -> SandboxConfig {
    let mut config = SandboxConfig::new(SandboxId::new(id).unwrap());
    config.hostname = Some("web-0".to_owned());
    config.addresses = vec!["10.1.2.3".parse().unwrap(), "fd00::3".parse().unwrap()];
    config.dns = Some(Dns::default());
    config
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn holds_what_a_runtime_needs_and_nothing_else() {
    let bundles = tempfile::tempdir().unwrap();
    let bundle = Bundle::write(&config("one"), bundles.path()).unwrap();
    assert_eq!(bundle.dir(), bundles.path().join("one"));
    assert_eq!(names(bundles.path()), set(&[".pause", "one"]));
    assert_eq!(names(bundle.dir()), set(&["config.json", "rootfs"]));
    let rootfs = bundle.dir().join("rootfs");
    assert_eq!(names(&rootfs), set(&["dev", "etc", "pause", "proc", "sys"]));
    assert_eq!(
        names(&rootfs.join("etc")),
        set(&["hostname", "hosts", "resolv.conf"])
    );
    assert_eq!(fs::read(rootfs.join("pause")).unwrap(), PAUSE);
    let spec = Spec::load(bundle.dir().join("config.json")).unwrap();
    assert_eq!(spec.hostname().as_deref(), Some("web-0"));
}

#[test]
fn everybody_may_execute_the_program_whatever_the_umask() {
    let bundles = tempfile::tempdir().unwrap();
    let bundle = Bundle::write(&config("one"), bundles.path()).unwrap();
    let mode = |path: &str| fs::metadata(bundle.dir().join(path)).unwrap().mode() & 0o777;
    assert_eq!(mode("rootfs"), 0o755);
    assert_eq!(mode("rootfs/etc"), 0o755);
    assert_eq!(mode("rootfs/pause"), 0o555);
    assert_eq!(mode("rootfs/etc/resolv.conf"), 0o644);
    assert_eq!(mode("config.json"), 0o600, "annotations may hold secrets");
}

#[test]
fn the_program_is_written_once_and_shared() {
    let bundles = tempfile::tempdir().unwrap();
    let inode = |bundle: &Bundle| {
        fs::metadata(bundle.dir().join("rootfs/pause"))
            .unwrap()
            .ino()
    };
    let first = Bundle::write(&config("one"), bundles.path()).unwrap();
    let second = Bundle::write(&config("two"), bundles.path()).unwrap();
    assert_eq!(inode(&first), inode(&second));
    // One that was left by another version, or half written, is not trusted.
    fs::remove_file(bundles.path().join(SHARED_PAUSE)).unwrap();
    fs::write(bundles.path().join(SHARED_PAUSE), &PAUSE[..100]).unwrap();
    let third = Bundle::write(&config("three"), bundles.path()).unwrap();
    assert_eq!(fs::read(third.dir().join("rootfs/pause")).unwrap(), PAUSE);
    let fourth = Bundle::write(&config("four"), bundles.path()).unwrap();
    assert_eq!(inode(&third), inode(&fourth));
}

#[test]
fn replaces_an_old_one_of_whatever_content() {
    let bundles = tempfile::tempdir().unwrap();
    let old = bundles.path().join("one/rootfs/left/over");
    fs::create_dir_all(&old).unwrap();
    let unfinished = unfinished(bundles.path(), &SandboxId::new("one").unwrap());
    fs::create_dir_all(unfinished.join("rootfs/half")).unwrap();
    for _ in 0..2 {
        let bundle = Bundle::write(&config("one"), bundles.path()).unwrap();
        assert_eq!(names(bundle.dir()), set(&["config.json", "rootfs"]));
        assert!(!old.exists() && !unfinished.exists());
    }
}

#[test]
fn is_removed_whole_or_not_and_twice() {
    let bundles = tempfile::tempdir().unwrap();
    let one = SandboxId::new("one").unwrap();
    Bundle::write(&config("one"), bundles.path()).unwrap();
    Bundle::write(&config("one2"), bundles.path()).unwrap();
    fs::create_dir_all(unfinished(bundles.path(), &one).join("rootfs")).unwrap();
    for _ in 0..2 {
        Bundle::remove(bundles.path(), &one).unwrap();
        assert_eq!(names(bundles.path()), set(&[".pause", "one2"]));
    }
    Bundle::remove(&bundles.path().join("nowhere"), &one).unwrap();
}

#[test]
fn what_is_not_sound_leaves_nothing_on_disk() {
    let bundles = tempfile::tempdir().unwrap();
    let mut wrong = config("one");
    wrong.hostname = Some("a b".to_owned());
    let error = Bundle::write(&wrong, bundles.path()).unwrap_err();
    assert!(
        matches!(error, BundleError::Config(ConfigError::Hostname { .. })),
        "{error}"
    );
    assert_eq!(names(bundles.path()), set(&[]));
}

#[test]
fn a_failure_names_the_path_and_what_to_do() {
    let bundles = tempfile::tempdir().unwrap();
    let file = bundles.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Bundle::write(&config("one"), &file.join("bundles")).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("file/bundles") && text.contains("writable"),
        "{text}"
    );
}

#[test]
fn hosts_name_the_pod_by_all_its_addresses() {
    let addresses = config("one").addresses;
    let expected = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
                    10.1.2.3\tweb-0\nfd00::3\tweb-0\n";
    assert_eq!(hosts("web-0", &addresses), expected);
    assert!(!hosts("", &addresses).contains("10.1.2.3"));
}

#[test]
fn the_resolver_gets_a_line_for_what_there_is() {
    assert_eq!(resolv_conf(&Dns::default()), "");
    let dns = Dns {
        servers: vec!["10.0.0.1".to_owned(), "fd00::1".to_owned()],
        searches: vec!["a.b".to_owned(), "b".to_owned()],
        options: vec!["ndots:5".to_owned(), "rotate".to_owned()],
    };
    let expected =
        "search a.b b\nnameserver 10.0.0.1\nnameserver fd00::1\noptions ndots:5 rotate\n";
    assert_eq!(resolv_conf(&dns), expected);
}

#[test]
fn what_executes_is_told_by_its_content() {
    assert!(!is_pause(std::process::id()));
    assert!(!is_pause(u32::MAX), "there is no such process");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("copy");
    write_file(&path, PAUSE, 0o555).unwrap();
    // Another test's child may hold the file open for a moment (ETXTBSY).
    let mut child = loop {
        match std::process::Command::new(&path).spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                std::thread::yield_now();
            }
            spawned => break spawned.unwrap(),
        }
    };
    // The program was executed when spawn returned, and waits for a signal.
    let told = is_pause(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(told);
}

fn in_a_user_namespace(id: &str) -> SandboxConfig {
    let mapping = IdMapping {
        container_id: 0,
        host_id: 100_000,
        length: 65536,
    };
    SandboxConfig {
        user_namespace: Some(UserNamespace {
            path: Some("/proc/1/fd/9".into()),
            uids: vec![mapping],
            gids: vec![mapping],
        }),
        ..config(id)
    }
}

#[test]
fn the_root_of_a_user_namespace_can_reach_all_of_it() {
    let bundles = tempfile::tempdir().unwrap();
    set_mode(bundles.path(), 0o711).unwrap();
    let bundle = Bundle::write(&in_a_user_namespace("one"), bundles.path()).unwrap();
    assert_eq!(bundle.user_namespace(), Some(Path::new("/proc/1/fd/9")));
    let mode = |path: &str| fs::metadata(bundle.dir().join(path)).unwrap().mode() & 0o777;
    assert_eq!(mode(""), 0o755);
    assert_eq!((mode("bin"), mode("rootfs/bin")), (0o755, 0o755));
    assert_eq!(mode("bin/pause"), 0o555);
    assert_eq!(mode("config.json"), 0o600);
    assert_eq!(names(&bundle.dir().join("rootfs/bin")), set(&[]));
    assert!(!bundle.dir().join("rootfs/pause").exists());
}

#[test]
fn a_closed_directory_is_named_where_a_user_namespace_must_pass() {
    let closed = tempfile::tempdir().unwrap();
    set_mode(closed.path(), 0o700).unwrap();
    let bundles = closed.path().join("bundles");
    let error = Bundle::write(&in_a_user_namespace("one"), &bundles).unwrap_err();
    let expected = fs::canonicalize(closed.path()).unwrap();
    assert!(
        matches!(&error, BundleError::Closed { path } if *path == expected),
        "{error}"
    );
    assert_eq!(names(&bundles), set(&[]));
    Bundle::write(&config("one"), &bundles).unwrap();
}
