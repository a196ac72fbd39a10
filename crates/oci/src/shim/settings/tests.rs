use super::*;

#[test]
fn no_options_are_no_message() {
    assert_eq!(ShimOptions::None.message(Path::new("/run/x")), None);
}

#[test]
fn a_configuration_file_is_the_second_field() {
    let options = ShimOptions::ConfigPath(PathBuf::from("/k.toml"));
    let message = options.message(Path::new("/run/x")).unwrap();
    assert_eq!(message.type_url, "runtimeoptions.v1.Options");
    // Field 2, of a length: 2 << 3 | 2.
    assert_eq!(message.value, b"\x12\x07/k.toml");
}

#[test]
fn runc_keeps_its_state_in_the_handlers_root() {
    let options = ShimOptions::Runc {
        binary: Some(PathBuf::from("crun")),
        systemd_cgroup: true,
    };
    let message = options.message(Path::new("/run/x")).unwrap();
    assert_eq!(message.type_url, "containerd.runc.v1.Options");
    let read = Options::parse_from_bytes(&message.value).unwrap();
    assert_eq!(
        (read.binary_name.as_str(), read.root.as_str()),
        ("crun", "/run/x")
    );
    assert!(read.systemd_cgroup);
}
