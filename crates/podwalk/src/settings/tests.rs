use podwalk_engine::clock::Stamp;
use podwalk_engine::id::{BootId, InstanceId, PodId};
use podwalk_engine::pod::fold;
use podwalk_engine::record::{
    Cause, ConfigureCniIntent, ConfigureCniOutput, CreateIntent, CreateOutput, Entry, Goal, Intent,
    MountNetnsIntent, MountNetnsOutput, NetnsIdentity, Output, ReadyNetworkIntent,
    ReadyNetworkOutput, Record,
};
use podwalk_engine::spec::PodSpec;
use podwalk_engine::step::NetworkMode;
use serde_json::{Value, json};

use super::*;

const KEY: &str = "/var/run/netns/pod";

fn pod(records: Vec<Record>) -> Pod {
    let stamp = Stamp {
        boot: BootId([9; 16]),
        wall_ns: 1,
        boottime_ns: 1,
    };
    let entries = (0..).zip(records).map(|(sequence, record)| Entry {
        pod: PodId::new([1; 12], InstanceId([2; 4])),
        sequence,
        stamp,
        record,
    });
    fold(&entries.collect::<Vec<_>>()).unwrap()
}

fn born(network: NetworkMode) -> Vec<Record> {
    let spec = PodSpec {
        name: "web".to_owned(),
        namespace: "default".to_owned(),
        ports: vec![PortMapping {
            protocol: Protocol::Tcp,
            pod_port: 80,
            host_port: 8080,
            host_ip: String::new(),
        }],
        network: network.clone(),
        ..PodSpec::default()
    };
    let sandbox_key = network.has_own_namespace().then(|| KEY.to_owned());
    vec![
        Record::Goal {
            goal: Goal::Run,
            cause: Cause::Request,
        },
        Record::Intent(Intent::Create(Box::new(CreateIntent {
            spec: spec.into(),
            sandbox_key,
        }))),
        Record::Done(Output::Create(CreateOutput {})),
    ]
}

fn planned(network: &str, interface: &str) -> PlannedAttachment {
    let conflist = json!({
        "cniVersion": "1.0.0", "name": network,
        "plugins": [{"type": "bridge", "bridge": format!("br-{network}")}]
    });
    PlannedAttachment {
        network: network.to_owned(),
        interface: interface.to_owned(),
        conflist: conflist.to_string().into_bytes(),
        arguments: Vec::new(),
        capability_arguments: "{}".to_owned(),
        configuration_arguments: "{}".to_owned(),
        late: false,
    }
}

fn result(network: &str, interface: &str, ips: Value) -> AttachmentResult {
    let result = json!({
        "cniVersion": "1.0.0",
        "interfaces": [
            {"name": format!("br-{network}")},
            {"name": interface, "mac": "c2:b0:57:49:47:f1", "sandbox": KEY}
        ],
        "ips": ips
    });
    AttachmentResult {
        result: result.to_string(),
        link_local: Some(("fe80::1".to_owned(), 64)),
    }
}

fn configured() -> Pod {
    let mut records = born(NetworkMode::Cni);
    let namespace = NetnsIdentity {
        boot: BootId([9; 16]),
        device: 4,
        inode: 5,
        cookie: 6,
    };
    let first = json!([
        {"address": "10.1.0.2/24", "gateway": "10.1.0.1", "interface": 1},
        {"address": "fd00::2/64", "gateway": "fd00::1", "interface": 1}
    ]);
    let second = json!([{"address": "10.2.0.7/16", "interface": 1}]);
    records.extend([
        Record::Intent(Intent::MountNetns(MountNetnsIntent {
            sandbox_key: KEY.to_owned(),
        })),
        Record::Done(Output::MountNetns(MountNetnsOutput { namespace })),
        Record::Intent(Intent::ReadyNetwork(ReadyNetworkIntent {})),
        Record::Done(Output::ReadyNetwork(ReadyNetworkOutput {
            plan: vec![planned("blue", "eth0"), planned("amber", "net1")],
        })),
        Record::Intent(Intent::ConfigureCni(ConfigureCniIntent {})),
        Record::Done(Output::ConfigureCni(ConfigureCniOutput {
            results: vec![
                result("blue", "eth0", first),
                result("amber", "net1", second),
            ],
        })),
    ]);
    pod(records)
}

#[test]
fn the_default_networks_addresses_are_the_pods() {
    let pod = configured();
    let settings = NetworkSettings::of(&pod, None);
    assert_eq!(settings.bridge, "br-blue");
    assert_eq!(settings.sandbox_id, pod.id.to_string());
    assert_eq!(settings.sandbox_key, KEY);
    assert_eq!(
        (settings.ip_address.as_str(), settings.ip_prefix_len),
        ("10.1.0.2", 24)
    );
    assert_eq!(settings.gateway, "10.1.0.1");
    assert_eq!(settings.global_ipv6_address, "fd00::2");
    assert_eq!(settings.global_ipv6_prefix_len, 64);
    assert_eq!(settings.ipv6_gateway, "fd00::1");
    assert_eq!(settings.mac_address, "c2:b0:57:49:47:f1");
    assert_eq!(settings.link_local_ipv6_address, "fe80::1");
    assert!(settings.activation);
    // By name, amber comes first; the default is blue all the same.
    assert_eq!(settings.networks["amber"].ip_address, "10.2.0.7");
    assert_eq!(settings.networks["amber"].if_name, "net1");
    assert_ne!(settings.endpoint_id, settings.networks["amber"].endpoint_id);
}

/// Scenario 44: also while the default network is released and another owes.
#[test]
fn scenario_44_no_other_network_takes_the_place_of_a_released_default() {
    let mut pod = configured();
    pod.attachments[0].released = true;
    let settings = NetworkSettings::of(&pod, None);
    assert_eq!(
        (settings.ip_address.as_str(), settings.bridge.as_str()),
        ("", "")
    );
    assert_eq!(settings.networks.keys().collect::<Vec<_>>(), ["amber"]);
}

#[test]
fn a_network_that_is_attached_twice_is_told_twice() {
    let mut pod = configured();
    pod.plan[1].network = "blue".to_owned();
    let settings = NetworkSettings::of(&pod, None);
    assert_eq!(settings.networks["blue"].if_name, "eth0");
    assert_eq!(settings.networks["blue/net1"].if_name, "net1");
}

#[test]
fn ports_stand_in_both_forms() {
    let settings = NetworkSettings::of(&configured(), None);
    assert_eq!(settings.ports["80/tcp"].host[0].host_port, "8080");
    assert_eq!(settings.cni_ports[0].container_port, 80);
}

#[test]
fn every_key_of_the_schema_is_there_with_its_type_even_when_there_is_nothing() {
    let settings = NetworkSettings::of(&pod(born(NetworkMode::Host)), None);
    let written = serde_json::to_value(&settings).unwrap();
    let strings = [
        "Bridge",
        "SandboxID",
        "LinkLocalIPv6Address",
        "SandboxKey",
        "EndpointID",
        "Gateway",
        "GlobalIPv6Address",
        "IPAddress",
        "IPv6Gateway",
        "MacAddress",
    ];
    for key in strings {
        assert!(written[key].is_string(), "{key}: {written}");
    }
    for key in [
        "LinkLocalIPv6PrefixLen",
        "GlobalIPv6PrefixLen",
        "IPPrefixLen",
    ] {
        assert!(written[key].is_u64(), "{key}");
    }
    assert!(written["Activation"].is_boolean());
    assert!(written["Ports"].is_object() && written["Networks"].is_object());
    assert!(written["CNIPorts"].is_array());
    assert_eq!(written.as_object().unwrap().len(), 17);
    assert_eq!(written["SandboxKey"], "");
}

#[test]
fn a_guest_shows_its_owners_network_and_its_own_id() {
    let owner = configured();
    let guest = pod(born(NetworkMode::Pod(owner.id)));
    let settings = NetworkSettings::of(&guest, Some(&owner));
    assert_eq!(settings.sandbox_key, KEY);
    assert_eq!(settings.ip_address, "10.1.0.2");
    assert_eq!(settings.sandbox_id, guest.id.to_string());
}
