use super::*;

const V1: &str = "\
24 1 0:22 / / rw - ext4 /dev/vda rw
30 24 0:30 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:31 / /sys/fs/cgroup/cpu rw shared:5 - cgroup cgroup rw,cpu
32 30 0:32 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
";
const V2: &str = "30 24 0:30 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n";
const UNIFIED_MOUNT: &str = "33 30 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

fn id() -> SandboxId {
    SandboxId::new("pod-1").unwrap()
}

fn path(parent: &CgroupParent) -> CgroupsPath {
    CgroupsPath::new(parent, &id()).unwrap()
}

#[test]
fn a_layout_is_what_is_mounted() {
    assert_eq!(Cgroups::parse(V1).layout, CgroupLayout::V1);
    assert_eq!(Cgroups::parse(V2).layout, CgroupLayout::V2);
    assert_eq!(
        Cgroups::parse(&format!("{V1}{UNIFIED_MOUNT}")).layout,
        CgroupLayout::Hybrid
    );
    assert_eq!(Cgroups::parse("").layout, CgroupLayout::None);
    let elsewhere = "30 24 0:30 / /mnt/cgroup rw - cgroup2 cgroup2 rw\n";
    assert_eq!(Cgroups::parse(elsewhere).layout, CgroupLayout::None);
}

#[test]
fn a_later_mount_hides_an_earlier_one() {
    let tmpfs = "40 30 0:40 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n";
    assert_eq!(
        Cgroups::parse(&format!("{V1}{tmpfs}")).layout,
        CgroupLayout::None
    );
    let over = Cgroups::parse(&format!("{V1}{UNIFIED_MOUNT}{tmpfs}{V2}"));
    assert_eq!((over.layout, over.roots.len()), (CgroupLayout::V2, 1));
}

#[test]
fn all_hierarchies_are_known_and_no_tmpfs() {
    let roots = Cgroups::parse(V1).roots;
    assert_eq!(
        roots,
        [
            Path::new("/sys/fs/cgroup/cpu"),
            Path::new("/sys/fs/cgroup/systemd")
        ]
    );
}

#[test]
fn the_layout_of_this_machine_can_be_read_and_shown() {
    let layout = cgroup_layout().unwrap();
    assert!(["v1", "v2", "hybrid", "no cgroups"].contains(&layout.to_string().as_str()));
}

#[test]
fn a_path_is_the_parent_and_the_id() {
    assert_eq!(path(&CgroupParent::default()).as_str(), "/podwalk/pod-1");
    let given = |parent: &str| path(&CgroupParent::Foreign(parent.to_owned()));
    assert_eq!(
        given("/kubepods/burstable/pod7").as_str(),
        "/kubepods/burstable/pod7/pod-1"
    );
    assert_eq!(given("kubepods/").as_str(), "/kubepods/pod-1");
}

#[test]
fn a_slice_stands_in_the_slices_that_its_name_names() {
    let given = |parent: &str| path(&CgroupParent::Foreign(parent.to_owned()));
    assert_eq!(given("machine.slice").as_str(), "/machine.slice/pod-1");
    let nested = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod7.slice/pod-1";
    assert_eq!(given("kubepods-burstable-pod7.slice").as_str(), nested);
    assert_eq!(
        given("/a.slice/a-b.slice").as_str(),
        "/a.slice/a-b.slice/pod-1"
    );
}

#[test]
fn a_parent_does_not_climb_and_is_not_the_root() {
    let odd = [
        "",
        "/",
        "..",
        "/a/../..",
        "/a//b",
        "/a/./b",
        "a\nb",
        "a b",
        "a\0",
        "a--b.slice",
        "-.slice",
    ];
    for parent in odd {
        for parent in [
            CgroupParent::Owned(parent.to_owned()),
            CgroupParent::Foreign(parent.to_owned()),
        ] {
            let refused = CgroupsPath::new(&parent, &id());
            assert!(
                matches!(refused, Err(ConfigError::CgroupParent { .. })),
                "{parent:?}"
            );
        }
    }
}

/// Two hierarchies as plain directories, with the files that are read.
struct Fake {
    directory: tempfile::TempDir,
    cgroups: Cgroups,
}

impl Fake {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let roots = ["cpu", "pids"]
            .map(|name| directory.path().join(name))
            .to_vec();
        let layout = CgroupLayout::V1;
        Self {
            directory,
            cgroups: Cgroups { layout, roots },
        }
    }

    fn make(&self, path: &str, procs: Option<&str>) {
        let directory = self.directory.path().join(path);
        fs::create_dir_all(&directory).unwrap();
        if let Some(procs) = procs {
            fs::write(directory.join("cgroup.procs"), procs).unwrap();
        }
    }

    fn exists(&self, path: &str) -> bool {
        self.directory.path().join(path).exists()
    }
}

#[test]
fn members_are_those_of_all_hierarchies_and_of_what_is_below_once() {
    let fake = Fake::new();
    let own = path(&CgroupParent::default());
    assert_eq!(fake.cgroups.members(&own).unwrap(), [0; 0]);
    fake.make("cpu/podwalk/pod-1", Some("7\n8\n"));
    fake.make("cpu/podwalk/pod-1/container", Some("9\n"));
    fake.make("pids/podwalk/pod-1", Some("8\n0\n"));
    fake.make("pids/podwalk/pod-2", Some("99\n"));
    assert_eq!(fake.cgroups.members(&own).unwrap(), [0, 7, 8, 9]);
}

#[test]
fn an_owned_parent_goes_with_the_last_and_a_foreign_one_stays() {
    let fake = Fake::new();
    let own = path(&CgroupParent::default());
    let foreign = path(&CgroupParent::Foreign("/kubepods".to_owned()));
    for made in [
        "cpu/podwalk/pod-1/container",
        "cpu/podwalk/pod-2",
        "pids/podwalk/pod-1",
        "cpu/kubepods/pod-1",
    ] {
        fake.make(made, None);
    }
    fake.cgroups.remove(&own, true).unwrap();
    assert!(!fake.exists("cpu/podwalk/pod-1") && fake.exists("cpu/podwalk/pod-2"));
    assert!(
        !fake.exists("pids/podwalk"),
        "it was the last in this hierarchy"
    );
    fake.cgroups.remove(&own, true).unwrap();
    fake.cgroups.remove(&foreign, true).unwrap();
    assert!(fake.exists("cpu/kubepods") && !fake.exists("cpu/kubepods/pod-1"));
}

#[test]
fn a_parent_stays_while_somebody_may_use_it() {
    let fake = Fake::new();
    fake.make("cpu/podwalk/pod-1", None);
    let own = path(&CgroupParent::default());
    fake.cgroups.remove(&own, false).unwrap();
    assert!(fake.exists("cpu/podwalk") && !fake.exists("cpu/podwalk/pod-1"));
}

#[test]
fn what_cannot_be_removed_is_an_error() {
    let fake = Fake::new();
    // A plain directory with a file in it stands for a cgroup with a process in it.
    fake.make("cpu/podwalk/pod-1", Some("1\n"));
    assert!(
        fake.cgroups
            .remove(&path(&CgroupParent::default()), true)
            .is_err()
    );
    assert!(fake.exists("cpu/podwalk/pod-1"));
}
