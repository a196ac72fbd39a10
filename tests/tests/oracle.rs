//! The oracle sees each kind of thing that can be left behind. A blind oracle would pass every test,
//! so each of these makes one leak by hand and asks for its name.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use podwalk_tests::daemon::Config;
use podwalk_tests::node::{self, Layout};
use podwalk_tests::oracle::{Oracle, Places};
use podwalk_tests::outside;

/// Makes a leak with `leak`, expects that it is all that is named, and in these words; then undoes it
/// and expects silence.
fn sees(
    leak: impl FnOnce() -> Result<()>,
    words: &[&str],
    undo: impl FnOnce() -> Result<()>,
) -> Result<()> {
    fs::create_dir_all("/run/netns")?;
    let oracle = Oracle::new(Places::of(&Config::default())?)?;
    oracle.assert_clean()?;
    leak()?;
    let left = oracle.leftovers()?;
    ensure!(left.len() == words.len(), "{left:?} in place of {words:?}");
    for (line, word) in left.iter().zip(words) {
        ensure!(line.contains(word), "{line:?} does not name {word:?}");
    }
    undo()?;
    oracle.assert_clean()
}

fn run(line: &str) -> Result<()> {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().context("a command")?);
    outside::output(command.args(words)).map(drop)
}

fn run_all(lines: &[&str]) -> Result<()> {
    lines.iter().try_for_each(|line| run(line))
}

#[test]
fn a_pinned_namespace_and_its_file() -> Result<()> {
    node::run(Layout::V2, || {
        // `ip netns add` makes the directory a shared mount, as Podwalk does: that is no leak.
        run_all(&["ip netns add other", "ip netns del other"])?;
        sees(
            || run("ip netns add pod"),
            &["file /run/netns/pod", "mount /run/netns/pod (nsfs"],
            || run("ip netns del pod"),
        )
    })
}

#[test]
fn a_namespace_that_is_pinned_twice_on_one_file() -> Result<()> {
    node::run(Layout::V2, || {
        run("ip netns add pod")?;
        let oracle = Oracle::new(Places::of(&Config::default())?)?;
        run("mount --bind /proc/self/ns/net /run/netns/pod")?;
        ensure!(outside::mounts_on(Path::new("/run/netns/pod"))? == 2);
        ensure!(oracle.leftovers()?.len() == 1, "{:?}", oracle.leftovers()?);
        run("umount /run/netns/pod")?;
        oracle.assert_clean()?;
        // The same namespace a second time is a second mount all the same.
        run("mount --bind /run/netns/pod /run/netns/pod")?;
        let left = oracle.leftovers()?;
        ensure!(left.len() == 1 && left[0].ends_with("number 2"), "{left:?}");
        Ok(())
    })
}

#[test]
fn a_file_that_nothing_is_mounted_on() -> Result<()> {
    node::run(Layout::V2, || {
        sees(
            || Ok(fs::write("/run/netns/pod", "")?),
            &["file /run/netns/pod"],
            || Ok(fs::remove_file("/run/netns/pod")?),
        )
    })
}

#[test]
fn a_mount_somewhere_else() -> Result<()> {
    node::run(Layout::V2, || {
        sees(
            || {
                fs::create_dir("/run/rootfs")?;
                run("mount -t tmpfs sandbox /run/rootfs")
            },
            &["mount /run/rootfs (tmpfs, sandbox)"],
            || run("umount /run/rootfs"),
        )
    })
}

#[test]
fn interfaces_but_not_the_bridge() -> Result<()> {
    node::run(Layout::V2, || {
        sees(
            || {
                run_all(&[
                    "ip link add cni0 type bridge",
                    "ip link add veth1 type veth peer name veth2",
                    "ip link add ifb7 type ifb",
                ])
            },
            &[
                "interface ifb7 (ifb)",
                "interface veth1 (veth)",
                "interface veth2 (veth)",
            ],
            || run_all(&["ip link del veth1", "ip link del ifb7"]),
        )
    })
}

#[test]
fn an_address_but_not_the_lock() -> Result<()> {
    node::run(Layout::V2, || {
        let network = Path::new("/var/lib/cni/networks/podnet");
        sees(
            || {
                fs::create_dir_all(network)?;
                for name in ["10.1.0.2", "fd00::2", "lock", "last_reserved_ip.0"] {
                    fs::write(network.join(name), "pod")?;
                }
                Ok(())
            },
            &["address 10.1.0.2 of network podnet", "address fd00::2 of"],
            || {
                fs::remove_file(network.join("10.1.0.2"))?;
                Ok(fs::remove_file(network.join("fd00::2"))?)
            },
        )
    })
}

#[test]
fn firewall_chains_of_one_container_but_not_the_shared_ones() -> Result<()> {
    node::run(Layout::V2, || {
        sees(
            || {
                run_all(&[
                    "iptables -t nat -N CNI-HOSTPORT-DNAT",
                    "iptables -t nat -A PREROUTING -j CNI-HOSTPORT-DNAT",
                    "iptables -t nat -N CNI-0123abc",
                    "iptables -t nat -A POSTROUTING -s 10.1.0.2 -j CNI-0123abc",
                    "ip6tables -t nat -N CNI-DN-456def",
                ])
            },
            &[
                "ip6tables-save: chain CNI-DN-456def",
                "iptables-save: chain CNI-0123abc",
                "iptables-save: rule to CNI-0123abc",
                "nft: chain ip nat CNI-0123abc",
                "nft: chain ip6 nat CNI-DN-456def",
            ],
            || {
                run_all(&[
                    "iptables -t nat -F POSTROUTING",
                    "iptables -t nat -X CNI-0123abc",
                    "ip6tables -t nat -X CNI-DN-456def",
                ])
            },
        )
    })
}

#[test]
fn a_chain_of_nftables_alone() -> Result<()> {
    node::run(Layout::V2, || {
        sees(
            || run_all(&["nft add table inet cni", "nft add chain inet cni cni-42"]),
            &["nft: chain inet cni cni-42"],
            || run("nft delete table inet cni"),
        )
    })
}

#[test]
fn a_process_whoever_its_parent_is() -> Result<()> {
    node::run(Layout::V2, || {
        let pid_file = node::disk().join("pid");
        sees(
            || {
                // An orphan, as a sandbox or a plugin that outlived the daemon is one.
                let script = "setsid sleep infinity >/dev/null 2>&1 & echo $!";
                let pid = outside::output(Command::new("sh").args(["-c", script]))?;
                Ok(fs::write(&pid_file, pid.trim())?)
            },
            &["(state "],
            || run(&format!("kill -KILL {}", fs::read_to_string(&pid_file)?)),
        )
    })
}

#[test]
fn the_spared_executable_is_no_leak_but_its_namesake_is() -> Result<()> {
    node::run(Layout::V2, || {
        let sleep = PathBuf::from(outside::output(Command::new("which").arg("sleep"))?.trim());
        let own = node::disk().join("podwalk");
        fs::copy(sleep, &own)?;
        let mut places = Places::of(&Config::default())?;
        places.spared = vec![own.clone()];
        let oracle = Oracle::new(places)?;
        let mut daemon = Command::new(&own).arg("infinity").spawn()?;
        // exec has happened when `spawn` returns, so that /proc shows the executable.
        oracle.assert_clean()?;
        let other = node::disk().join("other");
        fs::copy(&own, &other)?;
        let mut namesake = Command::new(&other).arg("infinity").spawn()?;
        let left = oracle.leftovers()?;
        ensure!(left.len() == 1 && left[0].contains("other"), "{left:?}");
        for child in [&mut daemon, &mut namesake] {
            child.kill()?;
            child.wait()?;
        }
        oracle.assert_clean()
    })
}

#[test]
fn a_zombie() -> Result<()> {
    node::run(Layout::V2, || {
        let mut child = Command::new("sleep")
            .arg("infinity")
            .stdout(Stdio::null())
            .spawn()?;
        let pid = child.id();
        let oracle = Oracle::new(Places::of(&Config::default())?)?;
        child.kill()?;
        podwalk_tests::wait::until(std::time::Duration::from_secs(30), || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
            Ok(stat.contains(") Z ").then_some(()))
        })?
        .context("it does not die")?;
        let left = oracle.leftovers()?;
        ensure!(left.len() == 1 && left[0].contains("state Z"), "{left:?}");
        child.wait()?;
        oracle.assert_clean()
    })
}

#[test]
fn a_runtime_s_state_and_a_bundle() -> Result<()> {
    node::run(Layout::V2, || {
        let directories = ["/run/crun/pod", "/run/runc/pod", "/run/podwalk/bundles/pod"];
        sees(
            || Ok(directories.iter().try_for_each(fs::create_dir_all)?),
            &[
                "file /run/crun/pod",
                "file /run/podwalk/bundles/pod",
                "file /run/runc/pod",
            ],
            || Ok(directories.iter().try_for_each(fs::remove_dir)?),
        )
    })
}

fn cgroups_are_seen(groups: [&str; 2]) -> Result<()> {
    let names = groups.map(|group| format!("cgroup {group}"));
    sees(
        || Ok(groups.iter().try_for_each(fs::create_dir)?),
        &[&names[0], &names[1]],
        || Ok(groups.iter().rev().try_for_each(fs::remove_dir)?),
    )
}

#[test]
fn cgroups_of_version_1() -> Result<()> {
    node::run(Layout::V1, || {
        let groups = ["/sys/fs/cgroup/pids/pod", "/sys/fs/cgroup/pids/pod/effect"];
        cgroups_are_seen(groups)
    })
}

#[test]
fn cgroups_of_version_2() -> Result<()> {
    node::run(Layout::V2, || {
        // The parent of all pods' groups stays, what is in it does not.
        fs::create_dir("/sys/fs/cgroup/podwalk")?;
        let groups = [
            "/sys/fs/cgroup/podwalk/pod",
            "/sys/fs/cgroup/podwalk/pod/effect",
        ];
        cgroups_are_seen(groups)
    })
}

#[test]
fn from_outside_a_namespace_shows_its_addresses_and_its_gateway() -> Result<()> {
    node::run(Layout::V2, || {
        run_all(&[
            "ip netns add pod",
            "ip link add veth1 type veth peer name eth0 netns pod",
            "ip -n pod link set eth0 address 02:00:00:00:00:07 up",
            "ip -n pod address add 10.1.0.2/24 dev eth0",
            "ip -n pod address add fd00:1::2/64 dev eth0 nodad",
            "ip -n pod route add default via 10.1.0.1",
            "ip link set veth1 up",
            "ip address add 10.1.0.1/24 dev veth1",
        ])?;
        let file = Path::new("/run/netns/pod");
        let interfaces = outside::interfaces(file)?;
        let eth0 = interfaces
            .iter()
            .find(|interface| interface.name == "eth0")
            .context("no eth0")?;
        let v4: IpAddr = "10.1.0.2".parse()?;
        let v6: IpAddr = "fd00:1::2".parse()?;
        ensure!(eth0.mac == "02:00:00:00:00:07" && eth0.is_up);
        ensure!(
            eth0.addresses == [(v4, 24), (v6, 64)],
            "{:?}",
            eth0.addresses
        );
        let gateways = outside::gateways(file)?;
        ensure!(gateways == ["10.1.0.1".parse()?].into(), "{gateways:?}");
        ensure!(outside::answers(v4)?, "the address does not answer");
        ensure!(!outside::answers("10.1.0.3".parse()?)?, "nobody answers");
        Ok(())
    })
}

#[test]
fn from_outside_a_file_shows_the_namespace_that_is_pinned_on_it() -> Result<()> {
    node::run(Layout::V2, || {
        run("ip netns add pod")?;
        let file = Path::new("/run/netns/pod");
        let inside = "readlink /proc/self/ns/net";
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", "pod"])
            .args(inside.split(' '));
        let named = outside::output(&mut command)?;
        ensure!(outside::namespace_on(file)?.as_deref() == Some(named.trim()));
        let own = outside::namespace_of_process(std::process::id().into())?;
        ensure!(own != named.trim());
        // The usual other spelling of the same file.
        symlink("/run", node::disk().join("run"))?;
        let alias = node::disk().join("run/netns/pod");
        ensure!(outside::mounts_on(&alias)? == 1);
        File::create("/run/netns/plain")?;
        ensure!(outside::namespace_on(Path::new("/run/netns/plain"))?.is_none());
        Ok(())
    })
}
