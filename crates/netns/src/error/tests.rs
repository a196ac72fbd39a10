use super::*;

fn system(errno: i32) -> String {
    let fail = Error::system::<io::Error>("unmount", Path::new("/run/netns/a"));
    fail(io::Error::from_raw_os_error(errno)).to_string()
}

#[test]
fn a_system_error_names_step_path_and_remedy() {
    let text = system(nix::libc::EPERM);
    assert!(text.starts_with("cannot unmount /run/netns/a: "), "{text}");
    assert!(text.ends_with("run as root with CAP_SYS_ADMIN and CAP_NET_ADMIN"));
}

#[test]
fn each_common_errno_has_a_remedy_of_its_own() {
    let errnos = [1, 2, 12, 24, 28, 30, 92, 5];
    let mut texts: Vec<&str> = errnos
        .iter()
        .map(|errno| remedy(&io::Error::from_raw_os_error(*errno)))
        .collect();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), errnos.len());
}

#[test]
fn a_sysctl_error_tells_a_missing_name_from_a_bad_value() {
    let fail = |errno| {
        Error::Sysctl {
            name: "net.core.x".into(),
            value: "1".into(),
            path: "/run/netns/a".into(),
            source: io::Error::from_raw_os_error(errno),
        }
        .to_string()
    };
    assert!(fail(nix::libc::ENOENT).contains("has no such sysctl"));
    assert!(fail(nix::libc::EINVAL).contains("does not take this value"));
    assert!(fail(nix::libc::EPERM).contains("run as root"));
}

#[test]
fn only_a_foreign_object_is_foreign() {
    let path = PathBuf::from("/run/netns/a");
    let found = Foreign::NotEmpty { bytes: 3 };
    let foreign = Error::Foreign {
        path: path.clone(),
        found,
    };
    assert!(foreign.is_foreign());
    assert!(foreign.to_string().contains("a file with 3 bytes in it"));
    assert!(!Error::Mounted { path }.is_foreign());
}
