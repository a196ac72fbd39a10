use super::*;

#[test]
fn an_id_ends_with_its_instance_and_round_trips() {
    let id = PodId::new([0xab; 12], InstanceId([1, 2, 3, 4]));
    assert_eq!(id.to_string(), "abababababababababababab01020304");
    assert_eq!(id.to_string().parse(), Ok(id));
    assert_eq!(id.instance(), InstanceId([1, 2, 3, 4]));
}

#[test]
fn what_is_no_id_is_refused_with_its_text() {
    for text in [
        "",
        "../../etc/passwd",
        "ABABABABABABABABABABABAB01020304",
        "+bababababababababababab01020304",
    ] {
        let refused = text.parse::<PodId>();
        assert_eq!(refused, Err(NotAnId(text.to_owned())));
    }
    let long = "a".repeat(5000);
    assert!(long.parse::<PodId>().unwrap_err().to_string().len() < 200);
}
