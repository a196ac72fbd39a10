use super::*;

fn detail(id: &str) -> QuarantineDetail {
    QuarantineDetail {
        id: id.to_owned(),
        name: "web".to_owned(),
        reason: "record 0 is missing".to_owned(),
        records: Vec::new(),
    }
}

#[test]
fn a_text_means_one_pod_or_the_error_names_all() {
    let list = || vec![detail("aa11"), detail("ab22")];
    assert_eq!(one(list(), "aa").unwrap().id, "aa11");
    let error = one(list(), "a").unwrap_err().to_string();
    assert!(error.contains("aa11, ab22"), "{error}");
    let error = one(list(), "c").unwrap_err().to_string();
    assert_eq!(error, "no pod 'c' in quarantine");
}

#[test]
fn what_is_wrong_twice_with_a_pod_is_one_row() {
    let pod = PodId([3; 16]);
    let list = vec![
        (pod, "its obituary".to_owned()),
        (pod, "record 2".to_owned()),
    ];
    let pods = by_pod(list);
    assert_eq!(pods.get(&pod).unwrap(), "its obituary; record 2");
    assert_eq!(pods.len(), 1);
}

#[test]
fn what_is_dropped_is_kept_whole_and_for_root_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("quarantine/aa11.json");
    let dropped = Dropped {
        drop_reason: "of no use".to_owned(),
        dropped_at: 5,
        pod: detail("aa11"),
    };
    // Twice: a drop that was cut short after its file is done again.
    for _ in 0..2 {
        write_whole(&path, &dropped).unwrap();
    }
    let read: Dropped = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(read, dropped);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn bytes_that_cannot_be_kept_are_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("no/such/place/aa11.json");
    let dropped = Dropped {
        drop_reason: String::new(),
        dropped_at: 0,
        pod: detail("aa11"),
    };
    assert!(write_whole(&path, &dropped).is_err());
}
