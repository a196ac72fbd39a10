//! The life of a sandbox as its shim is asked for it, by the task service or the sandbox service.

use std::path::Path;

use containerd_shim_protos::api::{
    ConnectRequest, ConnectResponse, CreateTaskRequest, CreateTaskResponse, DeleteRequest,
    DeleteResponse, KillRequest, ShutdownRequest, StartRequest, StartResponse, StateRequest,
    StateResponse, Status, WaitRequest, WaitResponse,
};
use containerd_shim_protos::protobuf::MessageField;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::well_known_types::empty::Empty;
use containerd_shim_protos::sandbox_api::{
    CreateSandboxRequest, CreateSandboxResponse, SandboxStatusRequest, SandboxStatusResponse,
    ShutdownSandboxRequest, ShutdownSandboxResponse, StartSandboxRequest, StartSandboxResponse,
    StopSandboxRequest, StopSandboxResponse, WaitSandboxRequest, WaitSandboxResponse,
};
use tokio::time::{Duration, Instant};

use super::client::{CallError, Client};
use crate::bundle::Bundle;
use crate::error::OciError;
use crate::handler::Deadlines;
use crate::id::SandboxId;

const SIGKILL: u32 = 9;
/// The type of a sandbox's options, by which shims know it.
const POD_SANDBOX_CONFIG: &str = "runtime.v1.PodSandboxConfig";

/// What a shim says of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Created,
    Running,
    Stopped,
}

/// A connection about one sandbox.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) id: SandboxId,
    pub(crate) deadlines: Deadlines,
    /// Whether the sandbox service is spoken.
    pub(crate) sandbox_api: bool,
}

impl Session {
    /// The shim's own pid.
    pub(crate) async fn connect(&self) -> Result<u32, OciError> {
        let request = ConnectRequest {
            id: self.id.to_string(),
            ..Default::default()
        };
        let within = self.deadlines.query;
        let answer = self.client.task("Connect", &request, within).await;
        let answer: ConnectResponse = answer.map_err(self.client.explain("Connect"))?;
        Ok(answer.shim_pid)
    }

    /// Makes the sandbox as a task, which waits; its pid.
    pub(crate) async fn create(
        &self,
        bundle: &Bundle,
        options: Option<Any>,
    ) -> Result<u32, OciError> {
        let request = CreateTaskRequest {
            id: self.id.to_string(),
            bundle: text(bundle.dir()),
            options: MessageField(options.map(Box::new)),
            ..Default::default()
        };
        let within = self.deadlines.create;
        let answer = self.client.task("Create", &request, within).await;
        let answer: CreateTaskResponse = answer.map_err(self.client.explain("Create"))?;
        Ok(answer.pid)
    }

    /// Makes the sandbox by the sandbox service, which tells no pid yet.
    ///
    /// As containerd asks: the options are the pod's configuration as its client gave it, and not
    /// the runtime's own, which the shim had from `start`. Kata takes all that it knows of the pod
    /// from there, and nothing from the bundle.
    pub(crate) async fn create_sandbox(&self, bundle: &Bundle) -> Result<(), CallError> {
        let options = Any {
            type_url: POD_SANDBOX_CONFIG.to_owned(),
            value: bundle.pod_sandbox_config().to_owned(),
            ..Any::default()
        };
        let request = CreateSandboxRequest {
            sandbox_id: self.id.to_string(),
            bundle_path: text(bundle.dir()),
            options: MessageField::some(options),
            netns_path: bundle.netns().map(text).unwrap_or_default(),
            annotations: bundle.annotations().clone().into_iter().collect(),
            ..Default::default()
        };
        let within = self.deadlines.create;
        let answer = self.client.sandbox("CreateSandbox", &request, within).await;
        answer.map(|_: CreateSandboxResponse| ())
    }

    /// Lets it go, and tells its pid; 0 if the shim tells none.
    pub(crate) async fn start(&self) -> Result<u32, OciError> {
        let within = self.deadlines.start;
        if self.sandbox_api {
            let request = StartSandboxRequest {
                sandbox_id: self.id.to_string(),
                ..Default::default()
            };
            let answer = self.client.sandbox("StartSandbox", &request, within).await;
            let answer: StartSandboxResponse =
                answer.map_err(self.client.explain("StartSandbox"))?;
            return Ok(answer.pid);
        }
        let request = StartRequest {
            id: self.id.to_string(),
            ..Default::default()
        };
        let answer = self.client.task("Start", &request, within).await;
        let answer: StartResponse = answer.map_err(self.client.explain("Start"))?;
        Ok(answer.pid)
    }

    /// How it is, with its pid; `None` if the shim knows no such sandbox.
    pub(crate) async fn state(&self) -> Result<Option<(State, u32)>, OciError> {
        let within = self.deadlines.query;
        if self.sandbox_api {
            let request = SandboxStatusRequest {
                sandbox_id: self.id.to_string(),
                ..Default::default()
            };
            let answer = self.client.sandbox("SandboxStatus", &request, within).await;
            let answer: Option<SandboxStatusResponse> =
                known(answer, &self.client, "SandboxStatus")?;
            return Ok(answer.map(|answer| (of_words(&answer.state), answer.pid)));
        }
        let request = StateRequest {
            id: self.id.to_string(),
            ..Default::default()
        };
        let answer = self.client.task("State", &request, within).await;
        let answer: Option<StateResponse> = known(answer, &self.client, "State")?;
        Ok(answer.map(|answer| (of_status(answer.status.enum_value_or_default()), answer.pid)))
    }

    /// Waits for its end; its exit code, 128 + the signal's number if one ended it.
    pub(crate) async fn wait(&self, within: Duration) -> Result<u32, CallError> {
        if self.sandbox_api {
            let request = WaitSandboxRequest {
                sandbox_id: self.id.to_string(),
                ..Default::default()
            };
            let answer = self.client.sandbox("WaitSandbox", &request, within).await;
            return answer.map(|answer: WaitSandboxResponse| answer.exit_status);
        }
        let request = WaitRequest {
            id: self.id.to_string(),
            ..Default::default()
        };
        let answer = self.client.task("Wait", &request, within).await;
        answer.map(|answer: WaitResponse| answer.exit_status)
    }

    pub(crate) async fn kill(&self, within: Duration) -> Result<(), CallError> {
        if self.sandbox_api {
            // In seconds; with 0 some shims wait for ever.
            let request = StopSandboxRequest {
                sandbox_id: self.id.to_string(),
                timeout_secs: u32::try_from(within.as_secs()).unwrap_or(1).max(1),
                ..Default::default()
            };
            let answer = self.client.sandbox("StopSandbox", &request, within).await;
            return answer.map(|_: StopSandboxResponse| ());
        }
        let request = KillRequest {
            id: self.id.to_string(),
            signal: SIGKILL,
            all: true,
            ..Default::default()
        };
        let answer = self.client.task("Kill", &request, within).await;
        answer.map(|_: Empty| ())
    }

    /// Ends the sandbox and the shim as the protocol has it. Each refusal is passed over, since
    /// what is left is ended otherwise; a shim that hangs is asked nothing more.
    pub(crate) async fn bow_out(&self, end: Instant) -> Result<(), CallError> {
        let left = || end.saturating_duration_since(Instant::now());
        passed_over(self.kill(left()).await)?;
        passed_over(self.wait(left()).await.map(|_status| ()))?;
        passed_over(self.forget(left()).await)?;
        passed_over(self.shut_down(left()).await)
    }

    async fn forget(&self, within: Duration) -> Result<(), CallError> {
        if self.sandbox_api {
            // The sandbox goes with its shim.
            return Ok(());
        }
        let request = DeleteRequest {
            id: self.id.to_string(),
            ..Default::default()
        };
        let answer = self.client.task("Delete", &request, within).await;
        answer.map(|_: DeleteResponse| ())
    }

    async fn shut_down(&self, within: Duration) -> Result<(), CallError> {
        if self.sandbox_api {
            let request = ShutdownSandboxRequest {
                sandbox_id: self.id.to_string(),
                ..Default::default()
            };
            let answer = self
                .client
                .sandbox("ShutdownSandbox", &request, within)
                .await;
            return answer.map(|_: ShutdownSandboxResponse| ());
        }
        let request = ShutdownRequest {
            id: self.id.to_string(),
            ..Default::default()
        };
        let answer = self.client.task("Shutdown", &request, within).await;
        answer.map(|_: Empty| ())
    }
}

fn passed_over(answer: Result<(), CallError>) -> Result<(), CallError> {
    match answer {
        Err(late @ CallError::Late(_)) => Err(late),
        Err(error) => {
            tracing::debug!(%error, "a shim does not end its sandbox by itself");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

fn known<A>(
    answer: Result<A, CallError>,
    client: &Client,
    call: &'static str,
) -> Result<Option<A>, OciError> {
    match answer {
        // Who does not serve what the sandbox was asked by has not made it.
        Err(CallError::NotFound(_) | CallError::Unimplemented(_)) => Ok(None),
        answer => answer.map(Some).map_err(client.explain(call)),
    }
}

fn of_status(status: Status) -> State {
    match status {
        Status::RUNNING | Status::PAUSED | Status::PAUSING => State::Running,
        Status::CREATED => State::Created,
        Status::STOPPED | Status::UNKNOWN => State::Stopped,
    }
}

/// The sandbox service has words for it: CRI's, or those of a task.
fn of_words(words: &str) -> State {
    let words = words.to_ascii_lowercase();
    match words.trim_start_matches("sandbox_") {
        "ready" | "running" => State::Running,
        "init" | "created" => State::Created,
        _ => State::Stopped,
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
