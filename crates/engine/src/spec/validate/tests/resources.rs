//! Limits, the sandbox's and the overhead's.

use super::*;
use crate::spec::Resources;

type Change = fn(&mut Resources);

fn with(change: Change) -> Resources {
    let mut changed = Resources::default();
    change(&mut changed);
    changed
}

fn pages(size: &str) -> BTreeMap<String, u64> {
    BTreeMap::from([(size.to_owned(), 1 << 30)])
}

/// The overhead is checked as the sandbox's own limits are.
fn both_refuse(change: Change, field: &str) {
    refused(
        |spec| spec.resources = with(change),
        &format!("resources.{field}"),
    );
    refused(
        |spec| spec.overhead = with(change),
        &format!("overhead.{field}"),
    );
}

#[test]
fn what_the_kernel_takes_is_taken() {
    let right: [Change; 22] = [
        |_| {},
        |of| of.cpu_shares = u64::MAX,
        |of| of.cpu_quota = -1,
        |of| of.cpu_quota = 1_000,
        |of| of.cpu_quota = i64::MAX,
        |of| of.cpu_period = 1_000,
        |of| of.cpu_period = 1_000_000,
        |of| of.cpuset_cpus = "0-3,8".to_owned(),
        |of| of.cpuset_mems = "0".to_owned(),
        |of| of.cpuset_cpus = "7-7,1,4294967295".to_owned(),
        |of| of.memory_limit = -1,
        |of| of.memory_limit = i64::MAX,
        |of| of.memory_swap_limit = -1,
        |of| (of.memory_limit, of.memory_swap_limit) = (7, 7),
        |of| (of.memory_limit, of.memory_swap_limit) = (1, i64::MAX),
        |of| of.oom_score_adj = Some(-1_000),
        |of| of.oom_score_adj = Some(1_000),
        |of| {
            of.hugepages = ["2MB", "1GB", "64KB"]
                .map(|size| (size.to_owned(), 0))
                .into()
        },
        |of| of.pids_limit = -1,
        |of| of.unified = one("memory.high", "max"),
        |of| of.unified = one("hugetlb.2MB.max", ""),
        |of| of.unified = one("io.max", "8:0 rbps=1048576 wiops=max"),
    ];
    for (at, change) in right.into_iter().enumerate() {
        let mut spec = valid();
        spec.resources = with(change);
        spec.overhead = with(change);
        assert_eq!(spec.validate(), Ok(()), "row {at}");
    }
}

#[test]
fn numbers_are_refused_that_are_out_of_range() {
    let wrong: [(Change, &str); 16] = [
        (|of| of.cpu_quota = -2, "cpu_quota"),
        (|of| of.cpu_quota = 1, "cpu_quota"),
        (|of| of.cpu_quota = 999, "cpu_quota"),
        (|of| of.cpu_quota = i64::MIN, "cpu_quota"),
        (|of| of.cpu_period = 1, "cpu_period"),
        (|of| of.cpu_period = 999, "cpu_period"),
        (|of| of.cpu_period = 1_000_001, "cpu_period"),
        (|of| of.memory_limit = -2, "memory_limit_in_bytes"),
        (|of| of.memory_swap_limit = -2, "memory_swap_limit_in_bytes"),
        (|of| of.memory_swap_limit = 1, "memory_swap_limit_in_bytes"),
        (
            |of| (of.memory_limit, of.memory_swap_limit) = (-1, 1),
            "memory_swap_limit_in_bytes",
        ),
        (
            |of| (of.memory_limit, of.memory_swap_limit) = (8, 7),
            "memory_swap_limit_in_bytes",
        ),
        (|of| of.oom_score_adj = Some(-1_001), "oom_score_adj"),
        (|of| of.oom_score_adj = Some(1_001), "oom_score_adj"),
        (|of| of.pids_limit = -2, "pids_limit"),
        (|of| of.pids_limit = i64::MIN, "pids_limit"),
    ];
    for (change, field) in wrong {
        both_refuse(change, field);
    }
}

#[test]
fn lists_sizes_and_files_are_refused_that_are_none() {
    let wrong: [(Change, &str); 29] = [
        (|of| of.cpuset_cpus = "a".to_owned(), "cpuset_cpus"),
        (|of| of.cpuset_cpus = ",".to_owned(), "cpuset_cpus"),
        (|of| of.cpuset_cpus = "1,".to_owned(), "cpuset_cpus"),
        (|of| of.cpuset_cpus = "3-0".to_owned(), "cpuset_cpus"),
        (|of| of.cpuset_cpus = "-1".to_owned(), "cpuset_cpus"),
        (|of| of.cpuset_cpus = "+1".to_owned(), "cpuset_cpus"),
        (|of| of.cpuset_cpus = "0-1-2".to_owned(), "cpuset_cpus"),
        (|of| of.cpuset_cpus = "4294967296".to_owned(), "cpuset_cpus"),
        (|of| of.cpuset_mems = "0 ,1".to_owned(), "cpuset_mems"),
        (|of| of.cpuset_mems = "0\n".to_owned(), "cpuset_mems"),
        (|of| of.cpuset_mems = "\0".to_owned(), "cpuset_mems"),
        (|of| of.hugepages = pages(""), "hugepage_limits"),
        (|of| of.hugepages = pages("MB"), "hugepage_limits"),
        (|of| of.hugepages = pages("2mb"), "hugepage_limits"),
        (|of| of.hugepages = pages("2Mi"), "hugepage_limits"),
        (|of| of.hugepages = pages("02MB"), "hugepage_limits"),
        (|of| of.hugepages = pages("0KB"), "hugepage_limits"),
        (|of| of.hugepages = pages("+2MB"), "hugepage_limits"),
        (|of| of.hugepages = pages("2MB\0"), "hugepage_limits"),
        (|of| of.unified = one("", "1"), "unified"),
        (|of| of.unified = one("memory", "1"), "unified"),
        (|of| of.unified = one("cgroup.procs", "1"), "unified"),
        (|of| of.unified = one("cgroup.kill", "1"), "unified"),
        (|of| of.unified = one("../memory.high", "1"), "unified"),
        (|of| of.unified = one("memory..high", "1"), "unified"),
        (|of| of.unified = one(".high", "1"), "unified"),
        (|of| of.unified = one("memory.high\0", "1"), "unified"),
        (|of| of.unified = one("memory.high", "1\n2"), "unified"),
        (|of| of.unified = one("memory.high", "\0"), "unified"),
    ];
    for (change, field) in wrong {
        both_refuse(change, field);
    }
}

#[test]
fn what_is_long_is_refused_by_its_size() {
    let wrong: [(Change, &str); 4] = [
        (|of| of.cpuset_cpus = "1".repeat(1 << 20), "cpuset_cpus"),
        (|of| of.cpuset_mems = "1".repeat(1 << 20), "cpuset_mems"),
        (
            |of| of.hugepages = pages(&"1".repeat(1 << 20)),
            "hugepage_limits",
        ),
        (
            |of| of.unified = one("memory.high", &"1".repeat(1 << 20)),
            "unified",
        ),
    ];
    for (change, field) in wrong {
        both_refuse(change, field);
    }
}

/// A limit is eight bytes beside its size.
#[test]
fn each_limit_of_huge_pages_counts_with_its_number() {
    let pages = |count: u32| {
        let size = |number| (format!("{number}KB"), 0);
        (100_000..100_000 + count).map(size).collect()
    };
    let sized = |own, overhead| {
        let mut spec = valid();
        spec.resources.hugepages = pages(own);
        spec.overhead.hugepages = pages(overhead);
        spec.validate()
    };
    // Each is eight bytes of text, eight of its length, eight of the limit.
    for (own, overhead) in [(10_000, 0), (0, 10_000), (5_000, 5_000)] {
        assert_eq!(sized(own, overhead), Ok(()));
        let more = (own * 11 / 10, overhead * 11 / 10);
        assert!(sized(more.0, more.1).is_err(), "{more:?}");
    }
    assert_eq!(sized(11_000, 0).unwrap_err().field, largest());
}
