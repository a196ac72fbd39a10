//! Interfaces, addresses and sysctls of a real namespace.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use podwalk_netns::{
    Address, Error, LinkCounters, Scope, counters, enter, give_addresses, links, lo_up, pin, place,
    set_sysctls,
};

use crate::node::{node_tests, sh};

fn pinned() -> &'static Path {
    let path = Path::new("/run/netns/pod");
    place(path).unwrap();
    pin(path).unwrap();
    path
}

fn address(ip: &str, prefix: u8, scope: Scope) -> Address {
    let address: IpAddr = ip.parse().unwrap();
    Address {
        address,
        prefix,
        scope,
    }
}

fn sysctls(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect()
}

fn inside(path: &Path, file: &'static str) -> String {
    enter(path, || fs::read_to_string(file)).unwrap().unwrap()
}

/// The same figures from `/proc/net/dev`, the kernel's other way to tell them.
fn figures_of_proc(path: &Path, name: &str) -> LinkCounters {
    let table = inside(path, "/proc/thread-self/net/dev");
    let line = table
        .lines()
        .find_map(|line| line.trim().strip_prefix(&format!("{name}:")));
    let figures: Vec<u64> = line
        .unwrap()
        .split_whitespace()
        .map(|figure| figure.parse().unwrap())
        .collect();
    LinkCounters {
        name: name.into(),
        rx_bytes: figures[0],
        rx_packets: figures[1],
        rx_errors: figures[2],
        rx_dropped: figures[3],
        tx_bytes: figures[8],
        tx_packets: figures[9],
        tx_errors: figures[10],
        tx_dropped: figures[11],
    }
}

node_tests! {
    fn lo_is_down_at_birth_and_up_afterwards_there_and_only_there() {
        let path = pinned();
        let born = links(path).unwrap();
        assert_eq!(born.len(), 1);
        assert!(born[0].loopback && !born[0].up && born[0].addresses.is_empty());
        lo_up(path).unwrap();
        lo_up(path).unwrap();
        let lo = links(path).unwrap().remove(0);
        assert_eq!((lo.name.as_str(), lo.index, lo.up), ("lo", 1, true));
        let mut expected = vec![address("127.0.0.1", 8, Scope::Host)];
        if Path::new("/proc/sys/net/ipv6").exists() {
            expected.push(address("::1", 128, Scope::Host));
        }
        assert_eq!(lo.addresses, expected);
        assert!(!sh("ip link show lo").contains("UP"), "the host's lo was touched");
    }

    fn every_interface_is_listed_with_its_addresses() {
        let path = pinned();
        sh("ip -n pod link add eth0 address 02:42:ac:11:00:02 type veth peer name peer0
            ip -n pod address add 10.1.2.3/24 dev eth0
            ip -n pod address add 10.9.0.2 peer 10.9.0.1/32 dev peer0
            ip -n pod address add fd00::5/64 dev eth0 nodad
            ip -n pod link set eth0 up");
        let links = links(path).unwrap();
        let find = |name: &str| links.iter().find(|link| link.name == name).unwrap();
        let eth0 = find("eth0");
        assert_eq!(eth0.mac, "02:42:ac:11:00:02");
        assert!(eth0.up && !eth0.loopback);
        assert!(eth0.addresses.contains(&address("10.1.2.3", 24, Scope::Global)));
        assert!(eth0.addresses.contains(&address("fd00::5", 64, Scope::Global)));
        assert_eq!(find("peer0").addresses, [address("10.9.0.2", 32, Scope::Global)]);
        assert!(links.is_sorted_by_key(|link| link.index));
    }

    fn addresses_are_given_to_an_interface_that_lost_them() {
        let path = pinned();
        sh("ip -n pod link add eth0 type veth peer name peer0");
        let mine = [("10.5.0.2".parse().unwrap(), 24), ("fd05::2".parse().unwrap(), 64)];
        for _ in 0..2 {
            give_addresses(path, "eth0", &mine).unwrap();
            let link = links(path).unwrap().into_iter().find(|link| link.name == "eth0").unwrap();
            let found: Vec<_> = link.addresses.iter().map(|a| (a.address, a.prefix)).collect();
            assert_eq!(found, mine);
        }
        give_addresses(path, "eth7", &mine).unwrap();
        assert!(!sh("ip -n pod address show peer0").contains("inet"));
    }

    fn a_links_counters_are_those_of_the_kernel() {
        let path = pinned();
        assert_eq!(counters(path).unwrap(), [], "lo is left out");
        sh("ip link add host0 type veth peer name eth0 netns pod
            ip -n pod link add eth1 type veth peer name eth2
            echo 1 > /proc/sys/net/ipv6/conf/host0/disable_ipv6
            ip netns exec pod sh -c 'echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6'
            ip address add 10.1.2.1/24 dev host0
            ip -n pod address add 10.1.2.3/24 dev eth0
            ip link set host0 up
            ip -n pod link set eth0 up
            ping -q -c 3 -i 0.01 -W 30 -s 1000 10.1.2.3");
        let found = counters(path).unwrap();
        let names: Vec<&str> = found.iter().map(|link| link.name.as_str()).collect();
        let by_index: Vec<String> = links(path).unwrap().into_iter().skip(1).map(|link| link.name).collect();
        assert_eq!(names, by_index);
        let eth0 = found.iter().find(|link| link.name == "eth0").unwrap();
        assert!(eth0.rx_packets >= 3 && eth0.rx_bytes >= 3 * 1042, "{eth0:?}");
        assert!(eth0.tx_packets >= 3 && eth0.tx_bytes >= 3 * 1042, "{eth0:?}");
        assert_eq!(*eth0, figures_of_proc(path, "eth0"));
        let idle = found.iter().find(|link| link.name == "eth1").unwrap();
        assert_eq!(*idle, LinkCounters { name: "eth1".into(), ..LinkCounters::default() });
    }

    fn a_namespace_whose_loopback_was_renamed_still_has_one() {
        let path = pinned();
        sh("ip -n pod link set lo name loop0");
        lo_up(path).unwrap();
        assert!(links(path).unwrap()[0].up);
    }

    fn sysctls_are_set_in_the_namespace_and_nowhere_else() {
        let path = pinned();
        let port = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
        let before = fs::read_to_string(port).unwrap();
        let wanted = sysctls(&[
            ("net.ipv4.ip_unprivileged_port_start", "77"),
            ("net.ipv4.ip_local_port_range", "20000 30000"),
        ]);
        set_sysctls(path, &wanted).unwrap();
        set_sysctls(path, &wanted).unwrap();
        assert_eq!(inside(path, "/proc/sys/net/ipv4/ip_unprivileged_port_start"), "77\n");
        assert_eq!(inside(path, "/proc/sys/net/ipv4/ip_local_port_range"), "20000\t30000\n");
        assert_eq!(fs::read_to_string(port).unwrap(), before);
        set_sysctls(path, &BTreeMap::new()).unwrap();
    }

    fn a_sysctl_that_is_refused_is_named_and_nothing_before_it_was_written() {
        let path = pinned();
        let file = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
        let before = inside(path, file);
        for bad in ["net.ipv4.x/../../y", "kernel.sem", "vm.swappiness"] {
            let wanted = sysctls(&[(bad, "1"), ("net.ipv4.ip_unprivileged_port_start", "5")]);
            let error = set_sysctls(path, &wanted).unwrap_err();
            assert!(matches!(error, Error::SysctlRefused { .. }), "{error}");
            assert!(error.to_string().contains("/run/netns/pod"), "{error}");
        }
        assert_eq!(inside(path, file), before);
    }

    fn what_the_kernel_refuses_is_told_with_its_reason() {
        let path = pinned();
        for (name, value, reason) in [
            ("net.ipv4.no_such_thing", "1", "has no such sysctl"),
            ("net.ipv4.tcp_syncookies", "many", "does not take this value"),
        ] {
            let error = set_sysctls(path, &sysctls(&[(name, value)])).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(reason), "{error}");
            assert!(error.contains("/run/netns/pod"), "{error}");
        }
    }
}
