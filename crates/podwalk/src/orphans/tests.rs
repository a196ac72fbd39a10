use super::*;

fn id(number: u8, instance: u8) -> PodId {
    PodId::new([number; 12], InstanceId([instance; 4]))
}

#[test]
fn only_whole_ids_of_this_instance_are_ours() {
    let directory = tempfile::tempdir().unwrap();
    let names = [
        id(1, 7).to_string(),
        id(2, 8).to_string(),
        format!("{}-", id(3, 7)),
        "07070707".to_owned(),
        "cni-web".to_owned(),
    ];
    for name in names {
        fs::write(directory.path().join(name), "").unwrap();
    }
    let ours = named_by(InstanceId([7; 4]), directory.path()).unwrap();
    assert_eq!(ours, BTreeSet::from([id(1, 7)]));
}

/// This process stands for a sandbox: its namespace is on one file, and not on the other.
#[test]
fn who_lives_in_a_namespace_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let path = |id: PodId| directory.path().join(id.to_string());
    let (inhabited, empty, gone) = (id(1, 7), id(2, 7), id(3, 7));
    std::os::unix::fs::symlink("/proc/self/ns/net", path(inhabited)).unwrap();
    fs::write(path(empty), "").unwrap();
    let living = living(&[inhabited, empty, gone], directory.path()).unwrap();
    assert_eq!(living.keys().collect::<Vec<_>>(), [&inhabited]);
    assert!(living[&inhabited].contains(&std::process::id()));
}
