use super::*;

const HYBRID: &[u8] = b"\
30 20 0:1 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:2 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
32 30 0:3 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
33 30 0:4 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
34 30 0:5 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
35 30 0:6 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";

fn chosen(table: &[u8], usable: impl Fn(&Mount) -> bool) -> CgroupLayout {
    choose(&mountinfo::parse(table).unwrap(), usable)
}

fn v1(hierarchy: &str) -> CgroupLayout {
    CgroupLayout::V1 {
        hierarchy: hierarchy.into(),
    }
}

#[test]
fn a_hybrid_layout_is_version_1_and_pids_comes_first() {
    assert_eq!(chosen(HYBRID, |_| true), v1("/sys/fs/cgroup/pids"));
}

#[test]
fn the_next_one_wanted_is_taken_where_one_is_hidden() {
    assert_eq!(
        chosen(HYBRID, |mount| mount.id != 33),
        v1("/sys/fs/cgroup/freezer")
    );
    assert_eq!(
        chosen(HYBRID, |mount| mount.id > 33),
        v1("/sys/fs/cgroup/systemd")
    );
}

#[test]
fn version_2_alone_is_version_2() {
    let root = "/sys/fs/cgroup/unified".into();
    assert_eq!(
        chosen(HYBRID, |mount| mount.id == 35),
        CgroupLayout::V2 { root }
    );
}

#[test]
fn without_a_usable_one_there_is_none() {
    assert_eq!(chosen(HYBRID, |_| false), CgroupLayout::None);
    assert_eq!(chosen(b"", |_| true), CgroupLayout::None);
    let read_only = b"33 30 0:4 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup2 rw\n";
    assert_eq!(chosen(read_only, |_| true), CgroupLayout::None);
}

#[test]
fn a_controller_is_matched_whole() {
    let near = b"33 30 0:4 / /c rw - cgroup cgroup rw,pidsx,xfreezer\n";
    assert_eq!(chosen(near, |_| true), CgroupLayout::None);
}

#[test]
fn this_machine_answers() {
    match CgroupLayout::detect().unwrap() {
        CgroupLayout::V1 { hierarchy: point } | CgroupLayout::V2 { root: point } => {
            assert!(point.join("cgroup.procs").exists(), "{}", point.display());
        }
        CgroupLayout::None => {}
    }
}
