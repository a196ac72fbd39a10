use super::*;

#[test]
fn an_address_alone_is_task_v2() {
    let read = parse(b"unix:///run/containerd/s/abc\n").unwrap();
    assert_eq!(read.address, "unix:///run/containerd/s/abc");
    assert!(!read.task_v3);
}

#[test]
fn json_names_its_version() {
    for (version, task_v3) in [(2, false), (3, true), (4, true)] {
        let text = format!(r#"{{"version":{version},"address":"unix:///s","protocol":"ttrpc"}}"#);
        let read = parse(text.as_bytes()).unwrap();
        assert_eq!(
            (read.address.as_str(), read.task_v3),
            ("unix:///s", task_v3)
        );
    }
}

#[test]
fn what_is_no_address_is_refused() {
    let refused: [&[u8]; 7] = [
        b"",
        b"hello",
        b"\xff",
        b"unix://relative",
        b"warning: x\nunix:///s",
        b"unix:///s\nmore",
        b"{\"version\":3}",
    ];
    for text in refused {
        assert!(parse(text).is_err(), "{text:?}");
    }
    let grpc = parse(br#"{"version":3,"address":"unix:///s","protocol":"grpc"}"#);
    assert!(grpc.unwrap_err().contains("grpc"));
}
