use super::*;

fn message(attributes: Vec<AddressAttribute>) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.prefix_len = 24;
    message.header.scope = AddressScope::Link;
    message.attributes = attributes;
    message
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn on_a_point_to_point_link_the_own_address_is_taken() {
    let peer = AddressAttribute::Address(ip("10.0.0.1"));
    let own = AddressAttribute::Local(ip("10.0.0.2"));
    for attributes in [vec![peer.clone(), own.clone()], vec![own, peer]] {
        let address = address(&message(attributes)).unwrap();
        let expected = Address {
            address: ip("10.0.0.2"),
            prefix: 24,
            scope: Scope::Link,
        };
        assert_eq!(address, expected);
    }
}

#[test]
fn a_lone_address_is_the_own_one_and_none_is_none() {
    let lone = message(vec![AddressAttribute::Address(ip("fd00::1"))]);
    assert_eq!(address(&lone).unwrap().address, ip("fd00::1"));
    assert_eq!(address(&message(vec![])), None);
}

#[test]
fn scopes_are_translated() {
    let scopes = [0, 200, 253, 254, 255, 17].map(|raw| scope(AddressScope::from(raw)));
    let expected = [
        Scope::Global,
        Scope::Site,
        Scope::Link,
        Scope::Host,
        Scope::Other(255),
        Scope::Other(17),
    ];
    assert_eq!(scopes, expected);
}

#[test]
fn a_hardware_address_is_written_in_pairs() {
    assert_eq!(mac(&[2, 0x42, 0xac, 0x11, 0, 2]), "02:42:ac:11:00:02");
    assert_eq!(mac(&[]), "");
}

#[test]
fn a_link_takes_its_name_flags_and_hardware_address() {
    let mut raw = LinkMessage::default();
    raw.header.index = 7;
    raw.header.flags = LinkFlags::Up;
    raw.attributes = vec![
        LinkAttribute::IfName("eth0".into()),
        LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]),
    ];
    let link = link(&raw);
    assert_eq!((link.name.as_str(), link.index), ("eth0", 7));
    assert_eq!(link.mac, "02:00:00:00:00:01");
    assert!(link.up && !link.loopback && link.addresses.is_empty());
}

#[test]
fn a_path_without_a_namespace_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("plain");
    std::fs::write(&path, "").unwrap();
    assert!(matches!(lo_up(&path), Err(Error::NotPinned { .. })));
    assert!(matches!(links(&path), Err(Error::NotPinned { .. })));
}

#[test]
fn a_netlink_refusal_keeps_its_errno() {
    let mut answer = rtnetlink::packet_core::ErrorMessage::default();
    answer.code = std::num::NonZeroI32::new(-nix::libc::EPERM);
    let error = netlink(
        "set lo up in",
        Path::new("/run/netns/a"),
        rtnetlink::Error::NetlinkError(answer),
    );
    assert!(error.to_string().contains("run as root"), "{error}");
}
