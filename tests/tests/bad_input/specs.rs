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

/// Arguments of `run`, the exit code, and what must be said.
type Flags = (&'static [&'static str], i32, &'static [&'static str]);

const NAMES_AND_MODES: [Flags; 9] = [
    (&["--name", ""], 2, &["needs a name", "--name"]),
    (
        &["--name", "../x"],
        1,
        &["metadata.name", "'../x'", "letters"],
    ),
    (&["--name", "a/b"], 1, &["metadata.name", "'a/b'"]),
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
    (&[], 2, &["needs a name", "FILE"]),
];

const PORTS_AND_SYSCTLS: [Flags; 11] = [
    (&["--port", "0:80"], 2, &["--port '0:80'", "1 to 65535"]),
    (&["--port", "80:0"], 2, &["--port '80:0'", "1 to 65535"]),
    (
        &["--port", "80:65536"],
        2,
        &["--port '80:65536'", "1 to 65535"],
    ),
    (&["--port", "80"], 2, &["--port '80'", "HOST:POD"]),
    (&["--port", "80:80/icmp"], 2, &["unknown protocol", "sctp"]),
    (
        &["--port", "1.2.3:80:80"],
        1,
        &["port_mappings", "'1.2.3'", "address"],
    ),
    (
        &["--sysctl", "kernel.panic=1"],
        1,
        &["Create", "kernel.panic", "sysctl"],
    ),
    (
        &["--sysctl", "net.core.somaxconn=9"],
        1,
        &["Create", "net.core.somaxconn", "sysctls.allowed_unsafe"],
    ),
    (
        &["--sysctl", "net..x=1"],
        1,
        &["sysctls", "'net..x'", "for example"],
    ),
    (&["--sysctl", "nothing"], 2, &["--sysctl", "KEY=VALUE"]),
    (
        &["--annotation", "nothing"],
        2,
        &["--annotation", "KEY=VALUE"],
    ),
];

const CONTRADICTIONS: [Flags; 4] = [
    (
        &["--port", "8080:80", "--port", "127.0.0.1:8080:81"],
        1,
        &["port_mappings", "8080/tcp", "twice", "once per protocol"],
    ),
    (
        &["--port", "8080:80", "--network", "host"],
        1,
        &["port_mappings", "network mode host", "cni"],
    ),
    (
        &["--port", "8080:80", "--network", "none"],
        1,
        &["port_mappings", "network mode none"],
    ),
    (
        &["--sysctl", "net.ipv4.tcp_syncookies=1", "--network", "host"],
        1,
        &["sysctls", "net.ipv4.tcp_syncookies", "network mode host"],
    ),
];

fn are_refused(client: &Client, before: &[&str], table: &[Flags]) -> Result<()> {
    for (arguments, code, words) in table {
        let answer = client.call([before, arguments].concat())?;
        refused(&answer, *code, words).with_context(|| arguments.join(" "))?;
    }
    Ok(())
}

#[test]
fn flags_that_cannot_be_granted() -> Result<()> {
    node::run(Layout::V2, || {
        each(|client| {
            are_refused(client, &["run"], &NAMES_AND_MODES)?;
            are_refused(client, &["run", "--name", "web"], &PORTS_AND_SYSCTLS)?;
            let long = "n".repeat(300);
            let answer = client.call(["run", "--name", &long])?;
            refused(&answer, 1, &["metadata.name", "300 bytes", "at most 253"])
        })
    })
}

#[test]
fn flags_that_contradict_each_other() -> Result<()> {
    node::run(Layout::V2, || {
        each(|client| are_refused(client, &["run", "--name", "web"], &CONTRADICTIONS))
    })
}

/// Runs a pod from a file for each row, which must be refused in the words.
fn files_are_refused(client: &Client, table: &[(Value, &[&str])]) -> Result<()> {
    for (config, words) in table {
        let shown: String = config.to_string().chars().take(120).collect();
        let code = if config["metadata"]["name"] == "" {
            2
        } else {
            1
        };
        refused(&run_file(client, config)?, code, words).context(shown)?;
    }
    Ok(())
}

#[test]
fn files_with_texts_that_cannot_be_granted() -> Result<()> {
    node::run(Layout::V2, || {
        each(|client| {
            let annotated = |text: &str| web_with("annotations", json!({"key": text}));
            let mega = "a".repeat(1 << 20);
            let uid = json!({"metadata": {"name": "web", "uid": "../../etc"}});
            let namespace = json!({"metadata": {"name": "web", "namespace": ".."}});
            let logs = web_with("log_directory", json!("/var/log/../../etc"));
            let dns = web_with("dns_config", json!({"servers": ["dns.local"]}));
            files_are_refused(
                client,
                &[
                    (named(""), &["needs a name"]),
                    (uid, &["metadata.uid", "'../../etc'"]),
                    (namespace, &["metadata.namespace", "'..'"]),
                    (named("we\0b"), &["metadata.name", "NUL"]),
                    (annotated("a\0b"), &["annotations", "NUL", "leave it out"]),
                    (web_with("labels", json!({"k\0": "v"})), &["labels", "NUL"]),
                    (annotated(&mega), &["annotations", "262144", "smaller"]),
                    (
                        annotated(&mega.repeat(5)),
                        &["request", "larger than", "smaller"],
                    ),
                    (
                        web_with("port_mapings", json!([])),
                        &["pod.json", "port_mapings"],
                    ),
                    (
                        web_with("hostname", json!("a b")),
                        &["hostname", "'a b'", "64 letters"],
                    ),
                    (logs, &["log_directory", "'..'"]),
                    (dns, &["dns_config.servers", "'dns.local'"]),
                ],
            )
        })
    })
}

#[test]
fn files_with_ports_and_modes_that_cannot_be_granted() -> Result<()> {
    node::run(Layout::V2, || {
        each(|client| {
            let port = |host: i64, pod: i64| {
                let mapping = json!([{"host_port": host, "container_port": pod}]);
                web_with("port_mappings", mapping)
            };
            let security = |key: &str, value: Value| {
                web_with("linux", json!({"security_context": {key: value}}))
            };
            let network = |mode: &str| security("namespace_options", json!({"network": mode}));
            let seccomp = security("seccomp_profile_path", json!("localhost//nonexistent.json"));
            let cgroup = web_with("linux", json!({"cgroup_parent": "/a/../b"}));
            files_are_refused(
                client,
                &[
                    (port(8080, 0), &["port_mappings", "port 0"]),
                    (port(70000, 80), &["port_mappings", "70000", "65535"]),
                    (port(-1, 80), &["port_mappings", "-1"]),
                    (cgroup, &["cgroup_parent", "'..'"]),
                    (
                        network("CONTAINER"),
                        &["namespace_options.network", "POD or NODE"],
                    ),
                    (network("BRIDGE"), &["BRIDGE", "POD, CONTAINER or NODE"]),
                    (seccomp, &["Create", "/nonexistent.json"]),
                ],
            )
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
