use super::*;

#[test]
fn a_uuid_is_read_byte_by_byte() {
    let id = parse_boot_id("00112233-4455-6677-8899-aAbBcCdDeEfF").unwrap();
    assert_eq!(
        id,
        [
            0, 17, 34, 51, 68, 85, 102, 119, 136, 153, 170, 187, 204, 221, 238, 255
        ]
    );
}

#[test]
fn what_is_no_uuid_is_refused_and_shown() {
    for bad in [
        "",
        "00112233445566778899aabbccddeeff",
        "00112233-4455-6677-8899-aabbccddeefg",
        "+0112233-4455-6677-8899-aabbccddeeff",
        "00112233-4455-6677-8899-aabbccddeeff0",
        "0011223-34455-6677-8899-aabbccddeeff",
    ] {
        let error = parse_boot_id(bad).unwrap_err();
        assert!(error.to_string().contains(bad), "{error}");
    }
}

#[test]
fn the_boot_id_stays_the_same_and_is_not_zero() {
    let id = boot_id().unwrap();
    assert_eq!(id, boot_id().unwrap());
    assert_ne!(id, [0; 16]);
}

#[test]
fn the_cookie_of_this_namespace_is_stable() {
    let path = Path::new("/proc/self/ns/net");
    assert_eq!(cookie_here(path).unwrap(), cookie_here(path).unwrap());
}
