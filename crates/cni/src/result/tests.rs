use super::*;
use proptest::prelude::*;
use serde_json::json;

fn parse(value: &Value) -> ParsedResult {
    ParsedResult::parse(value.to_string().as_bytes(), SpecVersion::V1_0_0).unwrap()
}

fn error(value: &Value) -> ResultError {
    ParsedResult::parse(value.to_string().as_bytes(), SpecVersion::V1_0_0).unwrap_err()
}

fn bridge_result() -> Value {
    json!({
        "cniVersion": "1.0.0",
        "interfaces": [
            {"name": "br0", "mac": "0a:00:00:00:00:01"},
            {"name": "veth1", "mac": "0a:00:00:00:00:02", "sandbox": null},
            {"name": "eth0", "mac": "0a:00:00:00:00:03", "sandbox": "/var/run/netns/p"},
        ],
        "ips": [
            {"interface": 2, "address": "fd00::5/64", "gateway": "fd00::1"},
            {"interface": 2, "address": "10.1.0.5/16", "gateway": "10.1.0.1"},
            {"interface": 0, "address": "10.1.0.1/16"},
            {"address": "10.9.0.1/16", "gateway": ""},
        ],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0", "gw": "fd00::1"}],
        "dns": {"nameservers": ["10.1.0.53"], "search": null},
    })
}

#[test]
fn duty_57_addresses_of_the_pod_are_those_in_its_namespace_in_order() {
    let result = parse(&bridge_result());
    for netns in ["/var/run/netns/p", "/run/netns/p"] {
        let view = result.for_sandbox(Path::new(netns), "eth0");
        let addresses: Vec<String> = view
            .addresses
            .iter()
            .map(|ip| ip.address.to_string())
            .collect();
        assert_eq!(addresses, ["fd00::5/64", "10.1.0.5/16"]);
        assert_eq!(view.mac(), "0a:00:00:00:00:03");
        assert_eq!(
            view.ipv4().unwrap().gateway,
            Some("10.1.0.1".parse().unwrap())
        );
        assert_eq!(view.ipv6().unwrap().address.prefix, 64);
    }
    let elsewhere = result.for_sandbox(Path::new("/run/netns/q"), "eth0");
    assert_eq!(elsewhere.addresses.len(), 0);
    assert_eq!((elsewhere.interface, elsewhere.mac()), (None, ""));
}

#[test]
fn duty_57_all_versions_from_0_1_to_1_1_are_read() {
    let old = json!({
        "cniVersion": "0.2.0",
        "ip4": {"ip": "10.1.0.5/16", "gateway": "10.1.0.1", "routes": [{"dst": "0.0.0.0/0"}]},
        "ip6": {"ip": "fd00::5/64"},
        "dns": {"domain": "example.org"},
    });
    let read = parse(&old);
    let view = read.for_sandbox(Path::new("/run/netns/p"), "eth0");
    assert_eq!(view.addresses.len(), 2);
    assert_eq!(
        view.ipv4().unwrap().gateway,
        Some("10.1.0.1".parse().unwrap())
    );
    assert_eq!(
        (read.routes.len(), read.dns.domain.as_str()),
        (1, "example.org")
    );
    for version in ["0.3.0", "0.3.1", "0.4.0"] {
        let mut middle = bridge_result();
        middle["cniVersion"] = json!(version);
        middle["ips"][0]["version"] = json!("6");
        assert_eq!(parse(&middle), parse(&bridge_result()));
    }
    let mut new = bridge_result();
    new["cniVersion"] = json!("1.1.0");
    new["interfaces"][2]["mtu"] = json!(1400);
    new["routes"][0]["table"] = json!(7);
    let read = parse(&new);
    assert_eq!(
        (read.interfaces[2].mtu, read.routes[0].table),
        (1400, Some(7))
    );
}

#[test]
fn duty_57_the_kept_result_is_converted_to_the_configurations_version() {
    let to = |from: &Value, version: SpecVersion| {
        let object = from.as_object().unwrap().clone();
        let from = version_of(&object, version).unwrap();
        Value::Object(convert(object, from, version))
    };
    let middle = to(&bridge_result(), SpecVersion::V0_4_0);
    assert_eq!(middle["cniVersion"], "0.4.0");
    assert_eq!(
        (&middle["ips"][0]["version"], &middle["ips"][1]["version"]),
        (&json!("6"), &json!("4"))
    );
    assert_eq!(to(&middle, SpecVersion::V1_0_0), bridge_result());
    let old = to(&bridge_result(), SpecVersion::V0_2_0);
    assert_eq!(
        old,
        json!({
            "cniVersion": "0.2.0",
            "ip4": {"ip": "10.1.0.5/16", "gateway": "10.1.0.1", "routes": [{"dst": "0.0.0.0/0"}]},
            "ip6": {"ip": "fd00::5/64", "gateway": "fd00::1", "routes": [{"dst": "::/0", "gw": "fd00::1"}]},
            "dns": {"nameservers": ["10.1.0.53"], "search": null},
        })
    );
    let new = json!({
        "cniVersion": "1.1.0", "custom": 1,
        "interfaces": [{"name": "a", "mtu": 1, "socketPath": "s", "pciID": "p", "sandbox": "n"}],
        "routes": [{"dst": "::/0", "mtu": 1, "advmss": 2, "priority": 3, "table": 4, "scope": 5}],
    });
    assert_eq!(
        to(&new, SpecVersion::V1_0_0),
        json!({
            "cniVersion": "1.0.0", "custom": 1,
            "interfaces": [{"name": "a", "sandbox": "n"}], "routes": [{"dst": "::/0"}],
        })
    );
}

#[test]
fn a_result_without_version_is_of_the_configurations() {
    let object = json!({"ip4": {"ip": "10.0.0.2/8"}});
    let read = |version| ParsedResult::parse(object.to_string().as_bytes(), version).unwrap();
    assert_eq!(read(SpecVersion::V0_1_0).ips.len(), 1);
    assert_eq!(read(SpecVersion::V1_0_0).ips.len(), 0);
}

#[test]
fn the_interface_that_was_asked_for_is_the_pods() {
    let netns = "/run/netns/p";
    let result = parse(&json!({"interfaces": [
        {"name": "first", "sandbox": netns}, {"name": "net1", "sandbox": netns},
    ]}));
    let name = |asked: &str| {
        let view = result.for_sandbox(Path::new(netns), asked);
        view.interface.unwrap().name.clone()
    };
    assert_eq!(name("net1"), "net1");
    assert_eq!(name("other"), "first");
}

#[test]
fn an_interfaces_addresses_are_those_that_are_told_of_it() {
    let netns = "/run/netns/p";
    let result = parse(&json!({
        "interfaces": [{"name": "eth0"}, {"name": "eth0", "sandbox": netns}, {"name": "net1", "sandbox": netns}],
        "ips": [
            {"address": "10.0.0.1/8", "interface": 0},
            {"address": "10.0.0.2/8", "interface": 1},
            {"address": "10.0.0.3/8", "interface": 2},
            {"address": "10.0.0.4/8"},
        ],
    }));
    let of = |name: &str| -> Vec<String> {
        result.addresses_of(name).map(ToString::to_string).collect()
    };
    assert_eq!(of("eth0"), ["10.0.0.2/8", "10.0.0.4/8"]);
    assert_eq!(of("net1"), ["10.0.0.3/8", "10.0.0.4/8"]);
}

#[test]
fn the_bridge_is_the_one_the_list_names() {
    let list = |plugin: Value| {
        let list = json!({"name": "n", "cniVersion": "1.0.0", "plugins": [plugin]});
        Conflist::parse(list.to_string().as_bytes(), Path::new("x")).unwrap()
    };
    let result = parse(&bridge_result());
    let named = list(json!({"type": "bridge", "bridge": "br0"}));
    assert_eq!(result.host_bridge(&named), Some("br0"));
    assert_eq!(result.host_bridge(&list(json!({"type": "bridge"}))), None);
    assert_eq!(result.host_bridge(&list(json!({"type": "ptp"}))), None);
    let usual = parse(&json!({"interfaces": [{"name": "veth9"}, {"name": "cni0"}]}));
    assert_eq!(
        usual.host_bridge(&list(json!({"type": "bridge"}))),
        Some("cni0")
    );
}

#[test]
fn scenario_23_what_does_not_read_is_named() {
    for bad in ["", "null", "[]", "hello", "{\"ips\": "] {
        let read = ParsedResult::parse(bad.as_bytes(), SpecVersion::V1_0_0);
        assert!(matches!(read, Err(ResultError::NotJson(_))), "{bad}");
    }
    for version in [json!("2.0.0"), json!(1), json!("junk")] {
        let error = error(&json!({"cniVersion": version}));
        assert!(matches!(error, ResultError::Version(_)), "{error:?}");
    }
    for (part, value) in [
        ("ips", json!([{"address": "10.0.0.1"}])),
        ("ips", json!({})),
        ("ips", json!([{"address": "10.0.0.1/8", "interface": -1}])),
        ("ips", json!([{"address": "10.0.0.1/8", "gateway": "x"}])),
        ("interfaces", json!([{"name": 7}])),
        ("routes", json!([{}])),
        ("dns", json!("x")),
    ] {
        let error = error(&json!({part: value}));
        assert!(error.to_string().starts_with(part), "{error}");
    }
    let beyond = json!({"interfaces": [], "ips": [{"address": "10.0.0.1/8", "interface": 0}]});
    assert!(matches!(
        error(&beyond),
        ResultError::NoSuchInterface {
            ip: 0,
            interface: 0,
            count: 0
        }
    ));
}

fn any_result() -> impl Strategy<Value = Value> {
    let ip = (
        any::<std::net::IpAddr>(),
        0u8..=32,
        proptest::option::of(0usize..2),
    )
        .prop_map(|(address, prefix, interface)| {
            let mut ip = json!({"address": Cidr { address, prefix }});
            if let Some(interface) = interface {
                ip["interface"] = json!(interface);
            }
            ip
        });
    proptest::collection::vec(ip, 0..5).prop_map(|ips| {
        json!({
            "cniVersion": "1.0.0", "ips": ips, "routes": [], "dns": {},
            "interfaces": [{"name": "a"}, {"name": "b", "sandbox": "/run/netns/p"}],
        })
    })
}

proptest! {
    #[test]
    fn there_and_back_is_the_same_result(result in any_result(), middle in 2usize..7) {
        let object = result.as_object().unwrap().clone();
        let via = SpecVersion::ALL[middle];
        let there = convert(object.clone(), SpecVersion::V1_0_0, via);
        prop_assert_eq!(there.get("cniVersion").unwrap(), via.as_str());
        prop_assert_eq!(convert(there, via, SpecVersion::V1_0_0), object);
    }

    #[test]
    fn every_conversion_reads(result in any_result(), to in 0usize..7) {
        let object = result.as_object().unwrap().clone();
        let version = SpecVersion::ALL[to];
        let converted = Value::Object(convert(object, SpecVersion::V1_0_0, version));
        let read = ParsedResult::parse(converted.to_string().as_bytes(), version);
        prop_assert!(read.is_ok(), "{:?}", read);
    }

    /// Found by fuzzing: a number too long for a float came out another each time.
    #[test]
    fn a_number_is_written_as_it_was_read(digits in "[1-9][0-9]{0,80}", decimals in "(\\.[0-9]{1,40})?") {
        let version = SpecVersion::V1_0_0;
        let result = format!("{{\"cniVersion\":\"1.0.0\",\"mine\":{digits}{decimals}}}");
        let once = rewrite_result(result.as_bytes(), version, version).unwrap();
        prop_assert_eq!(rewrite_result(&once, version, version).unwrap(), once);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let _ = ParsedResult::parse(&bytes, SpecVersion::V1_0_0);
    }
}
