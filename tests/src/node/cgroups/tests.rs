use super::*;

const MOUNTS: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

fn own(groups: &str) -> Vec<(String, String)> {
    Hierarchies::parse(groups, MOUNTS)
        .0
        .into_iter()
        .map(|one| (one.controllers, one.own.display().to_string()))
        .collect()
}

fn pair(controllers: &str, own: &str) -> (String, String) {
    (controllers.to_owned(), own.to_owned())
}

#[test]
fn each_hierarchy_is_found_by_its_controllers() {
    let groups = "9:name=systemd:/\n8:pids:/a/b\n2:cpu,cpuacct:/\n0::/user\n";
    assert_eq!(
        own(groups),
        [
            pair("name=systemd", "/sys/fs/cgroup/systemd/"),
            pair("pids", "/sys/fs/cgroup/pids/a/b"),
            pair("cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct/"),
            pair("", "/sys/fs/cgroup/unified/user"),
        ]
    );
}

#[test]
fn a_path_is_taken_relative_to_the_root_of_its_mount() {
    assert_eq!(
        own("4:memory:/docker/abc/x\n"),
        [pair("memory", "/sys/fs/cgroup/memory/x")]
    );
}

#[test]
fn a_hierarchy_that_cannot_be_reached_is_left_out() {
    assert_eq!(own("4:memory:/elsewhere\n7:hugetlb:/\n"), []);
}

#[test]
fn version_1_needs_the_controllers_of_a_runtime() {
    let with = |names: &[&str]| {
        let one = |name: &&str| Hierarchy {
            controllers: (*name).to_owned(),
            own: PathBuf::from("/"),
        };
        Hierarchies(names.iter().map(one).collect()).serves_v1()
    };
    assert!(with(&["pids", "devices", "memory", "freezer"]));
    assert!(with(&["pids,devices,freezer"]));
    assert!(!with(&["pids", "devices"]));
    assert!(!with(&[""]));
}

#[test]
fn only_a_group_whose_maker_is_gone_is_abandoned() {
    let own = std::process::id();
    let started = start_time(own).unwrap();
    assert!(!is_abandoned(&format!("{PREFIX}{own}-{started}-0")));
    // The pid was given to another process since.
    assert!(is_abandoned(&format!("{PREFIX}{own}-{}-0", started + 1)));
    assert!(is_abandoned(&format!("{PREFIX}4294967295-1-0")));
    assert!(!is_abandoned("podwalk-effects"));
    assert!(!is_abandoned(&format!("{PREFIX}somebody-else")));
}

#[test]
fn a_tree_goes_from_its_leaves() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("root");
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::create_dir_all(root.join("c")).unwrap();
    remove_tree(&root);
    assert!(!root.exists());
}

#[test]
fn an_empty_cpuset_is_given_what_its_parent_has() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    for (directory, cpus) in [(&from, "0-1\n"), (&to, "\n")] {
        fs::create_dir(directory).unwrap();
        fs::write(directory.join("cpuset.cpus"), cpus).unwrap();
    }
    inherit_cpuset(&from, &to).unwrap();
    assert_eq!(fs::read_to_string(to.join("cpuset.cpus")).unwrap(), "0-1");
    assert!(!to.join("cpuset.mems").exists());
}
