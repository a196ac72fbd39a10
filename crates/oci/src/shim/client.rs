//! One connection to a shim.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::shim_async::Client as Ttrpc;
use containerd_shim_protos::ttrpc::asynchronous::transport::Socket;
use containerd_shim_protos::ttrpc::{self, Code, Request};
use tokio::net::UnixStream;
use tokio::time::{Duration, Instant, timeout, timeout_at};

use super::answer::socket_path;
use crate::error::OciError;
use crate::id::SandboxId;

/// Whose sandboxes are meant, as containerd names it in each request.
const NAMESPACE_KEY: &str = "containerd-namespace-ttrpc";
const TASK_V2: &str = "containerd.task.v2.Task";
const TASK_V3: &str = "containerd.task.v3.Task";
const SANDBOX: &str = "containerd.runtime.sandbox.v1.Sandbox";

/// A call that failed.
#[derive(Debug)]
pub(crate) enum CallError {
    /// The shim does not serve this.
    Unimplemented(String),
    /// The shim does not take a request of this form, and has done nothing of it.
    Refused(String),
    /// The shim knows nothing of this name.
    NotFound(String),
    /// It refused, or the connection ended.
    Failed(String),
    /// It did not answer in time.
    Late(Duration),
}

impl std::fmt::Display for CallError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unimplemented(why)
            | Self::Refused(why)
            | Self::NotFound(why)
            | Self::Failed(why) => formatter.write_str(why),
            Self::Late(after) => write!(formatter, "no answer within {after:?}"),
        }
    }
}

/// A connection. Dropping it closes it.
pub(crate) struct Client {
    ttrpc: Ttrpc,
    id: SandboxId,
    address: String,
    namespace: String,
    task_v3: AtomicBool,
}

impl Client {
    /// Connects; `None` where nobody listens.
    pub(crate) async fn open(
        id: &SandboxId,
        address: &str,
        namespace: &str,
        task_v3: bool,
        within: Duration,
    ) -> Result<Option<Self>, OciError> {
        let path = socket_path(address).unwrap_or_default();
        let stream = match timeout(within, UnixStream::connect(path)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) if is_nobody(&error) => return Ok(None),
            Ok(Err(error)) => {
                let error = CallError::Failed(error.to_string());
                return Err(explained(id, address, "connect", error));
            }
            // Its backlog is full: it is there, and takes nobody in.
            Err(_) => return Err(explained(id, address, "connect", CallError::Late(within))),
        };
        Ok(Some(Self {
            ttrpc: Ttrpc::new(Socket::new(stream)),
            id: id.clone(),
            address: address.to_owned(),
            namespace: namespace.to_owned(),
            task_v3: AtomicBool::new(task_v3),
        }))
    }

    pub(crate) fn task_v3(&self) -> bool {
        self.task_v3.load(Ordering::Relaxed)
    }

    /// Calls the task service: first by the version that the shim offered, then by the other.
    pub(crate) async fn task<A: Message>(
        &self,
        method: &'static str,
        request: &impl Message,
        within: Duration,
    ) -> Result<A, CallError> {
        let name = |v3: bool| if v3 { TASK_V3 } else { TASK_V2 };
        let offered = self.task_v3();
        match self.call(name(offered), method, request, within).await {
            Err(CallError::Unimplemented(_)) => {}
            answer => return answer,
        }
        let answer = self.call(name(!offered), method, request, within).await?;
        self.task_v3.store(!offered, Ordering::Relaxed);
        Ok(answer)
    }

    /// Calls the sandbox service.
    pub(crate) async fn sandbox<A: Message>(
        &self,
        method: &'static str,
        request: &impl Message,
        within: Duration,
    ) -> Result<A, CallError> {
        self.call(SANDBOX, method, request, within).await
    }

    async fn call<A: Message>(
        &self,
        service: &str,
        method: &'static str,
        request: &impl Message,
        within: Duration,
    ) -> Result<A, CallError> {
        let failed = |error: &dyn std::fmt::Display| CallError::Failed(error.to_string());
        let payload = request.write_to_bytes().map_err(|error| failed(&error))?;
        let namespace = ttrpc::proto::KeyValue {
            key: NAMESPACE_KEY.to_owned(),
            value: self.namespace.clone(),
            ..Default::default()
        };
        let call = Request {
            service: service.to_owned(),
            method: method.to_owned(),
            payload,
            timeout_nano: i64::try_from(within.as_nanos()).unwrap_or(i64::MAX),
            metadata: vec![namespace],
            ..Default::default()
        };
        let end = Instant::now() + within;
        let answer = match timeout_at(end, self.ttrpc.request(call)).await {
            Ok(Ok(answer)) => answer,
            // The client has the same deadline, and may be the first to notice.
            Ok(Err(error)) if Instant::now() < end => return Err(told(error, within)),
            Ok(Err(_)) | Err(_) => return Err(CallError::Late(within)),
        };
        A::parse_from_bytes(&answer.payload).map_err(|error| failed(&error))
    }

    /// That the sandbox service makes no sandboxes here.
    pub(crate) fn no_sandbox_service(&self, why: String) -> OciError {
        OciError::NoSandboxService {
            id: self.id.to_string(),
            address: self.address.clone(),
            why,
        }
    }

    /// A failed call as an error of this sandbox's.
    pub(crate) fn explain(&self, call: &'static str) -> impl FnOnce(CallError) -> OciError + '_ {
        move |error| explained(&self.id, &self.address, call, error)
    }
}

fn explained(id: &SandboxId, address: &str, call: &'static str, error: CallError) -> OciError {
    let (id, address) = (id.to_string(), address.to_owned());
    match error {
        CallError::Late(after) => OciError::RpcDeadline {
            id,
            address,
            call,
            after,
        },
        other => OciError::Rpc {
            id,
            address,
            call,
            why: other.to_string(),
        },
    }
}

fn told(error: ttrpc::Error, within: Duration) -> CallError {
    let ttrpc::Error::RpcStatus(status) = error else {
        return CallError::Failed(error.to_string());
    };
    // It is what a shim says, and goes into logs and answers.
    let shown = status.message().chars().filter(|c| !c.is_control());
    let message: String = shown.take(2048).collect();
    match status.code() {
        Code::UNIMPLEMENTED => CallError::Unimplemented(message),
        // What servers in Rust say of a method that is declared and not written, and of a service
        // or a method that they have not.
        Code::NOT_FOUND if message.ends_with("is not supported") => {
            CallError::Unimplemented(message)
        }
        Code::INVALID_ARGUMENT if message.ends_with("does not exist") => {
            CallError::Unimplemented(message)
        }
        Code::INVALID_ARGUMENT => CallError::Refused(message),
        // What Kata's says, without a code, before it looks at anything else of the request.
        Code::UNKNOWN if message.contains("unsupported type url") => CallError::Refused(message),
        Code::NOT_FOUND => CallError::NotFound(message),
        Code::DEADLINE_EXCEEDED => CallError::Late(within),
        code => CallError::Failed(format!("{message} ({code:?})")),
    }
}

/// There is no socket, nobody listens on it, or whoever did has ended just now.
fn is_nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
    )
}
