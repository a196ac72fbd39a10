use super::*;
use crate::cgroup::CgroupParent;
use crate::id::SandboxId;

const STAT_V1: &str = "\
cache 4096
rss 8192
inactive_file 1
pgfault 2
pgmajfault 3
hierarchical_memory_limit 9223372036854771712
total_cache 40960
total_rss 81920
total_pgfault 500
total_pgmajfault 7
total_inactive_file 20000
";
const STAT_V2: &str = "\
anon 70000
file 40960
inactive_anon 5
inactive_file 30000
pgfault 900
pgmajfault 11
";
const CPU_V2: &str = "usage_usec 2500\nuser_usec 2000\nsystem_usec 500\n";

/// Hierarchies as plain directories.
struct Fake {
    directory: tempfile::TempDir,
    cgroups: Cgroups,
    path: CgroupsPath,
}

impl Fake {
    fn new(layout: CgroupLayout, hierarchies: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let id = SandboxId::new("pod-1").unwrap();
        let path = CgroupsPath::new(&CgroupParent::default(), &id).unwrap();
        let roots: Vec<PathBuf> = hierarchies
            .iter()
            .map(|name| directory.path().join(name))
            .collect();
        let cgroups = Cgroups { layout, roots };
        for made in cgroups.directories(&path) {
            fs::create_dir_all(made).unwrap();
        }
        Self {
            directory,
            cgroups,
            path,
        }
    }

    fn write(&self, hierarchy: &str, name: &str, content: &str) {
        let directory = self.directory.path().join(hierarchy).join("podwalk/pod-1");
        fs::write(directory.join(name), content).unwrap();
    }

    fn read(&self) -> io::Result<CgroupUsage> {
        read(&self.cgroups, &self.path)
    }
}

fn v1(layout: CgroupLayout) -> Fake {
    let fake = Fake::new(layout, &["pids", "cpu", "cpuacct", "memory"]);
    fake.write("cpuacct", "cpuacct.usage", "123456789\n");
    fake.write("memory", "memory.usage_in_bytes", "100000\n");
    fake.write("memory", "memory.limit_in_bytes", "9223372036854771712\n");
    fake.write("memory", "memory.stat", STAT_V1);
    fake.write("pids", "pids.current", "3\n");
    fake
}

fn v2() -> Fake {
    let fake = Fake::new(CgroupLayout::V2, &["."]);
    fake.write(".", "cpu.stat", CPU_V2);
    fake.write(".", "memory.current", "100000\n");
    fake.write(".", "memory.max", "max\n");
    fake.write(".", "memory.stat", STAT_V2);
    fake.write(".", "pids.current", "4\n");
    fake
}

#[test]
fn version_1_is_read_from_all_its_hierarchies() {
    let expected = CgroupUsage {
        cpu_ns: Some(123_456_789),
        memory: Some(MemoryUsage {
            usage: 100_000,
            working_set: 80_000,
            rss: 81_920,
            limit: None,
            page_faults: 500,
            major_page_faults: 7,
        }),
        pids: Some(3),
    };
    for layout in [CgroupLayout::V1, CgroupLayout::Hybrid] {
        assert_eq!(v1(layout).read().unwrap(), expected, "{layout}");
    }
}

#[test]
fn version_2_is_read_from_its_one_hierarchy() {
    let expected = CgroupUsage {
        cpu_ns: Some(2_500_000),
        memory: Some(MemoryUsage {
            usage: 100_000,
            working_set: 70_000,
            rss: 70_000,
            limit: None,
            page_faults: 900,
            major_page_faults: 11,
        }),
        pids: Some(4),
    };
    assert_eq!(v2().read().unwrap(), expected);
}

#[test]
fn a_limit_is_a_number_or_none() {
    let one = v1(CgroupLayout::V1);
    one.write("memory", "memory.limit_in_bytes", "67108864\n");
    let two = v2();
    two.write(".", "memory.max", "67108864\n");
    for fake in [one, two] {
        let memory = fake.read().unwrap().memory.unwrap();
        assert_eq!(memory.limit, Some(67_108_864));
    }
    // Whole pages of 64 KiB, of 4 KiB, and no pages at all.
    for none in [0x7fff_ffff_ffff_0000_u64, 0x7fff_ffff_ffff_f000, u64::MAX] {
        assert_eq!(limit_v1(&none.to_string()), Some(None));
    }
    assert_eq!(
        limit_v1("9223372036854710271"),
        Some(Some(9_223_372_036_854_710_271))
    );
    assert_eq!(limit_v1("max"), None);
    assert_eq!(limit_v2("none"), None);
}

#[test]
fn what_has_no_controller_is_absent_and_not_zero() {
    let fake = Fake::new(CgroupLayout::V2, &["."]);
    assert_eq!(fake.read().unwrap(), CgroupUsage::default());
    fake.write(".", "cpu.stat", CPU_V2);
    let usage = fake.read().unwrap();
    assert_eq!(usage.cpu_ns, Some(2_500_000));
    assert_eq!((usage.memory, usage.pids), (None, None));

    let fake = Fake::new(CgroupLayout::V1, &["pids"]);
    fake.write("pids", "pids.current", "1\n");
    let usage = fake.read().unwrap();
    assert_eq!(
        (usage.cpu_ns, usage.memory, usage.pids),
        (None, None, Some(1))
    );
}

#[test]
fn nothing_is_known_without_the_cgroup_or_without_cgroups() {
    let fake = v2();
    fs::remove_dir_all(fake.directory.path().join("podwalk")).unwrap();
    assert_eq!(fake.read().unwrap(), CgroupUsage::default());
    let mut fake = v2();
    fake.cgroups.layout = CgroupLayout::None;
    assert_eq!(fake.read().unwrap(), CgroupUsage::default());
}

#[test]
fn a_working_set_is_never_below_zero() {
    // The two files are read one after the other.
    let fake = v2();
    fake.write(".", "memory.current", "29999\n");
    assert_eq!(fake.read().unwrap().memory.unwrap().working_set, 0);
}

#[test]
fn a_file_that_says_something_else_is_named() {
    for (name, content) in [
        ("memory.current", "-1\n"),
        ("memory.max", "\n"),
        ("memory.stat", "anon 1\n"),
        ("cpu.stat", "nr_periods 0\n"),
        ("pids.current", "max\n"),
    ] {
        let fake = v2();
        fake.write(".", name, content);
        let error = fake.read().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let fake = Fake::new(CgroupLayout::V2, &["."]);
    let directory = fake.directory.path().join("podwalk/pod-1/pids.current");
    fs::create_dir(directory).unwrap();
    let error = fake.read().unwrap_err();
    assert!(error.to_string().contains("pids.current"), "{error}");
}

#[test]
fn a_figure_is_found_by_its_whole_name() {
    assert_eq!(keyed("total_rss 1\nrss 2\n", "rss"), Some(2));
    assert_eq!(keyed("rss_huge 1\n", "rss"), None);
    assert_eq!(keyed("rss many\n", "rss"), None);
    assert_eq!(
        cpu_ns(&format!("usage_usec {}\n", u64::MAX)),
        Some(u64::MAX)
    );
}
