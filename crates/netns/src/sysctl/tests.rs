use super::*;

fn named(name: &str) -> String {
    name.to_owned()
}

#[test]
fn the_safe_list_is_allowed_by_default_and_sorted_by_owner() {
    for name in SAFE_SYSCTLS {
        let expected = if name.starts_with("net.") {
            SysctlScope::Network
        } else {
            SysctlScope::Ipc
        };
        assert_eq!(check_sysctl(name, &[]), Ok(expected), "{name}");
    }
}

#[test]
fn others_need_the_operator() {
    let allowed = [named("net.core.*"), named("kernel.msgmax")];
    for (name, scope) in [
        ("net.core.somaxconn", SysctlScope::Network),
        ("kernel.msgmax", SysctlScope::Ipc),
    ] {
        assert_eq!(
            check_sysctl(name, &[]),
            Err(Refused::Unsafe { name: named(name) })
        );
        assert_eq!(check_sysctl(name, &allowed), Ok(scope));
    }
    for name in ["net.corex.y", "kernel.msgmnb", "net.ipv4.ip_forward"] {
        assert_eq!(
            check_sysctl(name, &allowed),
            Err(Refused::Unsafe { name: named(name) })
        );
    }
}

#[test]
fn a_pattern_never_reaches_the_node() {
    let everything = [named("*"), named("kernel.*"), named("vm.*")];
    for name in [
        "kernel.panic",
        "vm.overcommit_memory",
        "fs.file-max",
        "kernel.hostname",
    ] {
        assert_eq!(
            check_sysctl(name, &everything),
            Err(Refused::Node { name: named(name) })
        );
    }
    assert_eq!(
        check_sysctl("fs.mqueue.msg_max", &everything),
        Ok(SysctlScope::Ipc)
    );
    assert_eq!(
        check_sysctl("kernel.sem", &everything),
        Ok(SysctlScope::Ipc)
    );
}

#[test]
fn a_name_cannot_walk_out() {
    let long = format!("net.{}", "a".repeat(250));
    for name in [
        "",
        ".",
        "net",
        "net.",
        ".net.x",
        "net..x",
        "net.../x",
        "net/ipv4/ip_forward",
        "net.ipv4./../../x",
        "net.a\0b",
        "net.a b",
        "net.ä",
        "net.a\n",
        &long,
    ] {
        let refused = Refused::Name { name: named(name) };
        assert_eq!(
            check_sysctl(name, &[named("*")]),
            Err(refused.clone()),
            "{name:?}"
        );
        assert_eq!(network_file(name, "1"), Err(refused), "{name:?}");
    }
}

#[test]
fn only_network_sysctls_have_a_file_here() {
    assert_eq!(
        network_file("net.ipv4.ip_forward", "1"),
        Ok(named("/proc/sys/net/ipv4/ip_forward"))
    );
    let ipc = Refused::NotNetwork {
        name: named("kernel.sem"),
    };
    assert_eq!(network_file("kernel.sem", "1"), Err(ipc));
    let node = Refused::Node {
        name: named("vm.swappiness"),
    };
    assert_eq!(network_file("vm.swappiness", "1"), Err(node));
}

#[test]
fn a_value_is_one_short_line() {
    let refused = Err(Refused::Value {
        name: named("net.a"),
    });
    for value in ["1\n2", "1\0", "\u{7f}", &"9".repeat(4096)] {
        assert_eq!(network_file("net.a", value), refused, "{value:?}");
    }
    assert!(network_file("net.a", "1024\t65535").is_ok());
    assert!(network_file("net.a", "").is_ok());
}
