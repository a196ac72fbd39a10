//! The RuntimeService. Each method is a few lines here; what pods are like is in
//! [`told`](crate::told), what they use in [`usage`], what happens to them in [`events`].

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use podwalk_engine::engine::{Engine, EngineError, PodView};
use podwalk_engine::id::PodId;
use tonic::{Code, Request, Response, Status};

use crate::config;
use crate::node::{CgroupDriver, Condition, Node};
use crate::proto::v1;
use crate::proto::v1::runtime_service_server::RuntimeService;
use crate::refusal::{of_config, of_engine, refuse, shortened};
use crate::told::{has_labels, listed, status};

mod events;
mod usage;

/// The version of the kubelet runtime API, from before CRI had versions of its own. Clients compare
/// it.
const KUBE_API_VERSION: &str = "0.1.0";

pub(crate) struct Runtime {
    pub(crate) engine: Engine,
    pub(crate) node: Arc<dyn Node>,
}

type Answer<T> = Result<Response<T>, Status>;
type EventStream = Pin<Box<dyn Stream<Item = Result<v1::ContainerEventResponse, Status>> + Send>>;

impl Runtime {
    /// The pods that clients may see, of those whose id begins so and that have these labels.
    fn selected(&self, id: &str, labels: &HashMap<String, String>) -> Vec<PodView> {
        let begins = |pod: PodId| id.is_empty() || pod.to_string().starts_with(id);
        let mut views = self.engine.list();
        views
            .retain(|view| view.pod.is_listed() && begins(view.pod.id) && has_labels(view, labels));
        views.into_iter().map(|view| self.node.seen(view)).collect()
    }

    /// The pod that an id, or the beginning of one, means; `None` if there is none.
    fn meant(&self, id: &str) -> Result<Option<PodView>, Status> {
        if id.is_empty() {
            return Err(refuse(
                Code::InvalidArgument,
                "pod_sandbox_id: it is empty (a pod's id, or the beginning of one)",
            ));
        }
        if let Some(view) = id.parse().ok().and_then(|id| self.engine.get(id)) {
            return Ok(Some(self.node.seen(view)));
        }
        let begins = |pod: PodId| pod.to_string().starts_with(id);
        let mut found = self.engine.list();
        found.retain(|view| begins(view.pod.id));
        let mut set_aside = self.engine.quarantined();
        set_aside.retain(|(pod, _)| begins(*pod));
        let ids = found.iter().map(|view| view.pod.id);
        let ids = ids.chain(set_aside.iter().map(|(pod, _)| *pod));
        let ids: Vec<_> = ids.map(|id| id.to_string()).collect();
        match (found.pop(), ids.as_slice()) {
            (_, []) => Ok(None),
            (Some(view), [_]) => Ok(Some(self.node.seen(view))),
            (None, [pod]) => {
                let message = format!(
                    "pod {pod} is in quarantine, for it does not decode: nothing of it is touched \
                     (see: podwalk quarantine show {pod})"
                );
                Err(refuse(Code::FailedPrecondition, message))
            }
            _ => {
                let message = format!("'{}' means several pods: {}", shortened(id), ids.join(", "));
                Err(refuse(Code::InvalidArgument, message))
            }
        }
    }

    fn expected(&self, id: &str) -> Result<PodView, Status> {
        let none = || {
            refuse(
                Code::NotFound,
                format!(
                    "no pod '{}' (list them to see which there are)",
                    shortened(id)
                ),
            )
        };
        self.meant(id)?.ok_or_else(none)
    }

    /// A handler that nobody knows is refused before there is a pod.
    fn check_handler(&self, name: &str) -> Result<(), Status> {
        let handlers = self.node.handlers();
        if handlers.iter().any(|handler| handler.name == name) {
            return Ok(());
        }
        let known = handlers.iter().map(|handler| handler.name.as_str());
        let known: Vec<_> = known.filter(|name| !name.is_empty()).collect();
        let message = format!(
            "there is no runtime handler '{}': configured are {} (others stand in the \
             configuration under runtime.handlers)",
            shortened(name),
            known.join(", ")
        );
        Err(refuse(Code::InvalidArgument, message))
    }

    /// The conditions of the node.
    async fn conditions(&self) -> Vec<v1::RuntimeCondition> {
        let runtime = match self.engine.admits() {
            Ok(()) => Condition {
                holds: true,
                reason: String::new(),
                message: String::new(),
            },
            Err(error) => Condition {
                holds: false,
                reason: "JournalNotReady".to_owned(),
                message: error.to_string(),
            },
        };
        let network = self.node.network().await;
        let named = [("RuntimeReady", runtime), ("NetworkReady", network)];
        let told = named
            .into_iter()
            .map(|(name, condition)| v1::RuntimeCondition {
                r#type: name.to_owned(),
                status: condition.holds,
                reason: condition.reason,
                message: condition.message,
            });
        told.collect()
    }
}

/// What is done already when there is nothing.
fn gone_is_done(end: Result<(), EngineError>) -> Result<(), Status> {
    match end {
        Ok(()) | Err(EngineError::NoSuchPod { .. }) => Ok(()),
        Err(error) => Err(of_engine(&error)),
    }
}

/// What there will be one day.
fn no_containers<T>(what: &str) -> Answer<T> {
    let message = format!("{what} is not there yet: podwalk runs pods without containers");
    Err(refuse(Code::Unimplemented, message))
}

fn no_container<T>(id: &str) -> Answer<T> {
    Err(refuse(
        Code::NotFound,
        format!("no container '{}'", shortened(id)),
    ))
}

/// The sandbox's pid is also where users of other runtimes look for it.
fn with_pid(mut inspected: serde_json::Value) -> serde_json::Value {
    if let Some(pid) = inspected.pointer("/sandbox/pid").cloned() {
        inspected["pid"] = pid;
    }
    inspected
}

fn info(verbose: bool, value: impl FnOnce() -> serde_json::Value) -> HashMap<String, String> {
    let text = verbose.then(|| ("info".to_owned(), value().to_string()));
    text.into_iter().collect()
}

#[tonic::async_trait]
impl RuntimeService for Runtime {
    type GetContainerEventsStream = EventStream;

    async fn version(&self, _: Request<v1::VersionRequest>) -> Answer<v1::VersionResponse> {
        Ok(Response::new(v1::VersionResponse {
            version: KUBE_API_VERSION.to_owned(),
            runtime_name: "podwalk".to_owned(),
            runtime_version: self.node.version(),
            runtime_api_version: "v1".to_owned(),
        }))
    }

    async fn run_pod_sandbox(
        &self,
        request: Request<v1::RunPodSandboxRequest>,
    ) -> Answer<v1::RunPodSandboxResponse> {
        let request = request.into_inner();
        let missing = || {
            refuse(
                Code::InvalidArgument,
                "config: there is none, and no metadata (name, namespace and uid of the pod)",
            )
        };
        let asked = request.config.ok_or_else(missing)?;
        if asked.metadata.is_none() {
            return Err(refuse(
                Code::InvalidArgument,
                "config.metadata: there is none (name, namespace and uid of the pod)",
            ));
        }
        self.check_handler(&request.runtime_handler)?;
        let config = config::PodSandboxConfig::try_from(asked);
        let spec = config.and_then(|config| config.into_spec(None, request.runtime_handler));
        let spec = spec.map_err(|error| of_config(&error))?;
        let id = self.node.fresh_id().map_err(|error| {
            let message = format!("the kernel gives no randomness: {error} (try again)");
            refuse(Code::Unavailable, message)
        })?;
        // The walk is the engine's: a caller that goes away changes nothing.
        let started = self.engine.start(id, spec).await;
        let started = started.map_err(|error| of_engine(&error))?;
        Ok(Response::new(v1::RunPodSandboxResponse {
            pod_sandbox_id: started.id.to_string(),
        }))
    }

    async fn stop_pod_sandbox(
        &self,
        request: Request<v1::StopPodSandboxRequest>,
    ) -> Answer<v1::StopPodSandboxResponse> {
        if let Some(view) = self.meant(&request.into_inner().pod_sandbox_id)? {
            gone_is_done(self.engine.stop(view.pod.id).await)?;
        }
        Ok(Response::new(v1::StopPodSandboxResponse {}))
    }

    async fn remove_pod_sandbox(
        &self,
        request: Request<v1::RemovePodSandboxRequest>,
    ) -> Answer<v1::RemovePodSandboxResponse> {
        if let Some(view) = self.meant(&request.into_inner().pod_sandbox_id)? {
            gone_is_done(self.engine.remove(view.pod.id).await)?;
        }
        Ok(Response::new(v1::RemovePodSandboxResponse {}))
    }

    async fn pod_sandbox_status(
        &self,
        request: Request<v1::PodSandboxStatusRequest>,
    ) -> Answer<v1::PodSandboxStatusResponse> {
        let request = request.into_inner();
        let view = self.expected(&request.pod_sandbox_id)?;
        Ok(Response::new(v1::PodSandboxStatusResponse {
            status: Some(status(&*self.node, &view)),
            info: info(request.verbose, || with_pid(self.node.inspect(&view))),
            containers_statuses: Vec::new(),
            timestamp: usage::nanoseconds(self.engine.now().wall_ns),
        }))
    }

    async fn list_pod_sandbox(
        &self,
        request: Request<v1::ListPodSandboxRequest>,
    ) -> Answer<v1::ListPodSandboxResponse> {
        let filter = request.into_inner().filter.unwrap_or_default();
        let views = self.selected(&filter.id, &filter.label_selector);
        let mut items: Vec<_> = views.iter().map(listed).collect();
        if let Some(wanted) = filter.state {
            items.retain(|item| item.state == wanted.state);
        }
        Ok(Response::new(v1::ListPodSandboxResponse { items }))
    }

    async fn pod_sandbox_stats(
        &self,
        request: Request<v1::PodSandboxStatsRequest>,
    ) -> Answer<v1::PodSandboxStatsResponse> {
        let view = self.expected(&request.into_inner().pod_sandbox_id)?;
        let stats = usage::stats(&*self.node, &view).await.map_err(|error| {
            let message = format!(
                "pod {}: what it uses cannot be read: {error} (see that the cgroups and /proc are \
                 mounted)",
                view.pod.id
            );
            refuse(Code::Internal, message)
        })?;
        Ok(Response::new(v1::PodSandboxStatsResponse {
            stats: Some(stats),
        }))
    }

    async fn list_pod_sandbox_stats(
        &self,
        request: Request<v1::ListPodSandboxStatsRequest>,
    ) -> Answer<v1::ListPodSandboxStatsResponse> {
        let filter = request.into_inner().filter.unwrap_or_default();
        let views = self.selected(&filter.id, &filter.label_selector);
        let mut stats = Vec::new();
        for view in views.iter().filter(|view| view.ready) {
            // One that ends meanwhile has none.
            stats.extend(usage::stats(&*self.node, view).await.ok());
        }
        Ok(Response::new(v1::ListPodSandboxStatsResponse { stats }))
    }

    async fn list_metric_descriptors(
        &self,
        _: Request<v1::ListMetricDescriptorsRequest>,
    ) -> Answer<v1::ListMetricDescriptorsResponse> {
        Ok(Response::new(v1::ListMetricDescriptorsResponse {
            descriptors: usage::descriptors(),
        }))
    }

    async fn list_pod_sandbox_metrics(
        &self,
        _: Request<v1::ListPodSandboxMetricsRequest>,
    ) -> Answer<v1::ListPodSandboxMetricsResponse> {
        let views = self.selected("", &HashMap::new());
        let mut pod_metrics = Vec::new();
        for view in views.iter().filter(|view| view.ready) {
            pod_metrics.extend(usage::metrics(&*self.node, view).await.ok());
        }
        Ok(Response::new(v1::ListPodSandboxMetricsResponse {
            pod_metrics,
        }))
    }

    async fn get_container_events(&self, _: Request<v1::GetEventsRequest>) -> Answer<EventStream> {
        let heard = self.engine.subscribe(None);
        let stream = events::told(heard.live, self.engine.clone(), self.node.clone());
        Ok(Response::new(Box::pin(stream)))
    }

    async fn status(&self, request: Request<v1::StatusRequest>) -> Answer<v1::StatusResponse> {
        let conditions = self.conditions().await;
        let handlers = self.node.handlers().into_iter();
        let present = handlers.filter(|handler| self.node.handler_is_present(&handler.name));
        let handlers = present.map(|handler| v1::RuntimeHandler {
            name: handler.name,
            features: Some(v1::RuntimeHandlerFeatures {
                recursive_read_only_mounts: false,
                user_namespaces: handler.user_namespaces,
            }),
        });
        let pods = || serde_json::json!({ "pods": self.engine.list().len() });
        Ok(Response::new(v1::StatusResponse {
            status: Some(v1::RuntimeStatus { conditions }),
            info: info(request.into_inner().verbose, pods),
            runtime_handlers: handlers.collect(),
            features: Some(v1::RuntimeFeatures::default()),
        }))
    }

    async fn runtime_config(
        &self,
        _: Request<v1::RuntimeConfigRequest>,
    ) -> Answer<v1::RuntimeConfigResponse> {
        let driver = match self.node.cgroup_driver() {
            CgroupDriver::Cgroupfs => v1::CgroupDriver::Cgroupfs,
            CgroupDriver::Systemd => v1::CgroupDriver::Systemd,
        };
        Ok(Response::new(v1::RuntimeConfigResponse {
            linux: Some(v1::LinuxRuntimeConfiguration {
                cgroup_driver: driver.into(),
            }),
        }))
    }

    async fn update_runtime_config(
        &self,
        request: Request<v1::UpdateRuntimeConfigRequest>,
    ) -> Answer<v1::UpdateRuntimeConfigResponse> {
        let config = request.into_inner().runtime_config.unwrap_or_default();
        if let Some(network) = config.network_config {
            let told = self.node.set_pod_cidr(&network.pod_cidr);
            told.map_err(|why| {
                let field = "runtime_config.network_config.pod_cidr";
                refuse(Code::InvalidArgument, format!("{field}: {why}"))
            })?;
        }
        Ok(Response::new(v1::UpdateRuntimeConfigResponse {}))
    }

    async fn list_containers(
        &self,
        _: Request<v1::ListContainersRequest>,
    ) -> Answer<v1::ListContainersResponse> {
        Ok(Response::new(v1::ListContainersResponse::default()))
    }

    async fn list_container_stats(
        &self,
        _: Request<v1::ListContainerStatsRequest>,
    ) -> Answer<v1::ListContainerStatsResponse> {
        Ok(Response::new(v1::ListContainerStatsResponse::default()))
    }

    /// Every id is unknown, and what is unknown is stopped already.
    async fn stop_container(
        &self,
        _: Request<v1::StopContainerRequest>,
    ) -> Answer<v1::StopContainerResponse> {
        Ok(Response::new(v1::StopContainerResponse {}))
    }

    async fn remove_container(
        &self,
        _: Request<v1::RemoveContainerRequest>,
    ) -> Answer<v1::RemoveContainerResponse> {
        Ok(Response::new(v1::RemoveContainerResponse {}))
    }

    async fn container_status(
        &self,
        request: Request<v1::ContainerStatusRequest>,
    ) -> Answer<v1::ContainerStatusResponse> {
        no_container(&request.into_inner().container_id)
    }

    async fn container_stats(
        &self,
        request: Request<v1::ContainerStatsRequest>,
    ) -> Answer<v1::ContainerStatsResponse> {
        no_container(&request.into_inner().container_id)
    }

    async fn create_container(
        &self,
        _: Request<v1::CreateContainerRequest>,
    ) -> Answer<v1::CreateContainerResponse> {
        no_containers("CreateContainer")
    }

    async fn start_container(
        &self,
        _: Request<v1::StartContainerRequest>,
    ) -> Answer<v1::StartContainerResponse> {
        no_containers("StartContainer")
    }

    async fn update_container_resources(
        &self,
        _: Request<v1::UpdateContainerResourcesRequest>,
    ) -> Answer<v1::UpdateContainerResourcesResponse> {
        no_containers("UpdateContainerResources")
    }

    async fn reopen_container_log(
        &self,
        _: Request<v1::ReopenContainerLogRequest>,
    ) -> Answer<v1::ReopenContainerLogResponse> {
        no_containers("ReopenContainerLog")
    }

    async fn exec_sync(&self, _: Request<v1::ExecSyncRequest>) -> Answer<v1::ExecSyncResponse> {
        no_containers("ExecSync")
    }

    async fn exec(&self, _: Request<v1::ExecRequest>) -> Answer<v1::ExecResponse> {
        no_containers("Exec")
    }

    async fn attach(&self, _: Request<v1::AttachRequest>) -> Answer<v1::AttachResponse> {
        no_containers("Attach")
    }

    async fn port_forward(
        &self,
        _: Request<v1::PortForwardRequest>,
    ) -> Answer<v1::PortForwardResponse> {
        no_containers("PortForward")
    }

    async fn checkpoint_container(
        &self,
        _: Request<v1::CheckpointContainerRequest>,
    ) -> Answer<v1::CheckpointContainerResponse> {
        no_containers("CheckpointContainer")
    }
}

#[cfg(test)]
pub(crate) mod tests;
