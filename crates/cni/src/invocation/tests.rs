use super::*;
use std::collections::BTreeMap;
use std::path::Path;

fn conflist() -> Conflist {
    let list = json!({
        "cniVersion": "0.4.0", "cniVersions": ["1.0.0"], "name": "podnet",
        "plugins": [
            {"type": "a", "name": "own", "cniVersion": "0.1.0", "x": {"y": 1},
             "capabilities": {"mac": true, "ips": true, "dns": false}},
            {"type": "b"},
        ],
    });
    Conflist::parse(list.to_string().as_bytes(), Path::new("x")).unwrap()
}

fn attachment() -> Attachment {
    let mut attachment = Attachment::new("c1", "eth0").in_netns("/run/netns/c1");
    attachment.args = vec![("K".to_owned(), "V".to_owned())];
    let offer = json!({"mac": "m", "dns": {}, "bandwidth": {}});
    attachment.capability_args = offer.as_object().unwrap().clone();
    attachment
}

fn config(plugin: usize, addition: &Addition<'_>) -> Value {
    let conflist = conflist();
    serde_json::from_slice(&configuration(
        &conflist,
        &conflist.plugins()[plugin],
        addition,
    ))
    .unwrap()
}

fn for_attachment(attachment: &Attachment) -> Addition<'_> {
    Addition {
        attachment: Some(attachment),
        ..Addition::default()
    }
}

fn variables(verb: Verb, attachment: Option<&Attachment>) -> BTreeMap<&'static str, String> {
    let search = ["/opt/cni/bin", "/usr/lib/cni"].map(PathBuf::from);
    let netns = attachment.and_then(|a| a.netns.as_deref());
    environment(verb, attachment, netns, &search)
        .into_iter()
        .map(|(key, value)| (key, value.into_string().unwrap()))
        .collect()
}

#[test]
fn duty_10_every_plugin_gets_the_same_version() {
    for plugin in [0, 1] {
        assert_eq!(config(plugin, &Addition::default())["cniVersion"], "1.0.0");
    }
}

#[test]
fn duty_19_variables_that_an_operation_does_not_use_are_empty() {
    for verb in [Verb::Version, Verb::Status, Verb::Gc] {
        let variables = variables(verb, None);
        for name in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"] {
            assert_eq!(variables[name], "", "{name}");
        }
        assert_eq!(variables["CNI_COMMAND"], verb.as_str());
        assert_eq!(variables["CNI_PATH"], "/opt/cni/bin:/usr/lib/cni");
    }
}

#[test]
fn duty_21_an_attachment_gives_command_container_namespace_and_interface() {
    let mut attachment = attachment();
    attachment.traceparent = Some("00-1-2-01".to_owned());
    let variables = variables(Verb::Add, Some(&attachment));
    let expected = [
        ("CNI_ARGS", "K=V"),
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_NETNS", "/run/netns/c1"),
        ("CNI_PATH", "/opt/cni/bin:/usr/lib/cni"),
        ("TRACEPARENT", "00-1-2-01"),
    ];
    for (key, value) in expected {
        assert_eq!(variables[key], value);
    }
    let names: Vec<&str> = variables.keys().copied().collect();
    let known = |name: &&str| expected.iter().any(|(key, _)| key == name) || *name == "PATH";
    assert!(names.iter().all(known), "{names:?}");
}

#[test]
fn duty_53_name_version_and_previous_result_are_inserted() {
    let result = json!({"cniVersion": "1.0.0", "ips": []});
    let addition = Addition {
        prev_result: result.as_object(),
        ..Addition::default()
    };
    let config = config(0, &addition);
    assert_eq!(
        config,
        json!({"type": "a", "name": "podnet", "cniVersion": "1.0.0", "x": {"y": 1}, "prevResult": result})
    );
}

#[test]
fn duty_54_runtime_config_is_what_is_declared_and_offered() {
    let attachment = attachment();
    let first = config(0, &for_attachment(&attachment));
    assert_eq!(first["runtimeConfig"], json!({"mac": "m"}));
    assert_eq!(
        config(1, &for_attachment(&attachment)).get("runtimeConfig"),
        None
    );
    let nothing = Attachment::new("c1", "eth0");
    assert_eq!(
        config(0, &for_attachment(&nothing)).get("runtimeConfig"),
        None
    );
}

#[test]
fn duty_55_capabilities_are_not_sent() {
    let attachment = attachment();
    assert_eq!(
        config(0, &for_attachment(&attachment)).get("capabilities"),
        None
    );
}

#[test]
fn duty_56_no_other_cni_dev_key_is_passed() {
    let list = json!({"name": "n", "cniVersion": "1.1.0",
        "plugins": [{"type": "a", "cni.dev/foo": 1, "cni.dev/valid-attachments": [{}]}]});
    let conflist = Conflist::parse(list.to_string().as_bytes(), Path::new("x")).unwrap();
    let sent = configuration(&conflist, &conflist.plugins()[0], &Addition::default());
    assert!(!String::from_utf8(sent).unwrap().contains("cni.dev/"));
}

#[test]
fn structured_arguments_go_below_args_cni() {
    let mut attachment = attachment();
    attachment.config_args = json!({"vlan": 7}).as_object().unwrap().clone();
    let config = config(1, &for_attachment(&attachment));
    assert_eq!(config["args"], json!({"cni": {"vlan": 7}}));
}
