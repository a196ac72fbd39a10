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

/// Files stand for namespaces, and directories for processes.
#[test]
fn who_lives_in_a_namespace_or_carries_its_id_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let processes = tempfile::tempdir().unwrap();
    let [inhabited, carried, marked, empty, gone] = [1, 2, 3, 4, 5].map(|number| id(number, 7));
    let path = |id: PodId| directory.path().join(id.to_string());
    for id in [inhabited, carried, marked, empty] {
        fs::write(path(id), "").unwrap();
    }
    let process = |pid: &str, namespace: PodId, cgroup: String| {
        let place = processes.path().join(pid);
        fs::create_dir_all(place.join("ns")).unwrap();
        std::os::unix::fs::symlink(path(namespace), place.join("ns/net")).unwrap();
        fs::write(place.join("cgroup"), cgroup).unwrap();
    };
    process("12", inhabited, "0::/\n".to_owned());
    process("13", gone, format!("0::/podwalk/{carried}\n"));
    process("15", gone, String::new());
    let environment = format!("HOME=/\0PODWALK_EFFECT={marked}\0");
    fs::write(processes.path().join("15/environ"), environment).unwrap();
    process("self", empty, String::new());
    let look = || {
        living(
            &[inhabited, carried, marked, empty, gone],
            directory.path(),
            processes.path(),
        )
    };
    let expected = [
        (inhabited, vec![12]),
        (carried, vec![13]),
        (marked, vec![15]),
    ];
    assert_eq!(look().unwrap(), BTreeMap::from(expected));
    // What cannot be looked at may be a sandbox.
    fs::create_dir_all(processes.path().join("14/cgroup")).unwrap();
    let error = look().unwrap_err().to_string();
    assert!(error.contains("14/cgroup"), "{error}");
}
