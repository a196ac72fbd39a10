//! A CRI client on the daemon's socket, for tests that are no futures themselves.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use hyper_util::rt::TokioIo;
use k8s_cri::v1;
use k8s_cri::v1::image_service_client::ImageServiceClient;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Response, Status};

/// A guard against a hang, no measure of speed.
const PATIENCE: Duration = Duration::from_secs(120);

/// A client. It connects when it is used, and again after the daemon was gone.
pub struct Cri {
    tasks: Runtime,
    channel: Channel,
}

impl fmt::Debug for Cri {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Cri").finish_non_exhaustive()
    }
}

/// Whether nobody has answered so: the connection broke, or there was none. What an answer says has no
/// cause that the client could know of.
#[must_use]
pub fn is_of_transport(status: &Status) -> bool {
    status.source().is_some()
}

/// The channel to a socket. It must be made on a runtime.
#[must_use]
pub fn channel(socket: PathBuf) -> Channel {
    let connect = move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    };
    Endpoint::from_static("http://podwalk").connect_with_connector_lazy(tower::service_fn(connect))
}

impl Cri {
    /// A client of who listens on `socket`, who need not be there yet.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn at(socket: &Path) -> Result<Self> {
        let tasks = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let within = tasks.enter();
        let channel = channel(socket.to_owned());
        drop(within);
        Ok(Self { tasks, channel })
    }

    /// The runtime that calls run on.
    #[must_use]
    pub fn tasks(&self) -> &Runtime {
        &self.tasks
    }

    /// The channel, for calls of any kind.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// A client for who asks on a runtime himself.
    #[must_use]
    pub fn client(&self) -> RuntimeServiceClient<Channel> {
        RuntimeServiceClient::new(self.channel.clone())
    }

    /// Asks the RuntimeService.
    ///
    /// # Errors
    /// The answer's status.
    pub fn ask<T>(
        &self,
        call: impl AsyncFnOnce(RuntimeServiceClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, Status> {
        self.wait(call(self.client()))
    }

    /// Asks the ImageService.
    ///
    /// # Errors
    /// The answer's status.
    pub fn ask_images<T>(
        &self,
        call: impl AsyncFnOnce(ImageServiceClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, Status> {
        self.wait(call(ImageServiceClient::new(self.channel.clone())))
    }

    fn wait<T>(
        &self,
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Status> {
        let bounded = async { tokio::time::timeout(PATIENCE, answer).await };
        let answer = self.tasks.block_on(bounded);
        let silent = |_| Status::deadline_exceeded("no answer, for longer than any walk takes");
        Ok(answer.map_err(silent)??.into_inner())
    }

    /// RunPodSandbox; the id.
    ///
    /// # Errors
    /// The answer's status.
    pub fn run(&self, config: v1::PodSandboxConfig, handler: &str) -> Result<String, Status> {
        let request = v1::RunPodSandboxRequest {
            config: Some(config),
            runtime_handler: handler.to_owned(),
        };
        let ran = self.ask(async move |mut cri| cri.run_pod_sandbox(request).await)?;
        Ok(ran.pod_sandbox_id)
    }

    /// StopPodSandbox.
    ///
    /// # Errors
    /// The answer's status.
    pub fn stop(&self, id: &str) -> Result<(), Status> {
        let request = v1::StopPodSandboxRequest {
            pod_sandbox_id: id.to_owned(),
        };
        self.ask(async move |mut cri| cri.stop_pod_sandbox(request).await)?;
        Ok(())
    }

    /// RemovePodSandbox.
    ///
    /// # Errors
    /// The answer's status.
    pub fn remove(&self, id: &str) -> Result<(), Status> {
        let request = v1::RemovePodSandboxRequest {
            pod_sandbox_id: id.to_owned(),
        };
        self.ask(async move |mut cri| cri.remove_pod_sandbox(request).await)?;
        Ok(())
    }

    /// PodSandboxStatus.
    ///
    /// # Errors
    /// The answer's status.
    pub fn status(&self, id: &str) -> Result<v1::PodSandboxStatus, Status> {
        let status = self.verbose_status(id)?.status;
        status.ok_or_else(|| Status::internal("an answer without a status"))
    }

    /// PodSandboxStatus, verbose.
    ///
    /// # Errors
    /// The answer's status.
    pub fn verbose_status(&self, id: &str) -> Result<v1::PodSandboxStatusResponse, Status> {
        let request = v1::PodSandboxStatusRequest {
            pod_sandbox_id: id.to_owned(),
            verbose: true,
        };
        self.ask(async move |mut cri| cri.pod_sandbox_status(request).await)
    }

    /// ListPodSandbox.
    ///
    /// # Errors
    /// The answer's status.
    pub fn list(&self, filter: v1::PodSandboxFilter) -> Result<Vec<v1::PodSandbox>, Status> {
        let request = v1::ListPodSandboxRequest {
            filter: Some(filter),
        };
        let listed = self.ask(async move |mut cri| cri.list_pod_sandbox(request).await)?;
        Ok(listed.items)
    }
}

/// The object of `podwalk inspect` in a verbose status.
///
/// # Errors
/// If it is not there.
pub fn inspected(status: &v1::PodSandboxStatusResponse) -> Result<Value> {
    let text = status.info.get("info").context("no info in the status")?;
    Ok(serde_json::from_str(text)?)
}

/// Expects a refusal with this code, all of these words in its message, and no control characters;
/// returns the message.
///
/// # Errors
/// If it was granted, or refused otherwise.
pub fn refused<T: fmt::Debug>(
    answer: Result<T, Status>,
    code: Code,
    words: &[&str],
) -> Result<String> {
    let status = match answer {
        Ok(granted) => return Err(anyhow!("granted: {granted:?}")),
        Err(status) => status,
    };
    let message = status.message();
    let says = words.iter().all(|word| message.contains(word));
    if status.code() != code || !says || message.contains(char::is_control) {
        return Err(anyhow!(
            "{:?}: {message:?} instead of {code:?} with {words:?}",
            status.code()
        ));
    }
    Ok(message.to_owned())
}

/// A pod's configuration as kubelet sends it, in the default network.
#[must_use]
pub fn pod(name: &str, attempt: u32) -> v1::PodSandboxConfig {
    let uid = format!("uid-of-{name}");
    let label = |key: &str, value: &str| (format!("io.kubernetes.pod.{key}"), value.to_owned());
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: name.to_owned(),
            uid: uid.clone(),
            namespace: "tests".to_owned(),
            attempt,
        }),
        log_directory: format!("/var/log/pods/tests_{name}_{uid}"),
        labels: [
            label("name", name),
            label("namespace", "tests"),
            label("uid", &uid),
        ]
        .into(),
        linux: Some(v1::LinuxPodSandboxConfig {
            security_context: Some(v1::LinuxSandboxSecurityContext {
                namespace_options: Some(v1::NamespaceOption {
                    pid: v1::NamespaceMode::Container.into(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}
