//! What no pod can have, and which field is blamed.

use super::*;

fn refusal(path: &str, value: &Value) -> ConfigError {
    let text = with(path, value.clone()).to_string();
    let config = PodSandboxConfig::parse(&text).unwrap();
    let refused = config.into_spec(None, String::new());
    refused.expect_err(&text)
}

/// A field's path, a value it cannot have, the field that is blamed (from that path on), and a word
/// of the error.
type Refused = (&'static str, Value, &'static str, &'static str);

fn all_refuse(cases: impl IntoIterator<Item = Refused>) {
    for (path, value, within, word) in cases {
        let error = refusal(path, &value);
        assert_eq!(error.field, format!("{path}{within}"), "{error}");
        let told = error.to_string();
        assert!(told.contains(word), "'{word}' is not in: {told}");
        assert!(
            told.len() < 300 && !told.contains(char::is_control),
            "{told}"
        );
        assert!(!error.remedy.is_empty());
    }
}

#[test]
fn numbers_out_of_their_range() {
    let port = |pod: i64, host: i64| json!([{"container_port": pod, "host_port": host}]);
    all_refuse([
        (
            "port_mappings",
            port(70_000, 1),
            "[0].container_port",
            "70000",
        ),
        ("port_mappings", port(-1, 1), "[0].container_port", "-1"),
        ("port_mappings", port(1, 65_536), "[0].host_port", "65535"),
        ("port_mappings", port(1, -1), "[0].host_port", "-1"),
        ("linux.resources.cpu_shares", json!(-2), "", "-2"),
        ("linux.resources.cpu_period", json!(-1), "", "-1"),
        (
            "linux.resources.oom_score_adj",
            json!(1_i64 << 31),
            "",
            "-1000 to 1000",
        ),
        (
            "linux.overhead.cpu_shares",
            json!(i64::MIN),
            "",
            "-9223372036854775808",
        ),
        (
            "linux.overhead.oom_score_adj",
            json!(i64::MIN),
            "",
            "-1000 to 1000",
        ),
        (
            "linux.security_context.supplemental_groups",
            json!([1, -1]),
            "",
            "-1",
        ),
        (
            "linux.security_context.supplemental_groups",
            json!([1_i64 << 32]),
            "",
            "4294967296",
        ),
        (
            "linux.security_context.run_as_user",
            json!({"value": -1}),
            "",
            "-1",
        ),
        (
            "linux.security_context.run_as_user",
            json!({"value": i64::MAX}),
            "",
            "4294967294",
        ),
    ]);
    let context = json!({"run_as_user": {"value": 1}, "run_as_group": {"value": -7}});
    all_refuse([("linux.security_context", context, ".run_as_group", "-7")]);
    let second =
        json!([{"container_port": 1, "host_port": 1}, {"container_port": -1, "host_port": 2}]);
    all_refuse([("port_mappings", second, "[1].container_port", "-1")]);
}

#[test]
fn namespaces_that_a_pod_cannot_have() {
    let options = "linux.security_context.namespace_options";
    let run = json!([{"host_id": 1, "container_id": 0, "length": 1}]);
    all_refuse([
        (
            options,
            json!({"network": "CONTAINER"}),
            ".network",
            "POD or NODE",
        ),
        (
            options,
            json!({"network": "TARGET"}),
            ".network",
            "POD or NODE",
        ),
        (options, json!({"pid": "TARGET"}), ".pid", "TARGET"),
        (options, json!({"ipc": 3}), ".ipc", "TARGET"),
        (options, json!({"target_id": "a\nb"}), ".target_id", "'a?b'"),
        (
            options,
            json!({"pid": 3, "target_id": "abc"}),
            ".target_id",
            "'abc'",
        ),
    ]);
    let options = "linux.security_context.namespace_options.userns_options";
    all_refuse([
        (options, json!({}), ".uids", "at least one mapping"),
        (
            options,
            json!({"mode": "POD", "gids": run}),
            ".uids",
            "user",
        ),
        (
            options,
            json!({"mode": "POD", "uids": run}),
            ".gids",
            "group",
        ),
        (
            options,
            json!({"mode": "NODE", "uids": run}),
            "",
            "has mappings",
        ),
        (
            options,
            json!({"mode": "NODE", "gids": run}),
            "",
            "has mappings",
        ),
        (
            options,
            json!({"mode": "CONTAINER", "uids": run, "gids": run}),
            ".mode",
            "POD or NODE",
        ),
        (options, json!({"mode": "TARGET"}), ".mode", "POD or NODE"),
    ]);
}

#[test]
fn profiles_that_contradict_themselves() {
    let context = "linux.security_context";
    let both = |path: &str, kind: &str| json!({"seccomp_profile_path": path, "seccomp": {"profile_type": kind}});
    let named = json!({"profile_type": 2, "localhost_ref": "/a"});
    all_refuse([
        (
            context,
            json!({"seccomp": {"profile_type": 2}}),
            ".seccomp.localhost_ref",
            "empty",
        ),
        (
            context,
            json!({"apparmor": {"profile_type": 2}}),
            ".apparmor.localhost_ref",
            "empty",
        ),
        (
            context,
            json!({"seccomp": {"localhost_ref": "/a"}}),
            ".seccomp.localhost_ref",
            "not Localhost",
        ),
        (
            context,
            json!({"apparmor": {"profile_type": 1, "localhost_ref": "a"}}),
            ".apparmor.localhost_ref",
            "not Localhost",
        ),
        (
            context,
            both("unconfined", "RuntimeDefault"),
            ".seccomp_profile_path",
            "'unconfined'",
        ),
        (
            context,
            both("docker/default", "Unconfined"),
            ".seccomp_profile_path",
            "deprecated",
        ),
        (
            context,
            json!({"seccomp_profile_path": "localhost//b", "seccomp": named}),
            ".seccomp_profile_path",
            "'localhost//b'",
        ),
        (
            context,
            json!({"seccomp_profile_path": "/etc/a"}),
            ".seccomp_profile_path",
            "'/etc/a'",
        ),
        (
            context,
            json!({"seccomp_profile_path": "localhost"}),
            ".seccomp_profile_path",
            "is no",
        ),
        (
            context,
            json!({"seccomp_profile_path": "\n"}),
            ".seccomp_profile_path",
            "'?'",
        ),
    ]);
}

/// What this module hands on is the engine's to refuse; nothing of it gets through.
#[test]
fn the_engine_refuses_the_rest() {
    let context = "linux.security_context";
    for (value, field) in [
        (json!({"run_as_group": {"value": 1}}), "run_as_group"),
        (
            json!({"run_as_user": {"value": 4_294_967_295_u32}}),
            "run_as_user",
        ),
        (json!({"seccomp_profile_path": "localhost/"}), "seccomp"),
        (
            json!({"seccomp_profile_path": "localhost/relative"}),
            "seccomp",
        ),
        (
            json!({"seccomp": {"profile_type": 2, "localhost_ref": "relative"}}),
            "seccomp",
        ),
    ] {
        let mut config = with(context, value);
        config["metadata"] = json!({"name": "web"});
        let refused = spec(&config.to_string()).unwrap().validate().unwrap_err();
        assert!(refused.field.ends_with(field), "{refused}");
    }
}

#[test]
fn a_size_of_huge_pages_is_limited_once() {
    let twice = json!([{"page_size": "2MB", "limit": 1}, {"page_size": "2MB", "limit": 1}]);
    all_refuse([(
        "linux.resources.hugepage_limits",
        twice.clone(),
        "",
        "'2MB'",
    )]);
    all_refuse([("linux.overhead.hugepage_limits", twice, "", "twice")]);
}

#[test]
fn windows_is_refused_whatever_is_in_it() {
    for value in [
        json!({}),
        json!({"security_context": {"run_as_username": "x"}}),
        json!([1]),
    ] {
        all_refuse([("windows", value, "", "Linux")]);
    }
}

#[test]
fn what_a_client_wrote_is_shortened() {
    let long = json!("x".repeat(100_000));
    for path in [
        "linux.security_context.namespace_options.target_id",
        "linux.security_context.seccomp_profile_path",
    ] {
        all_refuse([(path, long.clone(), "", "xxx")]);
    }
    let page = json!({"page_size": long, "limit": 1});
    all_refuse([(
        "linux.resources.hugepage_limits",
        json!([page, page]),
        "",
        "twice",
    )]);
}
