use super::*;
use std::os::unix::fs::PermissionsExt;

fn place(directory: &Path, name: &str, mode: u32) -> PathBuf {
    let path = directory.join(name);
    fs::create_dir_all(directory).unwrap();
    fs::write(&path, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn handler(binary: impl Into<PathBuf>) -> Handler {
    Handler::new("default", binary, "/run/x")
}

#[test]
fn a_path_is_taken_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = place(directory.path(), "crun", 0o755);
    assert_eq!(handler(&path).locate().unwrap(), path);
}

#[test]
fn scenario_33_a_missing_path_or_name_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let error = handler(directory.path().join("crun")).locate().unwrap_err();
    assert!(
        matches!(&error, OciError::RuntimeMissing { searched, .. } if searched.is_empty()),
        "{error}"
    );
    let error = handler("no-such-runtime").locate().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no-such-runtime was not found in /"),
        "{error}"
    );
    assert!(error.to_string().contains("/usr/sbin"), "{error}");
}

#[test]
fn scenario_33_what_cannot_be_executed_is_no_runtime() {
    let directory = tempfile::tempdir().unwrap();
    let path = place(directory.path(), "crun", 0o644);
    let error = handler(&path).locate().unwrap_err();
    assert!(matches!(error, OciError::NotExecutable { .. }), "{error}");
    let error = handler(directory.path()).locate().unwrap_err();
    assert!(
        matches!(error, OciError::NotExecutable { .. }),
        "a directory: {error}"
    );
}

#[test]
fn a_name_is_looked_up_in_order_and_unfit_files_are_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let [one, two, three] = ["one", "two", "three"].map(|name| directory.path().join(name));
    let places = vec![one.clone(), two.clone(), three.clone()];
    place(&one, "crun", 0o644);
    let error = handler("crun").locate_in(places.clone()).unwrap_err();
    assert!(matches!(error, OciError::NotExecutable { .. }), "{error}");
    let third = place(&three, "crun", 0o755);
    assert_eq!(handler("crun").locate_in(places.clone()).unwrap(), third);
    let second = place(&two, "crun", 0o755);
    assert_eq!(handler("crun").locate_in(places).unwrap(), second);
}

#[test]
fn places_are_named_once_and_relative_ones_are_not_searched() {
    let places = ["/nowhere", ".", "", "/nowhere", "/no/where"]
        .map(PathBuf::from)
        .to_vec();
    let error = handler("crun").locate_in(places).unwrap_err();
    let OciError::RuntimeMissing { searched, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(searched, [Path::new("/nowhere"), Path::new("/no/where")]);
}

#[test]
fn a_start_fits_into_the_patience_of_kubelet() {
    let deadlines = Deadlines::default();
    let all = [
        deadlines.query,
        deadlines.create,
        deadlines.start,
        deadlines.kill,
        deadlines.delete,
    ];
    assert!(all.iter().sum::<Duration>() < Duration::from_secs(120));
}
