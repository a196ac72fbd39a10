//! The sandbox service: as strict as Kata's, or one that does nothing.

use async_trait::async_trait;
use containerd_shim_protos::api::Status;
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::well_known_types::empty::Empty;
use containerd_shim_protos::sandbox_api::{
    CreateSandboxRequest, CreateSandboxResponse, SandboxStatusRequest, SandboxStatusResponse,
    ShutdownSandboxRequest, ShutdownSandboxResponse, StartSandboxRequest, StartSandboxResponse,
    StopSandboxRequest, StopSandboxResponse, WaitSandboxRequest, WaitSandboxResponse,
};
use containerd_shim_protos::sandbox_async::Sandbox;
use containerd_shim_protos::ttrpc::r#async::TtrpcContext;
use containerd_shim_protos::ttrpc::{self, Error};

use super::serve::{Served, end};
use super::{Call, machine};

/// The only type of options that is taken.
const POD_SANDBOX_CONFIG: &str = "runtime.v1.PodSandboxConfig";

/// Refuses what Kata refuses, in its words: options of another type, none, and what does not decode.
fn check(options: Option<&Any>) -> ttrpc::Result<()> {
    let refused = |why: String| Error::Others(format!("failed to translate from shim {why}"));
    let url = options.map_or("", |any| any.type_url.as_str());
    let Some(any) = options.filter(|_| url == POD_SANDBOX_CONFIG) else {
        return Err(refused(format!("unsupported type url: {url}")));
    };
    // A message without fields of its own takes any that is well formed.
    let read = Empty::parse_from_bytes(&any.value);
    read.map(drop).map_err(|error| refused(error.to_string()))
}

#[async_trait]
impl Sandbox for Served {
    async fn create_sandbox(
        &self,
        _context: &TtrpcContext,
        request: CreateSandboxRequest,
    ) -> ttrpc::Result<CreateSandboxResponse> {
        let options = request.options.as_ref();
        let call = Call {
            name: "CreateSandbox".to_owned(),
            pid: std::process::id(),
            id: request.sandbox_id.clone(),
            annotations: request.annotations.clone().into_iter().collect(),
            ..Call::default()
        };
        let act = self.take(call.with(options)).await?;
        if act.make_first {
            self.create_machine()?;
            return Err(Error::Others("unsupported type url: any".to_owned()));
        }
        if !self.pause_service {
            check(options)?;
            self.create_machine()?;
        }
        Ok(Default::default())
    }

    async fn start_sandbox(
        &self,
        _context: &TtrpcContext,
        request: StartSandboxRequest,
    ) -> ttrpc::Result<StartSandboxResponse> {
        let act = self.act("StartSandbox", &request.sandbox_id, None).await?;
        let pid = match self.pause_service {
            true => 0,
            false => self.start_machine(&act).await?,
        };
        Ok(StartSandboxResponse {
            pid,
            ..Default::default()
        })
    }

    async fn sandbox_status(
        &self,
        _context: &TtrpcContext,
        request: SandboxStatusRequest,
    ) -> ttrpc::Result<SandboxStatusResponse> {
        self.act("SandboxStatus", &request.sandbox_id, None).await?;
        if self.pause_service {
            return Ok(Default::default());
        }
        let made = self.made()?;
        let state = match Self::state_of(&made) {
            Status::RUNNING => "SANDBOX_READY",
            Status::CREATED => "created",
            _ => "SANDBOX_NOTREADY",
        };
        Ok(SandboxStatusResponse {
            sandbox_id: request.sandbox_id,
            pid: made.pid,
            state: state.to_owned(),
            ..Default::default()
        })
    }

    async fn stop_sandbox(
        &self,
        _context: &TtrpcContext,
        request: StopSandboxRequest,
    ) -> ttrpc::Result<StopSandboxResponse> {
        self.act("StopSandbox", &request.sandbox_id, None).await?;
        if self.pause_service {
            self.shut_down.notify_one();
            return Ok(Default::default());
        }
        let made = self.made()?;
        end(&made)?;
        self.status(made).await;
        Ok(Default::default())
    }

    async fn wait_sandbox(
        &self,
        _context: &TtrpcContext,
        request: WaitSandboxRequest,
    ) -> ttrpc::Result<WaitSandboxResponse> {
        self.act("WaitSandbox", &request.sandbox_id, None).await?;
        if self.pause_service {
            return Ok(Default::default());
        }
        Ok(WaitSandboxResponse {
            exit_status: self.status(self.made()?).await,
            ..Default::default()
        })
    }

    async fn shutdown_sandbox(
        &self,
        _context: &TtrpcContext,
        request: ShutdownSandboxRequest,
    ) -> ttrpc::Result<ShutdownSandboxResponse> {
        self.act("ShutdownSandbox", &request.sandbox_id, None)
            .await?;
        if !self.pause_service {
            machine::forget(&self.bundle);
            self.shut_down.notify_one();
        }
        Ok(Default::default())
    }
}
