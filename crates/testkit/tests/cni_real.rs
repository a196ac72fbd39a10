//! The runtime with real plugins, in a node of its own.
//!
//! Each test executes itself again inside fresh mount, network, process, IPC and host name
//! namespaces, with its own `/run` and `/var/lib`; whatever it leaves goes with them. It needs
//! root and the plugins in `/usr/lib/cni`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use podwalk_cni::{
    AddResult, Attachment, Bandwidth, CapabilityArgs, CniError, Conflist, Failure, PortMapping,
    Protocol, Ran, Runtime, RuntimeOptions, SandboxView, SpecVersion,
};
use serde_json::{Value, json};

const PLUGINS: &str = "/usr/lib/cni";
const IN_NODE: &str = "PODWALK_NODE";

/// Runs `test` in a node. `name` is the calling test's: it is executed again under that name.
fn in_node<F: Future<Output = ()>>(name: &str, test: impl FnOnce() -> F) {
    if std::env::var_os(IN_NODE).is_some() {
        prepare();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        return runtime.block_on(test());
    }
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "needs root");
        println!("SKIPPED: needs root");
        return;
    }
    let output = Command::new("timeout")
        .args([
            "--signal=KILL",
            "300",
            "unshare",
            "-m",
            "-n",
            "-p",
            "-i",
            "-u",
        ])
        .args(["--fork", "--kill-child", "--mount-proc", "--"])
        .arg(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(IN_NODE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let words = String::from_utf8_lossy(&output.stderr);
    // A name that matches no test would run nothing and succeed.
    let passed = output.status.success() && said.contains("1 passed");
    assert!(
        passed,
        "{name} in the node: {}\n{said}\n{words}",
        output.status
    );
}

fn prepare() {
    for directory in ["/run", "/var/lib"] {
        run(&["mount", "-t", "tmpfs", "tmpfs", directory]);
    }
    run(&["ip", "link", "set", "lo", "up"]);
}

/// Runs a command that must succeed, and gives what it printed.
fn run(command: &[&str]) -> String {
    let output = Command::new(command[0])
        .args(&command[1..])
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {words}");
    String::from_utf8(output.stdout).unwrap()
}

fn json_of(command: &[&str]) -> Value {
    serde_json::from_str(&run(command)).unwrap()
}

/// A network at the newest version that the plugins speak.
fn network(name: &str, plugins: Value) -> Conflist {
    let list = json!({"cniVersion": "1.0.0", "name": name, "plugins": plugins});
    Conflist::parse(list.to_string().as_bytes(), Path::new("test.conflist")).unwrap()
}

fn dual_stack() -> Value {
    json!({
        "type": "bridge", "bridge": "pw0", "isGateway": true, "ipMasq": true,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": "10.77.0.0/24"}], [{"subnet": "fd77::/64"}]],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
        },
    })
}

fn runtime() -> Runtime {
    Runtime::new(RuntimeOptions::new(vec![PathBuf::from(PLUGINS)]))
}

/// A fresh pod: its namespace, and an attachment to it.
fn pod() -> Attachment {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let name = format!("p{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    run(&["ip", "netns", "add", &name]);
    Attachment::new(&name, "eth0").in_netns(format!("/run/netns/{name}"))
}

fn view<'a>(added: &'a AddResult, pod: &Attachment) -> SandboxView<'a> {
    added
        .parsed
        .for_sandbox(pod.netns.as_ref().unwrap(), &pod.ifname)
}

/// The global addresses of a pod's interface, as the kernel has them.
fn kernel_addresses(pod: &Attachment) -> Vec<String> {
    let links = json_of(&[
        "ip",
        "-n",
        &pod.container_id,
        "-j",
        "addr",
        "show",
        &pod.ifname,
    ]);
    let addresses = links[0]["addr_info"].as_array().unwrap();
    addresses
        .iter()
        .filter(|address| address["scope"] == "global")
        .map(|a| format!("{}/{}", a["local"].as_str().unwrap(), a["prefixlen"]))
        .collect()
}

/// The addresses that host-local holds for a network.
fn held(network: &str) -> Vec<String> {
    let directory = Path::new("/var/lib/cni/networks").join(network);
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "lock" && !name.starts_with("last_reserved_ip"))
        .collect();
    names.sort();
    names
}

/// The veth interfaces of the node.
fn veths() -> usize {
    let links = json_of(&["ip", "-j", "link", "show", "type", "veth"]);
    let named = |link: &&Value| link.get("ifname").is_some();
    links.as_array().unwrap().iter().filter(named).count()
}

/// Polls until something holds; a failure guard ends it.
fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: never");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn bridge_dual_stack_with_masquerade() {
    in_node("bridge_dual_stack_with_masquerade", || async {
        let (runtime, network, pod) = (runtime(), network("podnet", json!([dual_stack()])), pod());
        let added = runtime.add(&network, &pod).await.unwrap();
        let seen = view(&added, &pod);
        let told: Vec<String> = seen
            .addresses
            .iter()
            .map(|ip| ip.address.to_string())
            .collect();
        assert_eq!(told, kernel_addresses(&pod));
        assert_eq!(told.len(), 2);
        let link = json_of(&["ip", "-n", &pod.container_id, "-j", "link", "show", "eth0"]);
        assert_eq!(link[0]["address"], seen.mac());
        assert_eq!(
            seen.ipv4().unwrap().gateway,
            Some("10.77.0.1".parse().unwrap())
        );
        assert_eq!(
            seen.ipv6().unwrap().gateway,
            Some("fd77::1".parse().unwrap())
        );
        assert_eq!(added.parsed.host_bridge(&network), Some("pw0"));
        for gateway in ["10.77.0.1", "fd77::1"] {
            run(&[
                "ip",
                "netns",
                "exec",
                &pod.container_id,
                "busybox",
                "ping",
                "-c",
                "1",
                gateway,
            ]);
        }
        assert!(run(&["iptables", "-t", "nat", "-S"]).contains("MASQUERADE"));
        assert_eq!(
            runtime.check(&network, &pod, &added.bytes).await.unwrap(),
            Ran::Yes
        );
        for _ in 0..2 {
            runtime
                .del(&network, &pod, Some(&added.bytes))
                .await
                .unwrap();
        }
        assert_eq!((held("podnet"), veths()), (vec![], 0));
        assert!(!run(&["iptables", "-t", "nat", "-S"]).contains("MASQUERADE"));
    });
}

#[test]
fn check_tells_that_an_address_was_taken_away() {
    in_node("check_tells_that_an_address_was_taken_away", || async {
        let (runtime, network, pod) = (runtime(), network("podnet", json!([dual_stack()])), pod());
        let added = runtime.add(&network, &pod).await.unwrap();
        run(&[
            "ip",
            "-n",
            &pod.container_id,
            "addr",
            "flush",
            "dev",
            "eth0",
        ]);
        let error = runtime
            .check(&network, &pod, &added.bytes)
            .await
            .unwrap_err();
        assert_eq!(error.plugin(), Some("bridge"));
        assert!(matches!(error.kind(), Failure::Failed { .. }), "{error}");
        runtime
            .del(&network, &pod, Some(&added.bytes))
            .await
            .unwrap();
        assert!(held("podnet").is_empty());
    });
}

#[test]
fn scenario_43_ports_of_every_protocol_lead_into_the_pod() {
    in_node(
        "scenario_43_ports_of_every_protocol_lead_into_the_pod",
        || async {
            let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true}});
            let network = network("podnet", json!([dual_stack(), portmap]));
            let (runtime, mut pod) = (runtime(), pod());
            let mapping = |host_port, protocol| PortMapping {
                host_port,
                container_port: 80,
                protocol,
                host_ip: None,
            };
            let mappings = [
                mapping(8080, Protocol::Tcp),
                mapping(8081, Protocol::Udp),
                mapping(8082, Protocol::Sctp),
            ];
            pod.capability_args = CapabilityArgs::new()
                .port_mappings(&mappings)
                .unwrap()
                .into_map();
            let added = runtime.add(&network, &pod).await.unwrap();
            for tables in ["iptables", "ip6tables"] {
                let rules = run(&[tables, "-t", "nat", "-S"]);
                for (protocol, port) in [("tcp", 8080), ("udp", 8081), ("sctp", 8082)] {
                    let leads = |rule: &str| {
                        rule.contains(&format!("-p {protocol} "))
                            && rule.contains(&format!("--dport {port} "))
                            && rule.contains("-j DNAT")
                    };
                    assert!(rules.lines().any(leads), "{protocol} in {rules}");
                }
            }
            let mut server = Command::new("ip")
                .args([
                    "netns",
                    "exec",
                    &pod.container_id,
                    "busybox",
                    "httpd",
                    "-f",
                    "-p",
                    "80",
                ])
                .spawn()
                .unwrap();
            until("a connection through the host's port", || {
                std::net::TcpStream::connect("10.77.0.1:8080").is_ok()
            });
            server.kill().unwrap();
            server.wait().unwrap();
            runtime
                .del(&network, &pod, Some(&added.bytes))
                .await
                .unwrap();
            // The plugin leaves its own empty chains; the pod's are gone.
            assert!(!run(&["iptables", "-t", "nat", "-S"]).contains("CNI-DN-"));
            assert!(held("podnet").is_empty());
        },
    );
}

#[test]
fn scenario_43_bandwidth_is_limited_in_both_directions() {
    in_node(
        "scenario_43_bandwidth_is_limited_in_both_directions",
        || async {
            let bandwidth = json!({"type": "bandwidth", "capabilities": {"bandwidth": true}});
            let network = network("podnet", json!([dual_stack(), bandwidth]));
            let (runtime, mut pod) = (runtime(), pod());
            let annotations = [
                ("kubernetes.io/ingress-bandwidth", "10M"),
                ("kubernetes.io/egress-bandwidth", "20M"),
            ];
            let annotations = annotations
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into();
            let limits = Bandwidth::from_annotations(&annotations).unwrap().unwrap();
            pod.capability_args = CapabilityArgs::new().bandwidth(limits).into_map();
            let added = runtime.add(&network, &pod).await.unwrap();
            let disciplines = json_of(&["tc", "-j", "qdisc", "show"]);
            let mut rates: Vec<u64> = disciplines
                .as_array()
                .unwrap()
                .iter()
                .filter(|discipline| discipline["kind"] == "tbf")
                .map(|discipline| discipline["options"]["rate"].as_u64().unwrap() * 8)
                .collect();
            rates.sort_unstable();
            assert_eq!(rates, [10_000_000, 20_000_000]);
            // The interface that the second plugin adds on the host is not the pod's.
            assert_eq!(view(&added, &pod).addresses.len(), 2);
            runtime
                .del(&network, &pod, Some(&added.bytes))
                .await
                .unwrap();
            assert_eq!((held("podnet"), veths()), (vec![], 0));
            assert!(!run(&["ip", "link"]).contains("bwp"));
        },
    );
}

#[test]
fn ptp_has_no_bridge() {
    in_node("ptp_has_no_bridge", || async {
        let ipam = json!({"type": "host-local", "subnet": "10.78.0.0/24"});
        let network = network("direct", json!([{"type": "ptp", "ipam": ipam}]));
        let (runtime, pod) = (runtime(), pod());
        let added = runtime.add(&network, &pod).await.unwrap();
        assert_eq!(added.parsed.host_bridge(&network), None);
        assert_eq!(
            kernel_addresses(&pod),
            [view(&added, &pod).ipv4().unwrap().address.to_string()]
        );
        runtime
            .del(&network, &pod, Some(&added.bytes))
            .await
            .unwrap();
        assert_eq!((held("direct"), veths()), (vec![], 0));
    });
}

#[test]
fn scenario_44_two_networks_each_have_their_interface() {
    in_node(
        "scenario_44_two_networks_each_have_their_interface",
        || async {
            let ipam = json!({"type": "host-local", "subnet": "10.79.0.0/24"});
            let second = network(
                "second",
                json!([{"type": "bridge", "bridge": "pw1", "ipam": ipam}]),
            );
            let (runtime, first, pod) =
                (runtime(), network("podnet", json!([dual_stack()])), pod());
            let mut extra = pod.clone();
            extra.ifname = "net1".to_owned();
            let one = runtime.add(&first, &pod).await.unwrap();
            let two = runtime.add(&second, &extra).await.unwrap();
            assert_eq!(
                kernel_addresses(&extra),
                [view(&two, &extra).ipv4().unwrap().address.to_string()]
            );
            assert_eq!(kernel_addresses(&pod).len(), 2);
            assert_eq!(two.parsed.host_bridge(&second), Some("pw1"));
            runtime
                .del(&second, &extra, Some(&two.bytes))
                .await
                .unwrap();
            assert_eq!((held("second").len(), held("podnet").len()), (0, 2));
            runtime.del(&first, &pod, Some(&one.bytes)).await.unwrap();
            assert_eq!((held("podnet"), veths()), (vec![], 0));
        },
    );
}

#[test]
fn scenario_07_an_address_is_freed_when_the_namespace_is_gone() {
    in_node(
        "scenario_07_an_address_is_freed_when_the_namespace_is_gone",
        || async {
            let (runtime, network) = (runtime(), network("podnet", json!([dual_stack()])));
            let (mut gone, plain) = (pod(), pod());
            let results = [
                runtime.add(&network, &gone).await.unwrap(),
                runtime.add(&network, &plain).await.unwrap(),
            ];
            assert_eq!(held("podnet").len(), 4);
            run(&["ip", "netns", "del", &gone.container_id]);
            gone.netns = None;
            runtime
                .del(&network, &gone, Some(&results[0].bytes))
                .await
                .unwrap();
            assert_eq!(held("podnet").len(), 2);
            // Scenario 51: the file is still there and no namespace any more.
            run(&["umount", plain.netns.as_ref().unwrap().to_str().unwrap()]);
            runtime
                .del(&network, &plain, Some(&results[1].bytes))
                .await
                .unwrap();
            assert!(held("podnet").is_empty());
            until("the interfaces go with their namespaces", || veths() == 0);
        },
    );
}

#[test]
fn scenario_03_a_missing_binary_fails_add_and_del_and_the_address_is_freed_later() {
    in_node(
        "scenario_03_a_missing_binary_fails_add_and_del_and_the_address_is_freed_later",
        || async {
            let bin = PathBuf::from("/run/bin");
            std::fs::create_dir(&bin).unwrap();
            let search = vec![PathBuf::from(PLUGINS), bin.clone()];
            let runtime = Runtime::new(RuntimeOptions::new(search));
            let network = network("podnet", json!([dual_stack(), {"type": "late"}]));
            let pod = pod();
            let missing = |error: &CniError| matches!(error.kind(), Failure::PluginMissing { .. });
            assert!(missing(&runtime.add(&network, &pod).await.unwrap_err()));
            assert_eq!(held("podnet").len(), 2);
            assert!(missing(
                &runtime.del(&network, &pod, None).await.unwrap_err()
            ));
            assert_eq!(held("podnet").len(), 2);
            std::os::unix::fs::symlink("/usr/lib/cni/portmap", bin.join("late")).unwrap();
            runtime.del(&network, &pod, None).await.unwrap();
            assert_eq!((held("podnet"), veths()), (vec![], 0));
        },
    );
}

#[test]
fn scenario_06_a_result_that_was_cut_off_does_not_keep_the_address() {
    in_node(
        "scenario_06_a_result_that_was_cut_off_does_not_keep_the_address",
        || async {
            let (runtime, network, pod) =
                (runtime(), network("podnet", json!([dual_stack()])), pod());
            let added = runtime.add(&network, &pod).await.unwrap();
            runtime
                .del(&network, &pod, Some(&added.bytes[..9]))
                .await
                .unwrap();
            assert_eq!((held("podnet"), veths()), (vec![], 0));
        },
    );
}

#[test]
fn loopback_comes_up() {
    in_node("loopback_comes_up", || async {
        let (runtime, network) = (runtime(), network("lo", json!([{"type": "loopback"}])));
        let mut pod = pod();
        pod.ifname = "lo".to_owned();
        let added = runtime.add(&network, &pod).await.unwrap();
        let told: Vec<String> = view(&added, &pod)
            .addresses
            .iter()
            .map(|ip| ip.address.to_string())
            .collect();
        assert_eq!(told, ["127.0.0.1/8", "::1/128"]);
        let flags = json_of(&["ip", "-n", &pod.container_id, "-j", "link", "show", "lo"]);
        assert!(flags[0]["flags"].as_array().unwrap().contains(&json!("UP")));
        runtime
            .del(&network, &pod, Some(&added.bytes))
            .await
            .unwrap();
    });
}

#[test]
fn a_full_range_is_told_and_owes_only_itself() {
    in_node("a_full_range_is_told_and_owes_only_itself", || async {
        let ipam = json!({"type": "host-local", "subnet": "10.80.0.0/30"});
        let network = network("small", json!([{"type": "ptp", "ipam": ipam}]));
        let (runtime, first, second) = (runtime(), pod(), pod());
        let added = runtime.add(&network, &first).await.unwrap();
        let error = runtime.add(&network, &second).await.unwrap_err();
        assert!(
            error.to_string().contains("no IP addresses available"),
            "{error}"
        );
        runtime.del(&network, &second, None).await.unwrap();
        assert_eq!(held("small").len(), 1);
        runtime
            .del(&network, &first, Some(&added.bytes))
            .await
            .unwrap();
        assert!(held("small").is_empty());
        runtime.add(&network, &second).await.unwrap();
    });
}

#[test]
fn duty_35_real_plugins_tell_their_versions() {
    in_node("duty_35_real_plugins_tell_their_versions", || async {
        let runtime = runtime();
        for plugin in [
            "bridge",
            "ptp",
            "host-local",
            "portmap",
            "bandwidth",
            "loopback",
        ] {
            let versions = runtime.version(plugin).await.unwrap();
            assert!(
                versions.speaks(SpecVersion::V1_0_0),
                "{plugin}: {versions:?}"
            );
        }
        let list = json!({"cniVersion": "9.9.9", "cniVersions": ["0.4.0", "1.0.0"],
            "name": "podnet", "plugins": [dual_stack()]});
        let network = Conflist::parse(list.to_string().as_bytes(), Path::new("x")).unwrap();
        let pod = pod();
        let added = runtime.add(&network, &pod).await.unwrap();
        runtime
            .del(&network, &pod, Some(&added.bytes))
            .await
            .unwrap();
        assert!(held("podnet").is_empty());
    });
}

#[test]
fn duty_57_old_versions_work_with_real_plugins() {
    in_node("duty_57_old_versions_work_with_real_plugins", || async {
        let runtime = runtime();
        for version in ["0.2.0", "0.3.1", "0.4.0"] {
            let ipam = json!({"type": "host-local", "subnet": "10.81.0.0/24"});
            let list = json!({"cniVersion": version, "name": "old",
                "plugins": [{"type": "ptp", "ipam": ipam}]});
            let network = Conflist::parse(list.to_string().as_bytes(), Path::new("x")).unwrap();
            let pod = pod();
            let added = runtime.add(&network, &pod).await.unwrap();
            let address = view(&added, &pod).ipv4().unwrap().address;
            assert_eq!(kernel_addresses(&pod), [address.to_string()], "{version}");
            runtime
                .del(&network, &pod, Some(&added.bytes))
                .await
                .unwrap();
            assert_eq!((held("old"), veths()), (vec![], 0), "{version}");
        }
    });
}
