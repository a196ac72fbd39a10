//! Specs that are malformed or contradict themselves.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use podwalk_tests::daemon::{Answer, Client};
use podwalk_tests::node::{self, Layout};
use podwalk_tests::raw;
use podwalk_tests::scene::Scene;
use serde_json::{Value, json};

use crate::{podnet, refused, says, still_serves};

/// Runs the table, expects that no case left a pod, and that the daemon still serves.
fn each(check: impl FnOnce(&Client) -> Result<()>) -> Result<()> {
    let scene = Scene::open(&[podnet().with_ports()])?;
    let client = scene.client();
    check(&client)?;
    let left = client.list(true)?;
    ensure!(left.is_empty(), "refused, and there: {left:?}");
    scene.oracle().assert_clean()?;
    still_serves(&client)?;
    scene.close()
}

fn file(text: &str) -> Result<PathBuf> {
    let path = node::disk().join("pod.json");
    fs::write(&path, text)?;
    Ok(path)
}

/// `podwalk run FILE` with this sandbox configuration.
fn run_file(client: &Client, config: &Value) -> Result<Answer> {
    let path = file(&config.to_string())?;
    client.call(["run", path.to_str().context("a path")?])
}

fn named(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

/// `named("web")` with one more key.
fn web_with(key: &str, value: Value) -> Value {
    let mut config = named("web");
    config[key] = value;
    config
}

#[test]
fn flags_that_cannot_be_granted() -> Result<()> {
    node::run(Layout::V2, || {
        each(|client| {
            let long = "n".repeat(300);
            let cases: &[(&[&str], i32, &[&str])] = &[
                (&["--name", ""], 2, &["needs a name", "--name"]),
                (
                    &["--name", &long],
                    1,
                    &["metadata.name", "300 bytes", "at most 253"],
                ),
                (
                    &["--name", "../x"],
                    1,
                    &["metadata.name", "'../x'", "letters"],
                ),
                (&["--name", "a/b"], 1, &["metadata.name", "'a/b'"]),
                (
                    &["--name", "web", "--port", "0:80"],
                    2,
                    &["--port '0:80'", "1 to 65535"],
                ),
                (
                    &["--name", "web", "--port", "80:0"],
                    2,
                    &["--port '80:0'", "1 to 65535"],
                ),
                (&["--name", "web", "--port", "80:65536"], 2, &["1 to 65535"]),
                (
                    &["--name", "web", "--port", "80:80/icmp"],
                    2,
                    &["unknown protocol", "sctp"],
                ),
                (
                    &["--name", "web", "--port", "1.2.3:80:80"],
                    1,
                    &["port_mappings", "'1.2.3'", "address"],
                ),
                (
                    &["--name", "web", "--network", "bridge"],
                    1,
                    &["'bridge'", "cni, host, none or pod:ID"],
                ),
                (
                    &["--name", "web", "--network", "pod:../x"],
                    3,
                    &["no pod '../x'"],
                ),
                (
                    &["--name", "web", "--sysctl", "kernel.panic=1"],
                    1,
                    &["kernel.panic", "sysctl"],
                ),
                (
                    &["--name", "web", "--sysctl", "net.core.somaxconn=9"],
                    1,
                    &["Create", "net.core.somaxconn", "allowed_unsafe"],
                ),
                (
                    &["--name", "web", "--sysctl", "net..x=1"],
                    1,
                    &["sysctls", "'net..x'"],
                ),
                (
                    &["--name", "web", "--sysctl", "nothing"],
                    2,
                    &["--sysctl", "KEY=VALUE"],
                ),
                (
                    &["--name", "web", "--runtime", "kta"],
                    1,
                    &[
                        "Create",
                        "no runtime handler 'kta'",
                        "crun",
                        "runtime.handlers",
                    ],
                ),
                (
                    &["--name", "web", "--runtime", "../crun"],
                    1,
                    &["runtime_handler", "'../crun'"],
                ),
                (
                    &["/nonexistent/pod.json"],
                    1,
                    &["/nonexistent/pod.json", "cannot be read"],
                ),
            ];
            for (arguments, code, words) in cases {
                let answer = client.call([&["run"], *arguments].concat())?;
                refused(&answer, *code, words).with_context(|| arguments.join(" "))?;
            }
            Ok(())
        })
    })
}

#[test]
fn flags_that_contradict_each_other() -> Result<()> {
    node::run(Layout::V2, || {
        each(|client| {
            let twice = ["--port", "8080:80", "--port", "127.0.0.1:8080:81"];
            let cases: &[(&[&str], &[&str])] = &[
                (
                    &twice,
                    &["port_mappings", "8080/tcp", "twice", "once per protocol"],
                ),
                (
                    &["--port", "8080:80", "--network", "host"],
                    &["port_mappings", "network mode host", "cni"],
                ),
                (
                    &["--port", "8080:80", "--network", "none"],
                    &["port_mappings", "network mode none"],
                ),
                (
                    &["--sysctl", "net.ipv4.tcp_syncookies=1", "--network", "host"],
                    &["sysctls", "net.ipv4.tcp_syncookies", "network mode host"],
                ),
            ];
            for (arguments, words) in cases {
                let answer = client.call([&["run", "--name", "web"], *arguments].concat())?;
                refused(&answer, 1, words).with_context(|| arguments.join(" "))?;
            }
            Ok(())
        })
    })
}

#[test]
fn files_that_cannot_be_granted() -> Result<()> {
    node::run(Layout::V2, || {
        each(|client| {
            let port = |host: i64, pod: i64| {
                web_with(
                    "port_mappings",
                    json!([{"host_port": host, "container_port": pod}]),
                )
            };
            let linux = |linux: Value| web_with("linux", linux);
            let mega = "a".repeat(1 << 20);
            let cases = [
                (named(""), 2, vec!["needs a name"]),
                (
                    json!({"metadata": {"name": "web", "uid": "../../etc"}}),
                    1,
                    vec!["metadata.uid", "'../../etc'"],
                ),
                (
                    json!({"metadata": {"name": "web", "namespace": ".."}}),
                    1,
                    vec!["metadata.namespace", "'..'"],
                ),
                (named("we\0b"), 1, vec!["metadata.name", "NUL"]),
                (
                    web_with("annotations", json!({"key": "a\0b"})),
                    1,
                    vec!["annotations", "NUL", "leave it out"],
                ),
                (
                    web_with("labels", json!({"k\0": "v"})),
                    1,
                    vec!["labels", "NUL"],
                ),
                (
                    web_with("annotations", json!({"key": mega})),
                    1,
                    vec!["annotations", "262144", "smaller"],
                ),
                (
                    web_with("annotations", json!({"key": mega.repeat(5)})),
                    1,
                    vec!["request", "larger than", "smaller"],
                ),
                (port(8080, 0), 1, vec!["port_mappings", "port 0"]),
                (port(70000, 80), 1, vec!["port_mappings", "70000", "65535"]),
                (port(-1, 80), 1, vec!["port_mappings", "-1"]),
                (
                    web_with("port_mapings", json!([])),
                    1,
                    vec!["pod.json", "port_mapings"],
                ),
                (
                    web_with("hostname", json!("a b")),
                    1,
                    vec!["hostname", "'a b'", "64 letters"],
                ),
                (
                    web_with("log_directory", json!("/var/log/../../etc")),
                    1,
                    vec!["log_directory", "'..'"],
                ),
                (
                    web_with("dns_config", json!({"servers": ["dns.local"]})),
                    1,
                    vec!["dns_config.servers", "'dns.local'"],
                ),
                (
                    linux(json!({"cgroup_parent": "/a/../b"})),
                    1,
                    vec!["cgroup_parent", "'..'"],
                ),
                (
                    linux(
                        json!({"security_context": {"namespace_options": {"network": "CONTAINER"}}}),
                    ),
                    1,
                    vec!["namespace_options.network", "POD or NODE"],
                ),
                (
                    linux(
                        json!({"security_context": {"namespace_options": {"network": "BRIDGE"}}}),
                    ),
                    1,
                    vec!["BRIDGE", "POD, CONTAINER or NODE"],
                ),
                (
                    linux(
                        json!({"security_context": {"seccomp_profile_path": "localhost//nonexistent.json"}}),
                    ),
                    1,
                    vec!["Start", "/nonexistent.json"],
                ),
            ];
            for (config, code, words) in cases {
                let shown: String = config.to_string().chars().take(120).collect();
                let answer = run_file(client, &config)?;
                refused(&answer, code, &words).context(shown)?;
            }
            Ok(())
        })
    })
}

#[test]
fn files_that_do_not_read() -> Result<()> {
    node::run(Layout::V2, || {
        each(|client| {
            let cases = [
                ("{\"metadata\": ", &["pod.json", "line 1"][..]),
                ("metadata: [", &["pod.json", "line 1"]),
                ("{}{}", &["pod.json", "line 1"]),
                ("[1, 2]", &["pod.json", "PodSandboxConfig"]),
                (
                    "{\"metadata\": {\"name\": 7}}",
                    &["pod.json", "string", "line 1"],
                ),
                (
                    "{\"metadata\": {\"name\": \"a\", \"name\": \"b\"}}",
                    &["pod.json", "duplicate", "name"],
                ),
            ];
            for (text, words) in cases {
                let path = file(text)?;
                let answer = client.call(["run", path.to_str().context("a path")?])?;
                refused(&answer, 1, words).context(text)?;
            }
            let path = node::disk().join("pod.json");
            fs::write(&path, b"\xff\xfe\0\0")?;
            let answer = client.call(["run", path.to_str().context("a path")?])?;
            refused(&answer, 1, &["pod.json", "UTF-8"])
        })
    })
}

/// What the client refuses by itself, the daemon refuses too.
#[test]
fn requests_that_no_client_of_ours_sends() -> Result<()> {
    node::run(Layout::V2, || {
        each(|client| {
            let cases = [
                (
                    json!({"config": named("")}),
                    &["metadata.name", "empty", "give it a name"][..],
                ),
                (json!({"config": {}}), &["metadata.name", "empty"]),
                (json!({}), &["missing field", "config"]),
                (
                    json!({"config": named("web"), "netwrok": "cni"}),
                    &["netwrok"],
                ),
                (
                    json!({"config": named("web"), "network": ""}),
                    &["unknown network mode ''"],
                ),
                (
                    json!({"config": named("web"), "runtimeHandler": "a b"}),
                    &["runtime_handler", "'a b'"],
                ),
                (json!("run"), &["the request is not valid"]),
            ];
            for (body, words) in cases {
                let (status, answer) =
                    raw::request(client.address(), "POST", "/v1/pods", &body.to_string())?;
                ensure!(status == 400, "{body}: {status} {answer}");
                let answer: Value = serde_json::from_str(&answer)?;
                ensure!(answer["kind"] == "invalid", "{answer}");
                says(answer["message"].as_str().unwrap_or_default(), words)?;
            }
            Ok(())
        })
    })
}

#[test]
fn ids_that_are_none() -> Result<()> {
    node::run(Layout::V2, || {
        each(|client| {
            let long = "f".repeat(5000);
            for id in [
                "../../etc/passwd",
                "nobody",
                "a/b",
                "%2e%2e",
                "*",
                "ff\u{1}",
                &long,
            ] {
                for verb in ["inspect", "stop", "rm", "journal"] {
                    let shown: String = id.chars().take(40).collect();
                    let answer = client.call([verb, id])?;
                    refused(&answer, 3, &["no pod", &shown]).with_context(|| verb.to_owned())?;
                }
                // Twice: removing what is not there is what `rm -f` is for.
                for _ in 0..2 {
                    client.call(["rm", "-f", id])?.done()?;
                }
            }
            let none = client.call(["inspect", ""])?;
            ensure!(none.code != 0, "{none:?}");
            Ok(())
        })
    })
}

#[test]
fn what_another_pod_holds() -> Result<()> {
    node::run(Layout::V2, || {
        each(|client| {
            let first = client.run(&["--name", "first", "--port", "8080:80"])?;
            let taken = client.call(["run", "--name", "second", "--port", "8080:81"])?;
            refused(&taken, 1, &["host port 8080/tcp", &first, "stop"])?;
            let other = client.call(["run", "--name", "first", "--network", "none"])?;
            refused(
                &other,
                1,
                &["default/first", &first, "another spec", "stop it first"],
            )?;
            let running = client.call(["rm", &first])?;
            refused(&running, 1, &[&first, "runs", "stop it first", "rm -f"])?;
            ensure!(client.list(true)?.len() == 1);
            client.call(["rm", "-f", &first])?.done().map(drop)
        })
    })
}
