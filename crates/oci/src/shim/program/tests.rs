use super::*;

#[test]
fn a_version_is_one_line() {
    let go = "containerd-shim-runc-v2:\n  Version:  1.6.20~ds1\n  Revision: x\n";
    assert_eq!(
        version(go).as_deref(),
        Some("containerd-shim-runc-v2 1.6.20~ds1")
    );
    let kata = "Kata Containers containerd shim: id: \"x\", version: 3.2.0\n";
    assert_eq!(version(kata).as_deref(), Some(kata.trim()));
    assert_eq!(version("\n"), None);
}
