//! The daemon as kubelet and crictl see it: CRI v1 on its socket, with real plugins and runtimes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_cri::v1;
use podwalk_tests::conflist::Bridge;
use podwalk_tests::cri::{Cri, inspected, pod, refused};
use podwalk_tests::daemon::Config;
use podwalk_tests::node::{self, Layout};
use podwalk_tests::scene::{self, End, Scene};
use podwalk_tests::wait;
use tonic::Code;

mod beside;
mod network_ready;
mod owing;
mod process;

/// A guard against a hang, no measure of speed.
const PATIENCE: Duration = Duration::from_secs(60);

const READY: i32 = v1::PodSandboxState::SandboxReady as i32;

fn open() -> Result<(Scene, Cri)> {
    let scene = Scene::open(&[Bridge::new("net0", "10.77.0.0/24")
        .and("fd77::/64")
        .with_ports()])?;
    let cri = Cri::at(scene.client().address())?;
    Ok((scene, cri))
}

#[test]
fn kubelet_s_walk_over_one_pod() -> Result<()> {
    node::run(Layout::V1, || {
        let (scene, cri) = open()?;
        let version = v1::VersionRequest {
            version: "0.1.0".to_owned(),
        };
        let version = cri.ask(async move |mut cri| cri.version(version).await)?;
        ensure!(version.version == "0.1.0", "{version:?}");
        let status = cri.ask(async |mut cri| cri.status(v1::StatusRequest::default()).await)?;
        let conditions = status.status.context("status")?.conditions;
        ensure!(conditions.iter().all(|one| one.status), "{conditions:?}");
        let id = cri.run(pod("web", 0), "")?;
        ensure!(cri.run(pod("web", 0), "")? == id, "a retry joins");
        let verbose = cri.verbose_status(&id)?;
        let told = scene::agrees_with_outside(&inspected(&verbose)?)?;
        let seen = verbose.status.context("status")?;
        let network = seen.network.context("network")?;
        let more = network.additional_ips.iter().map(|one| one.ip.as_str());
        let ips: Vec<_> = [network.ip.as_str()].into_iter().chain(more).collect();
        let real: Vec<_> = told
            .addresses
            .iter()
            .map(|(ip, _)| ip.to_string())
            .collect();
        ensure!(ips == real, "{ips:?} is not {real:?}");
        ensure!(seen.state == READY && seen.runtime_handler.is_empty());
        let options = seen.linux.and_then(|linux| linux.namespaces?.options);
        let asked = v1::NamespaceMode::Container as i32;
        ensure!(options.context("options")?.pid == asked);
        let stats = v1::PodSandboxStatsRequest {
            pod_sandbox_id: id.clone(),
        };
        let stats = cri.ask(async move |mut cri| cri.pod_sandbox_stats(stats).await)?;
        let linux = stats.stats.and_then(|stats| stats.linux).context("stats")?;
        let eth0 = linux.network.and_then(|network| network.default_interface);
        ensure!(eth0.context("eth0")?.name == "eth0");
        let memory = linux.memory.and_then(|memory| memory.usage_bytes);
        ensure!(memory.context("memory")?.value > 0);
        cri.stop(&id)?;
        scene::is_stopped(&told)?;
        ensure!(cri.status(&id)?.state != READY);
        cri.stop(&id)?;
        cri.remove(&id)?;
        cri.remove(&id)?;
        let gone = cri.status(&id);
        refused(gone, Code::NotFound, &[&id])?;
        scene.close()
    })
}

#[test]
fn the_status_is_the_same_after_sigkill() -> Result<()> {
    node::run(Layout::V1, || {
        let (scene, cri) = open()?;
        let id = cri.run(pod("web", 0), "runc")?;
        let before = cri.status(&id)?;
        metadata_is(&cri, &id, 0)?;
        let scene = scene.restart(End::Kill)?;
        let after = cri.status(&id)?;
        ensure!(before == after, "{before:?} became {after:?}");
        metadata_is(&cri, &id, 0)?;
        ensure!(
            cri.run(pod("web", 0), "runc")? == id,
            "a retry joins after a restart too"
        );
        cri.stop(&id)?;
        // Kubelet asks for the next attempt once it sees one that is not ready.
        let next = cri.run(pod("web", 1), "runc")?;
        ensure!(next != id);
        ensure!(cri.status(&next)?.created_at >= before.created_at);
        metadata_is(&cri, &id, 0)?;
        metadata_is(&cri, &next, 1)?;
        for id in [id, next] {
            cri.stop(&id)?;
            cri.remove(&id)?;
        }
        scene.close()
    })
}

/// Expects that status and list tell the metadata of the pod `web` as they were asked for.
fn metadata_is(cri: &Cri, id: &str, attempt: u32) -> Result<()> {
    let asked = v1::PodSandboxMetadata {
        name: "web".to_owned(),
        uid: "uid-of-web".to_owned(),
        namespace: "tests".to_owned(),
        attempt,
    };
    let told = cri.status(id)?.metadata;
    ensure!(told.as_ref() == Some(&asked), "status: {told:?}");
    let filter = v1::PodSandboxFilter {
        id: id.to_owned(),
        ..Default::default()
    };
    let listed = cri.list(filter)?;
    let told: Vec<_> = listed.iter().map(|one| one.metadata.as_ref()).collect();
    ensure!(told == [Some(&asked)], "list: {told:?}");
    Ok(())
}

#[test]
fn scenario_37_what_cannot_be_is_refused_and_unknown_ids_are_gone_already() -> Result<()> {
    node::run(Layout::V2, || {
        let (scene, cri) = open()?;
        let handler = cri.run(pod("web", 0), "kta");
        let message = refused_by_name(handler, "kta")?;
        ensure!(
            message.contains("crun") && message.contains("runc"),
            "{message}"
        );
        refused(cri.stop(""), Code::InvalidArgument, &["id"])?;
        refused(cri.remove(""), Code::InvalidArgument, &["id"])?;
        refused(cri.status(""), Code::InvalidArgument, &["id"])?;
        // What nobody has is stopped and removed already.
        cri.stop("0123456789abcdef")?;
        cri.remove("0123456789abcdef")?;
        refused(
            cri.status("0123456789abcdef"),
            Code::NotFound,
            &["0123456789abcdef"],
        )?;
        let mut nameless = pod("web", 0);
        nameless.metadata = None;
        refused(cri.run(nameless, ""), Code::InvalidArgument, &["metadata"])?;
        let mut windows = pod("web", 0);
        windows.windows = Some(v1::WindowsPodSandboxConfig::default());
        refused(cri.run(windows, ""), Code::InvalidArgument, &["windows"])?;
        let id = cri.run(pod("web", 0), "")?;
        let mut another = pod("web", 1);
        another.hostname = "elsewhere".to_owned();
        refused(cri.run(another, ""), Code::AlreadyExists, &[&id])?;
        cri.stop(&id)?;
        cri.remove(&id)?;
        scene.close()
    })
}

/// A host name where the host has one, and the host's namespaces for another kernel's processes.
#[test]
fn what_its_network_or_handler_cannot_grant_is_refused_by_field() -> Result<()> {
    node::run(Layout::V2, || {
        let (scene, cri) = open()?;
        let with = |options: v1::NamespaceOption| {
            let mut config = pod("web", 0);
            let linux = config.linux.get_or_insert_default();
            let context = linux.security_context.get_or_insert_default();
            context.namespace_options = Some(options);
            config
        };
        let node = || v1::NamespaceMode::Node.into();
        let mut hosts = with(v1::NamespaceOption {
            network: node(),
            ..Default::default()
        });
        hosts.port_mappings.clear();
        hosts.hostname = "web".to_owned();
        refused(
            cri.run(hosts.clone(), ""),
            Code::InvalidArgument,
            &["hostname", "leave it out"],
        )?;
        for (options, field) in [
            (
                v1::NamespaceOption {
                    pid: node(),
                    ..Default::default()
                },
                "namespace_options.pid",
            ),
            (
                v1::NamespaceOption {
                    ipc: node(),
                    ..Default::default()
                },
                "namespace_options.ipc",
            ),
        ] {
            refused(
                cri.run(with(options), "runsc"),
                Code::InvalidArgument,
                &[field, "'runsc'"],
            )?;
        }
        ensure!(scene.client().list(true)?.is_empty(), "refused, and there");
        hosts.hostname.clear();
        let led_to = |container_port| v1::PortMapping {
            container_port,
            host_port: 9100,
            ..Default::default()
        };
        hosts.port_mappings = vec![led_to(80)];
        refused(
            cri.run(hosts.clone(), ""),
            Code::InvalidArgument,
            &["port_mappings"],
        )?;
        // What kubelet sends of every host-network pod that lists a port: there it is already.
        hosts.port_mappings = vec![led_to(9100)];
        let id = cri.run(hosts, "")?;
        cri.stop(&id)?;
        cri.remove(&id)?;
        scene.close()
    })
}

/// With either of the codes that clients understand for it.
fn refused_by_name(answer: Result<String, tonic::Status>, name: &str) -> Result<String> {
    let status = answer.err().context("granted")?;
    let fits = [
        Code::InvalidArgument,
        Code::NotFound,
        Code::FailedPrecondition,
    ];
    ensure!(fits.contains(&status.code()), "{status:?}");
    ensure!(status.message().contains(name), "{status:?}");
    Ok(status.message().to_owned())
}

#[test]
fn events_carry_the_status_and_come_after_their_record() -> Result<()> {
    node::run(Layout::V2, || {
        let (scene, cri) = open()?;
        let request = v1::GetEventsRequest::default();
        let mut events = cri.ask(async move |mut cri| cri.get_container_events(request).await)?;
        let id = cri.run(pod("web", 0), "")?;
        cri.stop(&id)?;
        cri.remove(&id)?;
        let mut heard = Vec::new();
        let listen = async {
            while let Some(event) = events.message().await? {
                let status = event.pod_sandbox_status.clone().context("no status")?;
                let metadata = status.metadata.context("no metadata")?;
                ensure!(
                    metadata.name == "web" && event.container_id == id,
                    "{event:?}"
                );
                heard.push(event.container_event_type());
                if heard.last() == Some(&v1::ContainerEventType::ContainerDeletedEvent) {
                    break;
                }
            }
            Ok(())
        };
        cri.tasks()
            .block_on(async { tokio::time::timeout(PATIENCE, listen).await })??;
        use v1::ContainerEventType as Type;
        let in_order = [
            Type::ContainerCreatedEvent,
            Type::ContainerStartedEvent,
            Type::ContainerStoppedEvent,
            Type::ContainerDeletedEvent,
        ];
        ensure!(heard == in_order, "{heard:?}");
        scene.close()
    })
}

#[test]
fn a_network_that_is_not_ready_is_told_with_its_reason() -> Result<()> {
    node::run(Layout::V2, || {
        let config = Config::default();
        let scene = Scene::open_with(&config, &[])?;
        let cri = Cri::at(scene.client().address())?;
        let condition = || network_ready::condition(&cri, "NetworkReady");
        let told = condition()?;
        ensure!(
            !told.status && told.reason == "NetworkPluginNotReady",
            "{told:?}"
        );
        ensure!(told.message.contains("/etc/cni/net.d"), "{told:?}");
        Bridge::new("net0", "10.77.0.0/24").write(&config.cni_conf_dir, 10)?;
        let ready = wait::until(PATIENCE, || Ok(condition()?.status.then_some(())))?;
        ensure!(ready.is_some(), "{:?}", condition()?);
        scene.close()
    })
}
