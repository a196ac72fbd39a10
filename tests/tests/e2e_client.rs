//! What programs rely on: the keys of every JSON answer, and the order of events.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use podwalk_tests::conflist::Bridge;
use podwalk_tests::daemon::Client;
use podwalk_tests::node::{self, Layout};
use podwalk_tests::scene::Scene;
use serde_json::{Value, json};

fn podnet() -> Bridge {
    Bridge::new("podnet", "10.88.0.0/24")
        .and("fd00:88::/64")
        .with_ports()
}

/// The keys of an object with the kinds of their values.
fn shape(object: &Value) -> BTreeMap<String, &'static str> {
    let kind = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let entries = object.as_object().into_iter().flatten();
    entries
        .map(|(key, value)| (key.clone(), kind(value)))
        .collect()
}

fn has_shape(object: &Value, expected: &[(&str, &'static str)]) -> Result<()> {
    let expected: BTreeMap<String, &'static str> = expected
        .iter()
        .map(|(key, kind)| ((*key).to_owned(), *kind))
        .collect();
    let found = shape(object);
    ensure!(found == expected, "{found:#?} in place of {expected:#?}");
    Ok(())
}

const ROW: [(&str, &str); 11] = [
    ("createdAt", "number"),
    ("goal", "string"),
    ("id", "string"),
    ("ip", "string"),
    ("name", "string"),
    ("namespace", "string"),
    ("networkMode", "string"),
    ("owed", "number"),
    ("ready", "boolean"),
    ("runtimeHandler", "string"),
    ("state", "string"),
];

const DETAIL: [(&str, &str); 16] = [
    ("annotations", "object"),
    ("attempt", "number"),
    ("goal", "string"),
    ("id", "string"),
    ("labels", "object"),
    ("name", "string"),
    ("namespace", "string"),
    ("networkMode", "string"),
    ("networkSettings", "object"),
    ("owed", "array"),
    ("ready", "boolean"),
    ("runtimeHandler", "string"),
    ("sandbox", "object"),
    ("state", "string"),
    ("steps", "array"),
    ("uid", "string"),
];

const SETTINGS: [(&str, &str); 17] = [
    ("Activation", "boolean"),
    ("Bridge", "string"),
    ("CNIPorts", "array"),
    ("EndpointID", "string"),
    ("Gateway", "string"),
    ("GlobalIPv6Address", "string"),
    ("GlobalIPv6PrefixLen", "number"),
    ("IPAddress", "string"),
    ("IPPrefixLen", "number"),
    ("IPv6Gateway", "string"),
    ("LinkLocalIPv6Address", "string"),
    ("LinkLocalIPv6PrefixLen", "number"),
    ("MacAddress", "string"),
    ("Networks", "object"),
    ("Ports", "object"),
    ("SandboxID", "string"),
    ("SandboxKey", "string"),
];

const ENDPOINT: [(&str, &str); 13] = [
    ("Alias", "array"),
    ("DriverOpts", "object"),
    ("EndpointID", "string"),
    ("Gateway", "string"),
    ("GlobalIPv6Address", "string"),
    ("GlobalIPv6PrefixLen", "number"),
    ("IFName", "string"),
    ("IPAddress", "string"),
    ("IPPrefixLen", "number"),
    ("IPv6Gateway", "string"),
    ("Links", "array"),
    ("MacAddress", "string"),
    ("NetworkID", "string"),
];

#[test]
fn every_answer_has_the_documented_keys_in_every_mode() -> Result<()> {
    node::run(Layout::V2, || {
        let scene = Scene::open(&[podnet()])?;
        let client = scene.client();
        let port = ["--port", "127.0.0.1:8080:80"];
        let owner = client.run(&[&["--name", "cni"][..], &port].concat())?;
        let guest = format!("pod:{owner}");
        for (name, mode) in [("none", "none"), ("host", "host"), ("guest", &guest)] {
            client.run(&["--name", name, "--network", mode])?;
        }
        for row in client.list(true)? {
            has_shape(&row, &ROW)?;
            let detail = client.inspect(row["id"].as_str().context("id")?)?;
            has_shape(&detail, &DETAIL)?;
            has_shape(&detail["networkSettings"], &SETTINGS)?;
            let networks = detail["networkSettings"]["Networks"].as_object();
            for network in networks.context("Networks")?.values() {
                has_shape(network, &ENDPOINT)?;
            }
            let sandbox = shape(&detail["sandbox"]);
            ensure!(sandbox["pid"] == "number" && sandbox["startedAt"] == "number");
            ensure!(detail["sandbox"]["exited"] == false);
            for step in detail["steps"].as_array().context("steps")? {
                ensure!(step["status"] == "Done", "{step}");
                ensure!(step["tookMs"].is_number() && step["since"].is_number());
            }
        }
        let settings = client.inspect("cni")?["networkSettings"].clone();
        ensure!(
            settings["CNIPorts"]
                == json!([{
                    "hostPort": 8080, "containerPort": 80, "protocol": "tcp",
                    "hostIP": "127.0.0.1",
                }]),
            "{settings:#}"
        );
        ensure!(
            settings["Ports"]
                == json!({"80/tcp": {"host": [{"HostIP": "127.0.0.1", "HostPort": "8080"}]}})
        );
        for pod in ["guest", "host", "none", "cni"] {
            client.call(["rm", "-f", pod])?.done()?;
        }
        scene.close()
    })
}

/// The events after a cursor, until one is `last`.
fn events(client: &Client, since: &str, last: &str) -> Result<Vec<Value>> {
    let mut command = client.command(["events", "--since", since, "--output", "json"])?;
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("its output")?;
    let mut found = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let event: Value = serde_json::from_str(&line?)?;
        let is_last = event["event"] == last;
        found.push(event);
        if is_last {
            break;
        }
    }
    child.kill()?;
    child.wait()?;
    Ok(found)
}

#[test]
fn scenario_25_every_event_carries_the_pod_as_it_was() -> Result<()> {
    node::run(Layout::V2, || {
        let scene = Scene::open(&[podnet()])?;
        let client = scene.client();
        let id = client.run(&["--name", "web"])?;
        client.stop(&id)?;
        client.remove(&id)?;
        let all = events(&client, "1-0", "removed")?;
        let names: Vec<&str> = all
            .iter()
            .filter_map(|event| event["event"].as_str())
            .collect();
        let expected = [
            "asked",
            "created",
            "netns-mounted",
            "network-ready",
            "cni-configured",
            "started",
            "stopping",
            "removing",
            "removed",
        ];
        let mut rest = names.iter();
        for name in expected {
            ensure!(
                rest.any(|one| *one == name),
                "no {name}, or too early: {names:?}"
            );
        }
        for event in &all {
            ensure!(event["pod"]["id"] == id.as_str(), "{event:#}");
            has_shape(&event["pod"], &ROW)?;
        }
        let started = all.iter().find(|event| event["event"] == "started");
        let started = started.context("started")?;
        ensure!(started["pod"]["ready"] == true && started["pod"]["state"] == "Started");
        ensure!(
            started["pod"]["ip"]
                .as_str()
                .is_some_and(|ip| !ip.is_empty())
        );

        // From a cursor on, the same that came after it the first time.
        let cursor = started["cursor"].as_str().context("a cursor")?;
        let later = events(&client, cursor, "removed")?;
        let at = all.iter().position(|event| event["cursor"] == cursor);
        ensure!(later == all[at.context("the cursor")? + 1..]);
        scene.close()
    })
}
