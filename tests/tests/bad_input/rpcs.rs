//! CRI's messages, bent and broken: an error with a code, nothing left, and the daemon lives.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_cri::v1;
use podwalk_tests::conflist::Bridge;
use podwalk_tests::cri::{Cri, is_of_transport, pod, refused};
use podwalk_tests::dice::{Dice, seed_or_new};
use podwalk_tests::node::{self, Layout};
use podwalk_tests::scene::Scene;
use prost::Message;
use tonic::{Code, Status};

use self::bytes::{EVENTS, call};

mod bytes;

/// How many bent messages each method gets.
const BENT: u64 = 24;

const RUNTIME: [&str; 31] = [
    "Version",
    "RunPodSandbox",
    "StopPodSandbox",
    "RemovePodSandbox",
    "PodSandboxStatus",
    "ListPodSandbox",
    "CreateContainer",
    "StartContainer",
    "StopContainer",
    "RemoveContainer",
    "ListContainers",
    "ContainerStatus",
    "UpdateContainerResources",
    "ReopenContainerLog",
    "ExecSync",
    "Exec",
    "Attach",
    "PortForward",
    "ContainerStats",
    "ListContainerStats",
    "PodSandboxStats",
    "ListPodSandboxStats",
    "UpdateRuntimeConfig",
    "Status",
    "CheckpointContainer",
    "GetContainerEvents",
    "ListMetricDescriptors",
    "ListPodSandboxMetrics",
    "RuntimeConfig",
    "NoSuchMethod",
    "runpodsandbox",
];

const IMAGES: [&str; 5] = [
    "ListImages",
    "ImageStatus",
    "PullImage",
    "RemoveImage",
    "ImageFsInfo",
];

fn open() -> Result<(Scene, Cri)> {
    let scene = Scene::open(&[Bridge::new("net0", "10.79.0.0/24")])?;
    let cri = Cri::at(scene.client().address())?;
    Ok((scene, cri))
}

/// Everything that a client sees is stopped and removed, and then nothing may be left.
fn close(scene: Scene, cri: &Cri) -> Result<()> {
    for sandbox in cri.list(v1::PodSandboxFilter::default())? {
        cri.stop(&sandbox.id)?;
        cri.remove(&sandbox.id)?;
    }
    scene.close()
}

#[test]
fn pods_that_cannot_be_are_refused_by_field() -> Result<()> {
    node::run(Layout::V2, || {
        let (scene, cri) = open()?;
        for (bend, field) in BAD {
            let mut config = pod("web", 0);
            bend(&mut config);
            let refusal = refused(cri.run(config, ""), Code::InvalidArgument, &[field]);
            refusal.with_context(|| format!("for {field}"))?;
        }
        ensure!(cri.list(v1::PodSandboxFilter::default())?.is_empty());
        scene.close()
    })
}

type Bend = fn(&mut v1::PodSandboxConfig);

const BAD: [(Bend, &str); 22] = [
    (|config| config.metadata = None, "metadata"),
    (|config| metadata(config).name.clear(), "metadata.name"),
    (
        |config| metadata(config).namespace.clear(),
        "metadata.namespace",
    ),
    (
        |config| metadata(config).name = "a\0b".to_owned(),
        "metadata.name",
    ),
    (
        |config| metadata(config).name = "a\nb".to_owned(),
        "metadata.name",
    ),
    (
        |config| metadata(config).uid = "../up".to_owned(),
        "metadata.uid",
    ),
    (|config| config.hostname = "a b".to_owned(), "hostname"),
    (
        |config| config.log_directory = "relative".to_owned(),
        "log_directory",
    ),
    (
        |config| config.log_directory = "/a/../b".to_owned(),
        "log_directory",
    ),
    (
        |config| linux(config).cgroup_parent = "/a/../b".to_owned(),
        "cgroup_parent",
    ),
    (|config| config.labels.extend(many()), "labels"),
    (
        |config| _ = config.annotations.insert("k".to_owned(), "\0".to_owned()),
        "annotations",
    ),
    (
        |config| config.dns_config = Some(dns("not-an-address")),
        "dns_config.servers",
    ),
    (
        |config| config.port_mappings = vec![port(70_000)],
        "port_mappings",
    ),
    (
        |config| config.port_mappings = vec![port(80), port(80)],
        "port_mappings",
    ),
    (
        |config| {
            _ = linux(config)
                .sysctls
                .insert("a b".to_owned(), "1".to_owned())
        },
        "sysctls",
    ),
    (
        |config| {
            _ = linux(config)
                .sysctls
                .insert("kernel.panic".to_owned(), "1".to_owned())
        },
        "kernel.panic",
    ),
    (|config| options(config).network = 77, "network"),
    (
        |config| options(config).network = v1::NamespaceMode::Container.into(),
        "network",
    ),
    (
        |config| options(config).userns_options = Some(users(&[(0, 0, 0)])),
        "userns_options",
    ),
    (
        |config| options(config).userns_options = Some(users(&[(0, 1000, 10), (5, 9000, 10)])),
        "userns_options",
    ),
    (
        |config| options(config).userns_options = Some(users(&[])),
        "userns_options",
    ),
];

fn metadata(config: &mut v1::PodSandboxConfig) -> &mut v1::PodSandboxMetadata {
    config.metadata.get_or_insert_default()
}

fn linux(config: &mut v1::PodSandboxConfig) -> &mut v1::LinuxPodSandboxConfig {
    config.linux.get_or_insert_default()
}

fn options(config: &mut v1::PodSandboxConfig) -> &mut v1::NamespaceOption {
    let context = linux(config).security_context.get_or_insert_default();
    context.namespace_options.get_or_insert_default()
}

/// More than any journal takes in one record.
fn many() -> impl Iterator<Item = (String, String)> {
    (0..10_000).map(|number| (format!("label-{number}"), "x".repeat(30)))
}

fn dns(server: &str) -> v1::DnsConfig {
    v1::DnsConfig {
        servers: vec![server.to_owned()],
        ..Default::default()
    }
}

fn port(number: i32) -> v1::PortMapping {
    v1::PortMapping {
        container_port: number,
        host_port: number,
        ..Default::default()
    }
}

fn users(runs: &[(u32, u32, u32)]) -> v1::UserNamespace {
    let run = |&(container_id, host_id, length): &(u32, u32, u32)| v1::IdMapping {
        container_id,
        host_id,
        length,
    };
    let runs: Vec<_> = runs.iter().map(run).collect();
    v1::UserNamespace {
        mode: v1::NamespaceMode::Pod.into(),
        uids: runs.clone(),
        gids: runs,
    }
}

/// The limit of a message is kubelet's own; below it a pod is too large for the journal.
#[test]
fn a_message_of_more_than_16_mib_is_refused_unread_and_a_smaller_one_by_field() -> Result<()> {
    node::run(Layout::V2, || {
        let (scene, cri) = open()?;
        let large = |bytes: usize| {
            let mut config = pod("large", 0);
            config.annotations.insert("k".to_owned(), "x".repeat(bytes));
            config
        };
        let limit = 16 << 20;
        refused(cri.run(large(limit), ""), Code::OutOfRange, &["16777216"])?;
        let below = cri.run(large(limit - 1024), "");
        refused(below, Code::InvalidArgument, &["annotations"])?;
        ensure!(cri.list(v1::PodSandboxFilter::default())?.is_empty());
        close(scene, &cri)
    })
}

#[test]
fn a_prefix_that_means_two_pods_is_refused_and_touches_neither() -> Result<()> {
    node::run(Layout::V2, || {
        let (scene, cri) = open()?;
        let one = cri.run(pod("one", 0), "")?;
        let mut two = pod("two", 0);
        options(&mut two).network = v1::NamespaceMode::Node.into();
        let two = cri.run(two, "")?;
        // Every id begins with the empty prefix; that one is no id at all.
        refused(cri.stop(""), Code::InvalidArgument, &["id"])?;
        let shared = one.chars().zip(two.chars()).take_while(|(a, b)| a == b);
        let shared: String = shared.map(|(a, _)| a).collect();
        if !shared.is_empty() {
            refused(cri.stop(&shared), Code::InvalidArgument, &[&one, &two])?;
        }
        // Longer than any id: nobody's.
        cri.stop(&format!("{one}0"))?;
        for id in [&one, &two] {
            ensure!(cri.status(id)?.state() == v1::PodSandboxState::SandboxReady);
        }
        close(scene, &cri)
    })
}

#[test]
fn ranges_of_addresses_that_are_none_are_refused_by_field() -> Result<()> {
    node::run(Layout::V2, || {
        let (scene, cri) = open()?;
        let update = |cidr: &str| {
            let request = range(cidr);
            cri.ask(async move |mut cri| cri.update_runtime_config(request).await)
        };
        for cidr in no_ranges() {
            refused(update(&cidr), Code::InvalidArgument, &["pod_cidr"])
                .with_context(|| format!("for {cidr:?}"))?;
        }
        // Kubelet's before it knows one.
        update("")?;
        close(scene, &cri)
    })
}

/// A client that never sees the end of it, and may say anything in its request.
#[test]
fn a_stream_of_events_is_granted_or_refused_at_once() -> Result<()> {
    node::run(Layout::V2, || {
        let (scene, cri) = open()?;
        let granted = call(&cri, EVENTS, Vec::new())?;
        ensure!(granted.is_empty(), "nothing has happened: {granted:?}");
        // A field that is cut off.
        let cut = call(&cri, EVENTS, vec![0x0a, 0x7f]);
        refused(cut, Code::Internal, &[])?;
        close(scene, &cri)
    })
}

#[test]
fn bent_messages_of_every_method_get_a_code_and_leave_nothing() -> Result<()> {
    node::run_within(Layout::V2, Duration::from_secs(600), || {
        let (scene, cri) = open()?;
        let seed = seed_or_new()?;
        println!("rpcs: seed {seed}");
        let mut dice = Dice::new(seed, 0);
        let id = cri.run(pod("bystander", 0), "")?;
        let samples = samples(&id);
        let services = [
            ("RuntimeService", &RUNTIME[..]),
            ("ImageService", &IMAGES[..]),
        ];
        let methods = services.into_iter().flat_map(|(service, methods)| {
            methods
                .iter()
                .map(move |method| format!("/runtime.v1.{service}/{method}"))
        });
        for method in methods {
            for _ in 0..BENT {
                let message = bent(&samples, &mut dice);
                let answer = call(&cri, &method, message.clone());
                let refusal = answer.err().map_or(Ok(()), is_an_answer);
                refusal.with_context(|| format!("seed {seed}: {method}, {message:?}"))?;
            }
        }
        let version = cri.ask(async |mut cri| cri.version(v1::VersionRequest::default()).await)?;
        ensure!(version.runtime_name == "podwalk", "{version:?}");
        close(scene, &cri).with_context(|| format!("seed {seed}"))
    })
}

/// Expects that the daemon has refused: it was not silent, and has not let the connection go, as it
/// does when a handler panics.
fn is_an_answer(status: Status) -> Result<()> {
    let is_told = status.code() != Code::DeadlineExceeded && !is_of_transport(&status);
    ensure!(is_told, "no answer: {status:?}");
    Ok(())
}

/// Messages that mean something.
fn samples(id: &str) -> Vec<Vec<u8>> {
    let mut config = pod("bent", 0);
    config.port_mappings = vec![port(8080)];
    config.dns_config = Some(dns("10.0.0.1"));
    options(&mut config).userns_options = Some(users(&[(0, 100_000, 65_536)]));
    let run = v1::RunPodSandboxRequest {
        config: Some(config),
        runtime_handler: "crun".to_owned(),
    };
    let status = v1::PodSandboxStatusRequest {
        pod_sandbox_id: id.to_owned(),
        verbose: true,
    };
    let list = v1::ListPodSandboxRequest {
        filter: Some(v1::PodSandboxFilter {
            id: id[..8].to_owned(),
            state: Some(v1::PodSandboxStateValue::default()),
            label_selector: [("k".to_owned(), "v".to_owned())].into(),
        }),
    };
    let mut samples = vec![
        Vec::new(),
        run.encode_to_vec(),
        status.encode_to_vec(),
        list.encode_to_vec(),
        range("").encode_to_vec(),
    ];
    samples.extend(no_ranges().map(|cidr| range(&cidr).encode_to_vec()));
    samples
}

/// Kubelet's word of the range of pod addresses.
fn range(cidr: &str) -> v1::UpdateRuntimeConfigRequest {
    v1::UpdateRuntimeConfigRequest {
        runtime_config: Some(v1::RuntimeConfig {
            network_config: Some(v1::NetworkConfig {
                pod_cidr: cidr.to_owned(),
            }),
        }),
    }
}

/// Texts that are no ranges of addresses.
fn no_ranges() -> [String; 5] {
    [
        "\0".to_owned(),
        "10.1.0.0/24\0".to_owned(),
        "10.1.0.0/24\n".to_owned(),
        "10.1.0.0/24,".to_owned(),
        "1".repeat(10_000),
    ]
}

/// One of them with some bytes changed, taken away or doubled; or nothing but noise.
fn bent(samples: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let noise = |dice: &mut Dice| u8::try_from(dice.below(256)).unwrap_or_default();
    if dice.percent(10) {
        return (0..dice.below(64)).map(|_| noise(dice)).collect();
    }
    let mut message = samples[dice.index(samples.len())].clone();
    for _ in 0..dice.below(4) {
        if message.is_empty() {
            break;
        }
        let at = dice.index(message.len());
        match dice.below(4) {
            0 => message[at] = noise(dice),
            1 => message.truncate(at),
            2 => _ = message.remove(at),
            _ => {
                let again = message[at..].to_vec();
                message.extend(again);
            }
        }
    }
    message
}
