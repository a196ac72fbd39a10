//! By which service a shim is asked, and what it is told of the pod.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};
use k8s_cri::v1;
use podwalk_testkit::scripted_shim::{Installed, Script};
use podwalk_tests::conflist::Bridge;
use podwalk_tests::daemon::Config;
use podwalk_tests::handlers::scripted;
use podwalk_tests::node::{self, Layout};
use podwalk_tests::scene::{self, End, Scene};
use prost::Message;
use serde_json::Value;

use crate::suite::{becomes, says};

fn podnet() -> Bridge {
    Bridge::new("podnet", "10.88.0.0/24")
}

/// What a shim serves beside tasks.
#[derive(Clone, Copy)]
enum Serves {
    Tasks,
    Sandboxes,
    /// As containerd's shim for runc: a service that makes nothing.
    Pauses,
}

impl Serves {
    fn script(self) -> Script {
        Script {
            sandbox_api: matches!(self, Self::Sandboxes),
            pause_service: matches!(self, Self::Pauses),
            ..Script::new()
        }
    }
}

/// Which service is asked for, what is served, and by which calls the sandbox is asked for.
const SERVICES: [(&str, &str, Serves, &[&str]); 5] = [
    ("asked", "sandbox", Serves::Sandboxes, &["CreateSandbox"]),
    ("both", "auto", Serves::Sandboxes, &["CreateSandbox"]),
    ("tasks", "auto", Serves::Tasks, &["Create"]),
    (
        "pauses",
        "auto",
        Serves::Pauses,
        &["CreateSandbox", "Create"],
    ),
    ("usual", "task", Serves::Sandboxes, &["Create"]),
];

#[test]
fn a_shim_is_asked_by_the_service_that_the_configuration_names() -> Result<()> {
    node::run(Layout::V2, || {
        let (mut shims, mut file) = (Vec::new(), String::new());
        for (name, api, serves, _) in SERVICES {
            let (shim, configuration) = scripted(name, &serves.script())?;
            file += &format!("{configuration}api = '{api}'\nvm = true\n");
            shims.push(shim);
        }
        let mut scene = Scene::open_with(&Config::with_file(file), &[podnet()])?;
        for (name, ..) in SERVICES {
            let client = scene.client();
            client.run(&["--name", name, "--runtime", name])?;
        }
        scene = scene.restart(End::Kill)?;
        let client = scene.client();
        for ((name, _, _, creates), shim) in SERVICES.iter().zip(&shims) {
            let pod = becomes(&client, name, |pod| pod["ready"] == true)?;
            scene::agrees_with_outside(&pod)?;
            client.call(["rm", "-f", name])?.done()?;
            let names = shim.names()?;
            let asked: Vec<&String> = names.iter().filter(|n| n.starts_with("Create")).collect();
            ensure!(asked == *creates, "{name}: {names:?}");
        }
        scene.close()
    })
}

#[test]
fn a_shim_that_makes_no_sandboxes_by_the_service_that_is_named_says_so() -> Result<()> {
    node::run(Layout::V2, || {
        let (_, configuration) = scripted("pauses", &Serves::Pauses.script())?;
        let file = configuration + "api = 'sandbox'\nvm = true\n";
        let scene = Scene::open_with(&Config::with_file(file), &[podnet()])?;
        let answer = scene
            .client()
            .call(["run", "--name", "web", "--runtime", "pauses"])?;
        ensure!(answer.code == 1, "{answer:?}");
        says(
            &answer.stderr,
            &[
                "StartSandbox starts nothing",
                "set the handler's api to \"task\"",
            ],
        )?;
        ensure!(scene.client().list(true)?.is_empty(), "it is there");
        scene.close()
    })
}

/// A pod's own and ours: in the bundle, and by the sandbox service in what it reads in its place.
#[test]
fn only_annotations_that_may_pass_reach_the_runtime() -> Result<()> {
    node::run(Layout::V2, || {
        let (machines, by_task) = scripted("machines", &Serves::Tasks.script())?;
        let (sandboxes, by_sandbox) = scripted("sandboxes", &Serves::Sandboxes.script())?;
        let keys = "vm = true\nannotations = ['io.katacontainers.*']\n";
        let file = format!(
            "{by_task}{keys}{by_sandbox}{keys}api = 'sandbox'\nconfig_path = '/etc/kata.toml'\n"
        );
        let scene = Scene::open_with(&Config::with_file(file), &[podnet()])?;
        let client = scene.client();
        let passed = ("io.katacontainers.config.hypervisor.default_vcpus", "2");
        for handler in ["machines", "sandboxes", "crun"] {
            let run = [
                "--name",
                handler,
                "--runtime",
                handler,
                "--annotation",
                &format!("{}={}", passed.0, passed.1),
                "--annotation",
                "io.katacontainers.config_path=/mine.toml",
                "--annotation",
                "run.oci.handler=krun",
            ];
            let id = client.run(&run)?;
            let told = in_bundle(&id)?;
            let has = |key: &str| told.get(key).map(String::as_str);
            ensure!(has("run.oci.handler").is_none(), "{told:?}");
            ensure!(has("io.kubernetes.cri.sandbox-id") == Some(&id), "{told:?}");
            let passes = (handler != "crun").then_some(passed.1);
            ensure!(has(passed.0) == passes, "{handler}: {told:?}");
        }
        ensure!(by_sandbox_service(&machines).is_err(), "not by this one");
        let (pod, beside) = by_sandbox_service(&sandboxes)?;
        ensure!(pod.hostname == "sandboxes", "{pod:?}");
        let metadata = pod.metadata.context("metadata")?;
        ensure!(metadata.name == "sandboxes", "{metadata:?}");
        let told: BTreeMap<_, _> = pod.annotations.into_iter().collect();
        ensure!(told == beside, "{told:?} {beside:?}");
        ensure!(told[passed.0] == passed.1, "{told:?}");
        ensure!(
            told["io.katacontainers.config_path"] == "/etc/kata.toml",
            "ours wins: {told:?}"
        );
        ensure!(!told.contains_key("run.oci.handler"), "{told:?}");
        ensure!(
            told["io.kubernetes.cri.container-type"] == "sandbox",
            "{told:?}"
        );
        let linux = pod.linux.context("linux")?;
        ensure!(linux.cgroup_parent == "/podwalk", "{linux:?}");
        for name in ["machines", "sandboxes", "crun"] {
            client.call(["rm", "-f", name])?.done()?;
        }
        scene.close()
    })
}

/// The annotations in a pod's `config.json`.
fn in_bundle(id: &str) -> Result<BTreeMap<String, String>> {
    let text = fs::read(format!("/run/podwalk/bundles/{id}/config.json"))?;
    let config: Value = serde_json::from_slice(&text)?;
    Ok(serde_json::from_value(config["annotations"].clone())?)
}

/// What a shim was asked to create: the pod, and the annotations beside it.
fn by_sandbox_service(
    shim: &Installed,
) -> Result<(v1::PodSandboxConfig, BTreeMap<String, String>)> {
    let calls = shim.calls()?;
    let mut asked = calls
        .into_iter()
        .filter(|call| call.name == "CreateSandbox");
    let asked = asked.next().context("it was not asked so")?;
    let pod = v1::PodSandboxConfig::decode(asked.message.as_slice())?;
    Ok((pod, asked.annotations))
}
