use super::*;
use proptest::prelude::*;
use serde_json::json;

fn parse(value: &Value) -> Result<Conflist, ConfigError> {
    Conflist::parse(
        value.to_string().as_bytes(),
        Path::new("/etc/cni/net.d/10.conflist"),
    )
}

fn list(plugins: Value) -> Value {
    json!({"cniVersion": "1.0.0", "name": "net", "plugins": plugins})
}

fn kinds(list: &Conflist) -> Vec<&str> {
    list.plugins().iter().map(Plugin::kind).collect()
}

#[test]
fn duty_01_the_name_is_present_and_follows_the_pattern() {
    let named = |name: Value| parse(&json!({"name": name, "plugins": [{"type": "a"}]}));
    assert_eq!(named(json!("a.b_c-9")).unwrap().name(), "a.b_c-9");
    for missing in [Value::Null, json!(7)] {
        assert!(matches!(
            named(missing),
            Err(ConfigError::MissingName { .. })
        ));
    }
    for bad in ["", "-a", "a/b", "a b", "../x", "ä"] {
        match named(json!(bad)) {
            Err(ConfigError::BadName { name, .. }) => assert_eq!(name, bad),
            other => panic!("{bad}: {other:?}"),
        }
    }
}

#[test]
fn duty_02_plugins_are_there_and_their_types_stay_in_the_search_path() {
    assert_eq!(
        kinds(&parse(&list(json!([{"type": "a"}, {"type": "b"}]))).unwrap()),
        ["a", "b"]
    );
    for none in [json!([]), Value::Null] {
        assert!(matches!(
            parse(&list(none)),
            Err(ConfigError::NoPlugins { .. })
        ));
    }
    assert!(matches!(
        parse(&list(json!({"type": "a"}))),
        Err(ConfigError::PluginsNotAList { .. })
    ));
    for bad in ["", ".", "..", "a/b", "../a", "/bin/sh", "a\\b", "a\0"] {
        let fault = PluginFault::BadType(bad.to_owned());
        assert_eq!(fault_of(json!([{"type": "ok"}, {"type": bad}])), (1, fault));
    }
    assert_eq!(fault_of(json!([{}])), (0, PluginFault::NoType));
    assert_eq!(fault_of(json!([{"type": 1}])), (0, PluginFault::NoType));
    assert_eq!(fault_of(json!(["a"])), (0, PluginFault::NotAnObject));
}

fn fault_of(plugins: Value) -> (usize, PluginFault) {
    match parse(&list(plugins)) {
        Err(ConfigError::BadPlugin { index, fault, .. }) => (index, fault),
        other => panic!("{other:?}"),
    }
}

#[test]
fn duty_03_unknown_keys_of_a_plugin_pass_through_unchanged() {
    let object = json!({
        "type": "a", "zeta": [1, 2.5, null], "alpha": {"deep": {"er": "ü"}},
        "big": 18446744073709551615u64, "neg": -3, "empty": {},
    });
    let list = parse(&list(json!([object]))).unwrap();
    assert_eq!(Value::Object(list.plugins()[0].object().clone()), object);
    let again = Conflist::parse(list.bytes(), list.path()).unwrap();
    assert_eq!(Value::Object(again.plugins()[0].object().clone()), object);
}

#[test]
fn duty_04_reserved_keys_are_left_out_and_named() {
    let list = parse(&list(json!([{"type": "a", "keep": 1}, {
        "type": "b", "runtimeConfig": {"mac": "x"}, "args": {"cni": {}},
        "cni.dev/attachments": [], "cni.dev/else": 1, "prevResult": {}, "keep": 2,
    }])))
    .unwrap();
    assert_eq!(
        Value::Object(list.plugins()[1].object().clone()),
        json!({"type": "b", "keep": 2})
    );
    assert_eq!(
        list.ignored(),
        [
            "runtimeConfig",
            "args",
            "cni.dev/attachments",
            "cni.dev/else",
            "prevResult"
        ]
        .map(|key| format!("plugins[1].{key}"))
    );
    assert!(
        Conflist::parse(list.bytes(), list.path())
            .unwrap()
            .ignored()
            .is_empty()
    );
}

/// A directory with a list `10.conflist` and plugin objects of the network `net`.
fn directory(list: &Value, objects: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("10.conflist"), list.to_string()).unwrap();
    std::fs::create_dir(directory.path().join("net")).unwrap();
    for (name, content) in objects {
        std::fs::write(directory.path().join("net").join(name), content).unwrap();
    }
    directory
}

fn load(directory: &tempfile::TempDir) -> Result<Conflist, ConfigError> {
    Conflist::load(&directory.path().join("10.conflist"))
}

#[test]
fn duty_05_plugins_of_the_sibling_directory_are_appended_unless_told_otherwise() {
    let objects = [
        ("20-b.conf", r#"{"type": "b"}"#),
        ("10-a.conf", r#"{"type": "a"}"#),
        ("30-no.json", r#"{"type": "no"}"#),
        ("README", "not read"),
    ];
    let with = |flag: Value, plugins: Value| json!({"name": "net", "loadOnlyInlinedPlugins": flag, "plugins": plugins});
    let inlined = json!([{"type": "first"}]);
    for (flag, expected) in [
        (Value::Null, &["first", "a", "b"][..]),
        (json!(false), &["first", "a", "b"]),
        (json!("false"), &["first", "a", "b"]),
        (json!(true), &["first"]),
        (json!("true"), &["first"]),
    ] {
        let loaded = load(&directory(&with(flag, inlined.clone()), &objects)).unwrap();
        assert_eq!(kinds(&loaded), expected);
    }
    let alone = directory(&json!({"name": "net"}), &objects);
    assert_eq!(kinds(&load(&alone).unwrap()), ["a", "b"]);
    let nothing = load(&directory(&with(json!(true), Value::Null), &objects));
    assert!(matches!(nothing, Err(ConfigError::NoPlugins { .. })));
    let nowhere = load(&directory(&json!({"name": "other"}), &objects));
    assert!(matches!(nowhere, Err(ConfigError::NoPlugins { .. })));
}

#[test]
fn duty_06_every_aggregated_object_is_validated() {
    let list = json!({"name": "net", "plugins": [{"type": "first"}]});
    let bad = directory(
        &list,
        &[
            ("a.conf", r#"{"type": "a"}"#),
            ("b.conf", r#"{"type": "../b"}"#),
        ],
    );
    match load(&bad) {
        Err(ConfigError::BadPlugin { path, index, fault }) => {
            assert_eq!(path, bad.path().join("net/b.conf"));
            assert_eq!((index, fault), (2, PluginFault::BadType("../b".to_owned())));
        }
        other => panic!("{other:?}"),
    }
    let broken = directory(&list, &[("a.conf", "{")]);
    match load(&broken) {
        Err(ConfigError::NotJson { path, .. }) => {
            assert_eq!(path, broken.path().join("net/a.conf"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn duty_07_check_can_be_switched_off() {
    assert_flag("disableCheck", Conflist::disable_check);
}

#[test]
fn duty_08_gc_can_be_switched_off() {
    assert_flag("disableGC", Conflist::disable_gc);
}

fn assert_flag(key: &str, read: fn(&Conflist) -> bool) {
    let with = |value: Value| {
        let mut list = list(json!([{"type": "a"}]));
        list[key] = value;
        parse(&list)
    };
    for (value, expected) in [
        (json!(true), true),
        (json!("true"), true),
        (json!(false), false),
        (json!("false"), false),
        (Value::Null, false),
    ] {
        assert_eq!(read(&with(value).unwrap()), expected);
    }
    for bad in [json!("yes"), json!(1), json!("True")] {
        match with(bad) {
            Err(error @ ConfigError::BadFlag { .. }) => {
                assert!(error.to_string().contains(key));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn duty_44_the_pinned_bytes_say_everything() {
    let objects = [(
        "a.conf",
        r#"{"type": "a", "capabilities": {"mac": true, "ips": false}}"#,
    )];
    let list = json!({
        "cniVersion": "0.4.0", "cniVersions": ["1.0.0", "9.0.0"], "name": "net",
        "disableCheck": "true", "plugins": [{"type": "first", "ipam": {"type": "host-local"}}],
    });
    let directory = directory(&list, &objects);
    let loaded = load(&directory).unwrap();
    std::fs::remove_dir_all(directory.path()).unwrap();
    let pinned = Conflist::parse(loaded.bytes(), loaded.path()).unwrap();
    assert_eq!(pinned, loaded);
    assert_eq!(kinds(&pinned), ["first", "a"]);
    assert_eq!(pinned.cni_version(), SpecVersion::V1_0_0);
    assert!(pinned.disable_check());
    assert_eq!(pinned.plugins()[1].capabilities(), ["mac"]);
}

#[test]
fn a_single_plugin_becomes_a_list_of_one() {
    let single = json!({"cniVersion": "0.3.1", "name": "net", "type": "bridge", "bridge": "b0"});
    let list = parse(&single).unwrap();
    assert_eq!(kinds(&list), ["bridge"]);
    assert_eq!(list.plugins()[0].object()["bridge"], "b0");
    assert_eq!(list.cni_version(), SpecVersion::V0_3_1);
    assert_eq!(Conflist::parse(list.bytes(), list.path()).unwrap(), list);
}

#[test]
fn capabilities_are_a_map_of_booleans() {
    for bad in [json!([]), json!({"mac": "yes"}), json!("mac")] {
        assert_eq!(
            fault_of(json!([{"type": "a", "capabilities": bad}])),
            (0, PluginFault::BadCapabilities)
        );
    }
}

#[test]
fn files_that_are_no_configuration_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let load = |name: &str| Conflist::load(&path(name)).unwrap_err();
    std::fs::write(path("text"), "hello").unwrap();
    std::fs::write(path("empty"), "").unwrap();
    std::fs::write(path("list"), "[]").unwrap();
    std::fs::write(path("deep"), "[".repeat(100_000)).unwrap();
    std::fs::write(path("large"), " ".repeat(MAX_CONFIG_BYTES as usize + 1)).unwrap();
    std::fs::create_dir(path("folder")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    for name in ["text", "empty", "deep"] {
        assert!(matches!(load(name), ConfigError::NotJson { .. }), "{name}");
    }
    assert!(matches!(load("list"), ConfigError::NotAnObject { .. }));
    assert!(matches!(load("large"), ConfigError::TooLarge { .. }));
    for name in ["missing", "folder", "fifo"] {
        let error = load(name);
        assert!(
            matches!(error, ConfigError::Read { .. }),
            "{name}: {error:?}"
        );
        assert!(error.to_string().contains(path(name).to_str().unwrap()));
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z./]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec(("[a-z]{1,5}", inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn pinned_bytes_read_back_as_the_same_list(
        extra in proptest::collection::vec(any_value(), 1..4),
        version in 0usize..SpecVersion::ALL.len(),
    ) {
        let plugins: Vec<Value> = extra
            .into_iter()
            .map(|value| json!({"type": "a", "x": value}))
            .collect();
        let version = SpecVersion::ALL[version].as_str();
        let list = parse(&json!({"cniVersion": version, "name": "n", "plugins": plugins})).unwrap();
        let again = Conflist::parse(list.bytes(), list.path()).unwrap();
        prop_assert_eq!(again, list);
    }

    #[test]
    fn no_document_makes_it_panic(document in any_value(), key in "name|plugins|type|cniVersions|disableGC") {
        let _ = parse(&document);
        let _ = parse(&json!({"name": "n", "plugins": [{"type": "a"}], key: document}));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        prop_assert!(Conflist::parse(&bytes, Path::new("x")).is_err());
    }
}
