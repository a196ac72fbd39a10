use super::*;

const TABLE: &[u8] = b"\
22 1 0:21 / /proc rw,nosuid shared:12 - proc proc rw
40 22 0:30 / /run ro,noexec - tmpfs tmpfs rw,size=100k
41 40 0:30 /netns /run/netns rw shared:5 master:3 propagate_from:2 - tmpfs tmpfs rw
50 41 0:4 net:[4026532] /run/netns/a\\040b rw shared:6 - nsfs nsfs rw
51 50 0:4 net:[4026533] /run/netns/a\\040b rw - nsfs nsfs rw
52 40 0:4 net:[4026532] /run/netns/a\\040b rw shared:6 - nsfs nsfs rw
60 22 0:31 / /cg rw - cgroup cgroup rw,pids
";

fn table() -> Vec<Mount> {
    parse(TABLE).unwrap()
}

#[test]
fn a_line_gives_all_that_is_used() {
    let table = table();
    assert_eq!(table.len(), 7);
    let run = &table[1];
    assert_eq!((run.id, run.parent), (40, 22));
    assert_eq!(run.point, Path::new("/run"));
    assert!(run.read_only && !run.shared);
    assert_eq!(run.kind, "tmpfs");
    assert_eq!(table[6].super_options, "rw,pids");
}

#[test]
fn shared_is_seen_among_other_optional_fields() {
    let table = table();
    assert!(table[2].shared);
    assert!(!table[1].shared);
    assert!(!table[2].read_only);
}

#[test]
fn escapes_are_undone() {
    assert_eq!(unescape(br"a\040b\011c\012d\134e"), b"a b\tc\nd\\e");
    assert_eq!(unescape(br"tail\04"), br"tail\04");
    assert_eq!(unescape(br"\777"), br"\777");
    assert_eq!(unescape(br"\9"), br"\9");
    assert_eq!(unescape(br"\"), br"\");
    assert_eq!(unescape(b"\\303\\244"), "ä".as_bytes());
}

#[test]
fn all_mounts_on_a_point_are_counted_hidden_ones_too() {
    assert_eq!(count_on(&table(), Path::new("/run/netns/a b")), 3);
    assert_eq!(count_on(&table(), Path::new("/run/netns")), 1);
    assert_eq!(count_on(&table(), Path::new("/run/netns/a")), 0);
}

#[test]
fn a_twin_on_a_hidden_peer_is_no_stack() {
    assert_eq!(stack_depth(&table(), 51), 2);
    assert_eq!(stack_depth(&table(), 50), 1);
    assert_eq!(stack_depth(&table(), 52), 1);
    assert_eq!(stack_depth(&table(), 99), 0);
}

#[test]
fn a_mount_that_is_its_own_parent_ends_the_count() {
    let root = b"1 1 0:1 / / rw - rootfs rootfs rw\n";
    assert_eq!(stack_depth(&parse(root).unwrap(), 1), 1);
}

#[test]
fn a_line_that_cannot_be_read_is_named() {
    for bad in [
        "36",
        "x 35 0:1 / /mnt rw - ext4 /dev/x rw",
        "36 35 0:1 / /mnt rw shared:1",
    ] {
        let error = parse(bad.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(bad), "{error}");
    }
}

#[test]
fn the_real_table_can_be_read() {
    let table = read().unwrap();
    assert!(table.iter().any(|mount| mount.kind == "proc"));
}
