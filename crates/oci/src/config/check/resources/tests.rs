use super::*;

/// The field that is refused.
fn refused(change: impl FnOnce(&mut Resources)) -> Option<&'static str> {
    let mut resources = Resources::default();
    change(&mut resources);
    match check(&resources) {
        Ok(()) => None,
        Err(ConfigError::Resource { field, .. }) => Some(field),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn takes_lists_of_cpus_and_nodes() {
    for list in ["0", "0-3", "0-3,8", "8,0-3,5-5"] {
        let list = || Some(list.to_owned());
        assert_eq!(refused(|limits| limits.cpuset_cpus = list()), None);
        assert_eq!(refused(|limits| limits.cpuset_mems = list()), None);
    }
}

#[test]
fn refuses_lists_that_are_none() {
    for list in [
        "", ",", "0,", "3-1", "a", "+1", "-1", "0-", "0 1", "0\n", "0-1-2",
    ] {
        let given = || Some(list.to_owned());
        let cpus = refused(|limits| limits.cpuset_cpus = given());
        let mems = refused(|limits| limits.cpuset_mems = given());
        assert_eq!(
            (cpus, mems),
            (Some("cpuset_cpus"), Some("cpuset_mems")),
            "{list:?}"
        );
    }
}

#[test]
fn swap_includes_memory() {
    let with = |swap, memory| {
        refused(|limits| (limits.memory_swap_limit, limits.memory_limit) = (Some(swap), memory))
    };
    for (swap, memory) in [(10, 10), (11, 10), (-1, 10), (-1, -1)] {
        assert_eq!(with(swap, Some(memory)), None, "{swap} {memory}");
    }
    for (swap, memory) in [(9, Some(10)), (0, Some(-1)), (10, None), (-1, None)] {
        assert_eq!(
            with(swap, memory),
            Some("memory_swap_limit"),
            "{swap} {memory:?}"
        );
    }
}

#[test]
fn huge_pages_have_a_size_and_a_limit() {
    let with = |size: &str, limit| {
        let size = size.to_owned();
        refused(|limits| {
            limits.hugepages.insert(size, limit);
        })
    };
    for size in ["64KB", "2MB", "1GB"] {
        assert_eq!(with(size, 0), None, "{size}");
        assert_eq!(with(size, i64::MAX.cast_unsigned()), None, "{size}");
    }
    for size in [
        "", "2", "MB", "0MB", "2M", "2mb", "-2MB", "2MB.x", "../2MB", "2TB",
    ] {
        assert_eq!(with(size, 0), Some("hugepages"), "{size:?}");
    }
    assert_eq!(with("2MB", 1 << 63), Some("hugepages"));
}

#[test]
fn unified_names_a_file_of_the_cgroup() {
    let with = |file: &str, value: &str| {
        let (file, value) = (file.to_owned(), value.to_owned());
        refused(|limits| {
            limits.unified.insert(file, value);
        })
    };
    assert_eq!(with("memory.high", "max"), None);
    assert_eq!(with("hugetlb.2MB.max", "0"), None);
    assert_eq!(with("io.max", "8:0 rbps=1\n8:16 rbps=2"), None);
    for file in ["", "..", ".x", "../cgroup.procs", "a/b", "a b", "a\0"] {
        assert_eq!(with(file, "1"), Some("unified"), "{file:?}");
    }
    assert_eq!(with("memory.high", "\0"), Some("unified"));
}
