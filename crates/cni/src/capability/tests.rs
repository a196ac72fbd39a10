use super::*;

fn mapping(host: u16, protocol: Protocol, ip: Option<&str>) -> PortMapping {
    PortMapping {
        host_port: host,
        container_port: 80,
        protocol,
        host_ip: ip.map(|ip| ip.parse().unwrap()),
    }
}

fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}

#[test]
fn every_capability_is_written_in_the_shape_of_the_conventions() {
    let range = IpRange {
        subnet: "10.0.0.0/8".parse().unwrap(),
        range_start: Some("10.0.0.9".parse().unwrap()),
        range_end: None,
        gateway: Some("10.0.0.1".parse().unwrap()),
    };
    let dns = DnsOffer {
        servers: vec!["10.0.0.53".to_owned()],
        searches: vec!["example.org".to_owned()],
        options: vec!["ndots:2".to_owned()],
    };
    let mappings = [
        mapping(8080, Protocol::Tcp, Some("192.0.2.1")),
        mapping(8080, Protocol::Udp, Some("2001:db8::1")),
        mapping(8080, Protocol::Sctp, None),
    ];
    let offer = CapabilityArgs::new()
        .port_mappings(&mappings)
        .unwrap()
        .bandwidth(Bandwidth {
            ingress_rate: 1,
            ingress_burst: 2,
            egress_rate: 3,
            egress_burst: 4,
        })
        .ips(&["10.0.0.2/8".to_owned()])
        .mac("c2:B0:57:49:47:f1")
        .unwrap()
        .dns(&dns)
        .ip_ranges(&[vec![range]])
        .aliases(&["web".to_owned()])
        .infiniband_guid("02:00:00:00:00:00:00:01")
        .device_id("0000:04:00.5")
        .cgroup_path("/pods/a");
    assert_eq!(
        Value::Object(offer.into_map()),
        json!({
            "portMappings": [
                {"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "192.0.2.1"},
                {"hostPort": 8080, "containerPort": 80, "protocol": "udp", "hostIP": "2001:db8::1"},
                {"hostPort": 8080, "containerPort": 80, "protocol": "sctp"},
            ],
            "bandwidth": {"ingressRate": 1, "ingressBurst": 2, "egressRate": 3, "egressBurst": 4},
            "ips": ["10.0.0.2/8"],
            "mac": "c2:B0:57:49:47:f1",
            "dns": {"servers": ["10.0.0.53"], "searches": ["example.org"], "options": ["ndots:2"]},
            "ipRanges": [[{"subnet": "10.0.0.0/8", "rangeStart": "10.0.0.9", "gateway": "10.0.0.1"}]],
            "aliases": ["web"],
            "infinibandGUID": "02:00:00:00:00:00:00:01",
            "deviceID": "0000:04:00.5",
            "cgroupPath": "/pods/a",
        })
    );
}

#[test]
fn what_is_empty_is_not_offered() {
    let offer = CapabilityArgs::new()
        .port_mappings(&[])
        .unwrap()
        .bandwidth(Bandwidth::default())
        .ips(&[])
        .dns(&DnsOffer::default())
        .ip_ranges(&[])
        .aliases(&[])
        .infiniband_guid("")
        .device_id("")
        .cgroup_path("");
    assert!(offer.into_map().is_empty());
}

#[test]
fn another_offer_overrides_its_own_keys_only() {
    let own = json!({"mac": "c2:b0:57:49:47:f2"})
        .as_object()
        .unwrap()
        .clone();
    let offer = CapabilityArgs::new()
        .mac("c2:b0:57:49:47:f1")
        .unwrap()
        .ips(&["10.0.0.2".to_owned()])
        .merge(own);
    assert_eq!(
        Value::Object(offer.into_map()),
        json!({"mac": "c2:b0:57:49:47:f2", "ips": ["10.0.0.2"]})
    );
}

#[test]
fn ports_are_refused_when_zero_or_taken() {
    let offer = |mappings: &[PortMapping]| CapabilityArgs::new().port_mappings(mappings);
    let mut zero = mapping(0, Protocol::Tcp, None);
    assert!(matches!(
        offer(&[zero.clone()]),
        Err(CapabilityError::PortZero { host: 0, .. })
    ));
    (zero.host_port, zero.container_port) = (80, 0);
    assert!(matches!(
        offer(&[zero]),
        Err(CapabilityError::PortZero { container: 0, .. })
    ));
    let taken = [
        (None, None),
        (None, Some("192.0.2.1")),
        (Some("192.0.2.1"), Some("192.0.2.1")),
        (Some("0.0.0.0"), Some("192.0.2.1")),
        (Some("2001:db8::1"), Some("::")),
    ];
    for (one, other) in taken {
        let pair = [
            mapping(80, Protocol::Tcp, one),
            mapping(80, Protocol::Tcp, other),
        ];
        let expected = CapabilityError::PortTwice {
            port: 80,
            protocol: Protocol::Tcp,
        };
        assert_eq!(offer(&pair).unwrap_err(), expected, "{one:?} {other:?}");
    }
    let free = [
        (Some("192.0.2.1"), Some("192.0.2.2")),
        (Some("0.0.0.0"), Some("::")),
    ];
    for (one, other) in free {
        let pair = [
            mapping(80, Protocol::Tcp, one),
            mapping(80, Protocol::Tcp, other),
        ];
        assert!(offer(&pair).is_ok(), "{one:?} {other:?}");
    }
    assert!(
        offer(&[
            mapping(80, Protocol::Tcp, None),
            mapping(80, Protocol::Sctp, None)
        ])
        .is_ok()
    );
}

#[test]
fn hardware_addresses_have_six_octets() {
    for bad in [
        "",
        "c2:b0:57:49:47",
        "c2:b0:57:49:47:f1:00",
        "c2-b0-57-49-47-f1",
        "c2:b0:57:49:47:g1",
        "c2:b0:57:49:47:+1",
    ] {
        let expected = CapabilityError::Mac(bad.to_owned());
        assert_eq!(CapabilityArgs::new().mac(bad).unwrap_err(), expected);
    }
}

#[test]
fn scenario_43_bandwidth_annotations_reach_both_directions() {
    let both = annotations(&[(INGRESS_ANNOTATION, "10M"), (EGRESS_ANNOTATION, "512Ki")]);
    assert_eq!(
        Bandwidth::from_annotations(&both).unwrap(),
        Some(Bandwidth {
            ingress_rate: 10_000_000,
            ingress_burst: u64::from(u32::MAX),
            egress_rate: 524_288,
            egress_burst: u64::from(u32::MAX),
        })
    );
    let one = annotations(&[(EGRESS_ANNOTATION, "1k")]);
    assert_eq!(
        Bandwidth::from_annotations(&one).unwrap(),
        Some(Bandwidth {
            egress_rate: 1_000,
            egress_burst: u64::from(u32::MAX),
            ..Bandwidth::default()
        })
    );
    assert_eq!(Bandwidth::from_annotations(&annotations(&[])), Ok(None));
}

#[test]
fn annotations_that_are_no_reasonable_rate_are_named() {
    for (value, reason) in [
        ("ten", "not a quantity"),
        ("999", "out of bounds"),
        ("2P", "out of bounds"),
    ] {
        let wrong = annotations(&[(INGRESS_ANNOTATION, value)]);
        let message = Bandwidth::from_annotations(&wrong).unwrap_err().to_string();
        assert!(
            message.contains(INGRESS_ANNOTATION) && message.contains(reason),
            "{message}"
        );
    }
}

#[test]
fn protocols_are_read_in_any_case() {
    assert_eq!("TCP".parse(), Ok(Protocol::Tcp));
    assert_eq!("sctp".parse::<Protocol>().unwrap().to_string(), "sctp");
    assert_eq!(
        "icmp".parse::<Protocol>(),
        Err(CapabilityError::Protocol("icmp".to_owned()))
    );
}
