//! What kubelet asks of the runtime itself, when it has connected and from then on.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_cri::v1;
use tonic::Status;

use crate::shared::{Call, Shared, bounded};

/// The version that kubelet asks with and expects back.
const KUBE_API_VERSION: &str = "0.1.0";

/// Status is asked for each so many relists.
const STATUS: u64 = 5;

/// How often the node was asked.
#[derive(Debug, Default)]
pub(crate) struct Connects {
    /// The daemons that have answered every call of a connect.
    pub(crate) daemons: BTreeSet<u64>,
    /// How often they said that they and the network are ready.
    pub(crate) ready: u64,
}

/// Asks each daemon who it is, and how it is each few relists.
pub(crate) async fn ask(shared: Arc<Shared>) {
    let mut relisted = shared.relisted.subscribe();
    let mut last = 0;
    loop {
        if relisted.changed().await.is_err() {
            return;
        }
        let (number, daemon) = {
            let relist = relisted.borrow();
            (relist.number, relist.daemon)
        };
        // An error is judged already, and tried again with the next list.
        let known = shared.connects().daemons.contains(&daemon);
        if !known && connect(&shared).await.is_ok() {
            shared.connects().daemons.insert(daemon);
        }
        if number >= last + STATUS && status(&shared).await.is_ok() {
            last = number;
        }
    }
}

async fn connect(shared: &Shared) -> Result<(), Status> {
    version(shared).await?;
    images(shared).await?;
    let mut client = shared.client.clone();
    let request = v1::RuntimeConfigRequest::default();
    let config = shared.call(
        Call::Plain("RuntimeConfig"),
        client.runtime_config(bounded(request)),
    );
    let config = config.await?;
    let driver = config.linux.as_ref().map(|linux| linux.cgroup_driver());
    if driver != Some(v1::CgroupDriver::Cgroupfs) {
        shared.accuse(format!("RuntimeConfig: {config:?}"));
    }
    status(shared).await?;
    let request = v1::UpdateRuntimeConfigRequest {
        runtime_config: Some(v1::RuntimeConfig {
            network_config: Some(v1::NetworkConfig {
                pod_cidr: "10.78.0.0/16".to_owned(),
            }),
        }),
    };
    let update = client.update_runtime_config(bounded(request));
    shared
        .call(Call::Plain("UpdateRuntimeConfig"), update)
        .await?;
    let request = v1::ListPodSandboxStatsRequest::default();
    let stats = client.list_pod_sandbox_stats(bounded(request));
    shared
        .call(Call::Plain("ListPodSandboxStats"), stats)
        .await?;
    Ok(())
}

async fn version(shared: &Shared) -> Result<(), Status> {
    let mut client = shared.client.clone();
    let request = v1::VersionRequest {
        version: KUBE_API_VERSION.to_owned(),
    };
    let version = shared.call(Call::Plain("Version"), client.version(bounded(request)));
    let expected = v1::VersionResponse {
        version: KUBE_API_VERSION.to_owned(),
        runtime_name: "podwalk".to_owned(),
        runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
        runtime_api_version: "v1".to_owned(),
    };
    let version = version.await?;
    if version != expected {
        shared.accuse(format!("Version: {version:?}"));
    }
    Ok(())
}

/// The probe of the image service, which has none.
async fn images(shared: &Shared) -> Result<(), Status> {
    let mut client = shared.images.clone();
    let request = v1::ImageFsInfoRequest::default();
    let info = shared.call(
        Call::Plain("ImageFsInfo"),
        client.image_fs_info(bounded(request)),
    );
    let info = info.await?;
    let is_usable = |usage: &v1::FilesystemUsage| {
        let place = usage.fs_id.as_ref().map(|id| id.mountpoint.as_str());
        usage.timestamp > 0 && place.is_some_and(|place| place.starts_with('/'))
    };
    if info.image_filesystems.is_empty() || !info.image_filesystems.iter().all(is_usable) {
        shared.accuse(format!("ImageFsInfo: {info:?}"));
    }
    let request = v1::ListImagesRequest::default();
    let list = shared.call(
        Call::Plain("ListImages"),
        client.list_images(bounded(request)),
    );
    let list = list.await?;
    if !list.images.is_empty() {
        shared.accuse(format!("ListImages: {list:?}"));
    }
    Ok(())
}

/// The runtime is ready, so is the network, and the default handler is there.
async fn status(shared: &Shared) -> Result<(), Status> {
    let mut client = shared.client.clone();
    let request = v1::StatusRequest::default();
    let answer = shared.call(Call::Plain("Status"), client.status(bounded(request)));
    let answer = answer.await?;
    let conditions = answer.status.clone().unwrap_or_default().conditions;
    let holds: Vec<_> = conditions
        .iter()
        .map(|condition| (condition.r#type.as_str(), condition.status))
        .collect();
    let mut handlers = answer.runtime_handlers.iter();
    let has_default = handlers.any(|handler| handler.name.is_empty());
    if holds == [("RuntimeReady", true), ("NetworkReady", true)] && has_default {
        shared.connects().ready += 1;
    } else {
        shared.accuse(format!("Status: {answer:?}"));
    }
    Ok(())
}
