//! The process that stays, and its task service.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use containerd_shim_protos::api::{
    ConnectRequest, ConnectResponse, CreateTaskRequest, CreateTaskResponse, DeleteRequest,
    DeleteResponse, KillRequest, ShutdownRequest, StartRequest, StartResponse, StateRequest,
    StateResponse, Status, WaitRequest, WaitResponse,
};
use containerd_shim_protos::events::task::TaskExit;
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::well_known_types::empty::Empty;
use containerd_shim_protos::sandbox_async::create_sandbox;
use containerd_shim_protos::shim::event::Envelope;
use containerd_shim_protos::shim::events::ForwardRequest;
use containerd_shim_protos::shim_async::{Client, EventsClient, Task, create_task};
use containerd_shim_protos::ttrpc::r#async::{Server, TtrpcContext};
use containerd_shim_protos::ttrpc::{self, Code, Error, get_status};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, getpid, kill_process};
use tokio::sync::{Notify, watch};

use super::{Act, Call, Installed, flag, machine};

/// What this process is called with.
pub(super) const FLAG: &str = "--serve";
const TASK_V2: &str = "containerd.task.v2.Task";
const TASK_V3: &str = "containerd.task.v3.Task";

pub(super) fn serve(shim: &Installed, arguments: &[String]) -> io::Result<ExitCode> {
    // Who has no reader of its log ends.
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut log = std::fs::File::from(open("log", flags, Mode::empty())?);
    log.write_all(b"the scripted shim serves\n")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let done = runtime.block_on(serve_until_shutdown(shim.clone(), arguments));
    // A call that hangs keeps nobody.
    runtime.shutdown_background();
    done.map(|()| ExitCode::SUCCESS)
}

async fn serve_until_shutdown(shim: Installed, arguments: &[String]) -> io::Result<()> {
    let script = shim.script()?;
    let id = flag(arguments, "-id").to_owned();
    let socket = shim.socket(&id);
    let _ = std::fs::remove_file(&socket);
    let shut_down = Arc::new(Notify::new());
    let served = Arc::new(Served {
        shim,
        id,
        bundle: std::env::current_dir()?,
        sandbox: Mutex::new(None),
        pause_service: script.pause_service,
        shut_down: shut_down.clone(),
    });
    let mut task = create_task(served.clone());
    if !script.task_v3
        && let Some(service) = task.remove(TASK_V3)
    {
        task.insert(TASK_V2.to_owned(), service);
    }
    let mut server = Server::new()
        .bind(&format!("unix://{}", socket.display()))
        .map_err(io::Error::other)?
        .register_service(task);
    if script.sandbox_api || script.pause_service {
        server = server.register_service(create_sandbox(served));
    }
    server.start().await.map_err(io::Error::other)?;
    shut_down.notified().await;
    server.disconnect().await;
    std::fs::remove_file(socket)
}

/// The sandbox that it has.
#[derive(Clone)]
pub(super) struct Made {
    pub(super) pid: u32,
    started: bool,
    /// Its status once it has ended.
    ended: watch::Receiver<Option<u32>>,
}

pub(super) struct Served {
    shim: Installed,
    id: String,
    pub(super) bundle: PathBuf,
    sandbox: Mutex<Option<Made>>,
    /// Whether the sandbox service does nothing.
    pub(super) pause_service: bool,
    pub(super) shut_down: Arc<Notify>,
}

impl Served {
    pub(super) async fn act(
        &self,
        name: &str,
        id: &str,
        options: Option<&Any>,
    ) -> ttrpc::Result<Act> {
        let call = Call {
            name: name.to_owned(),
            pid: std::process::id(),
            id: id.to_owned(),
            ..Call::default()
        };
        self.take(call.with(options)).await
    }

    /// Writes the call down, and does what the script has for it.
    pub(super) async fn take(&self, call: Call) -> ttrpc::Result<Act> {
        let act = self.shim.record(&call).map_err(|e| failed(&e))?;
        tokio::time::sleep(Duration::from_millis(act.delay_ms)).await;
        if act.hang {
            std::future::pending::<()>().await;
        }
        if act.die {
            kill_process(getpid(), Signal::KILL).map_err(|e| failed(&e))?;
        }
        match &act.fail {
            Some(words) => Err(failed(words)),
            None => Ok(act),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Made>> {
        self.sandbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn made(&self) -> ttrpc::Result<Made> {
        let missing = || Error::RpcStatus(get_status(Code::NOT_FOUND, "no such container"));
        self.lock().clone().ok_or_else(missing)
    }

    pub(super) fn create_machine(&self) -> ttrpc::Result<u32> {
        let child = machine::start(&self.shim.path, &self.bundle);
        let mut child = child.map_err(|e| failed(&e))?;
        let (pid, id) = (child.id(), self.id.clone());
        let (tell, ended) = watch::channel(None);
        *self.lock() = Some(Made {
            pid,
            started: false,
            ended,
        });
        let telling = tokio::runtime::Handle::current();
        std::thread::spawn(move || {
            use std::os::unix::process::ExitStatusExt;
            let status = child.wait().ok();
            let code = status.and_then(|s| s.code().or(s.signal().map(|signal| 128 + signal)));
            let status = u32::try_from(code.unwrap_or(255)).unwrap_or(255);
            telling.block_on(publish_exit(id, pid, status));
            // In this order: who waits for the end knows that it was told.
            tell.send_replace(Some(status));
        });
        Ok(pid)
    }

    pub(super) async fn start_machine(&self, act: &Act) -> ttrpc::Result<u32> {
        let made = self.made()?;
        if act.exit_first {
            end(&made)?;
            self.status(made.clone()).await;
        }
        if let Some(sandbox) = self.lock().as_mut() {
            sandbox.started = true;
        }
        Ok(made.pid)
    }

    pub(super) async fn status(&self, mut made: Made) -> u32 {
        let ended = made.ended.wait_for(Option::is_some).await;
        ended.ok().and_then(|status| *status).unwrap_or(255)
    }

    pub(super) fn state_of(made: &Made) -> Status {
        match (made.ended.borrow().is_some(), made.started) {
            (true, _) => Status::STOPPED,
            (false, true) => Status::RUNNING,
            (false, false) => Status::CREATED,
        }
    }
}

pub(super) fn end(made: &Made) -> ttrpc::Result<()> {
    let pid = i32::try_from(made.pid).ok().and_then(Pid::from_raw);
    // One that was reaped may be anybody by now.
    match pid.filter(|_| made.ended.borrow().is_none()) {
        Some(pid) => kill_process(pid, Signal::KILL).map_err(|e| failed(&e)),
        None => Ok(()),
    }
}

fn failed(why: &dyn std::fmt::Display) -> Error {
    Error::RpcStatus(get_status(Code::UNKNOWN, why.to_string()))
}

/// Tells the end to whoever listens for events. That nobody does is no error.
async fn publish_exit(id: String, pid: u32, exit_status: u32) {
    let exit = TaskExit {
        container_id: id.clone(),
        id,
        pid,
        exit_status,
        ..Default::default()
    };
    let event = Any {
        type_url: "containerd.events.TaskExit".to_owned(),
        value: exit.write_to_bytes().unwrap_or_default(),
        ..Default::default()
    };
    let envelope = Envelope {
        namespace: std::env::var("NAMESPACE").unwrap_or_default(),
        topic: "/tasks/exit".to_owned(),
        event: Some(event).into(),
        ..Default::default()
    };
    let request = ForwardRequest {
        envelope: Some(envelope).into(),
        ..Default::default()
    };
    let address = std::env::var("TTRPC_ADDRESS").unwrap_or_default();
    if let Ok(client) = Client::connect(&format!("unix://{address}")).await {
        let context = ttrpc::context::with_duration(Duration::from_secs(5));
        let _ = EventsClient::new(client).forward(context, &request).await;
    }
}

#[async_trait]
impl Task for Served {
    async fn connect(
        &self,
        _context: &TtrpcContext,
        request: ConnectRequest,
    ) -> ttrpc::Result<ConnectResponse> {
        self.act("Connect", &request.id, None).await?;
        Ok(ConnectResponse {
            shim_pid: std::process::id(),
            ..Default::default()
        })
    }

    async fn create(
        &self,
        _context: &TtrpcContext,
        request: CreateTaskRequest,
    ) -> ttrpc::Result<CreateTaskResponse> {
        let options = request.options.as_ref();
        self.act("Create", &request.id, options).await?;
        Ok(CreateTaskResponse {
            pid: self.create_machine()?,
            ..Default::default()
        })
    }

    async fn start(
        &self,
        _context: &TtrpcContext,
        request: StartRequest,
    ) -> ttrpc::Result<StartResponse> {
        let act = self.act("Start", &request.id, None).await?;
        Ok(StartResponse {
            pid: self.start_machine(&act).await?,
            ..Default::default()
        })
    }

    async fn state(
        &self,
        _context: &TtrpcContext,
        request: StateRequest,
    ) -> ttrpc::Result<StateResponse> {
        self.act("State", &request.id, None).await?;
        let made = self.made()?;
        Ok(StateResponse {
            id: request.id,
            pid: made.pid,
            status: Self::state_of(&made).into(),
            ..Default::default()
        })
    }

    async fn kill(&self, _context: &TtrpcContext, request: KillRequest) -> ttrpc::Result<Empty> {
        self.act("Kill", &request.id, None).await?;
        end(&self.made()?)?;
        Ok(Empty::new())
    }

    async fn wait(
        &self,
        _context: &TtrpcContext,
        request: WaitRequest,
    ) -> ttrpc::Result<WaitResponse> {
        self.act("Wait", &request.id, None).await?;
        Ok(WaitResponse {
            exit_status: self.status(self.made()?).await,
            ..Default::default()
        })
    }

    async fn delete(
        &self,
        _context: &TtrpcContext,
        request: DeleteRequest,
    ) -> ttrpc::Result<DeleteResponse> {
        self.act("Delete", &request.id, None).await?;
        let made = self.made()?;
        let Some(exit_status) = *made.ended.borrow() else {
            return Err(failed(&"it runs"));
        };
        *self.lock() = None;
        machine::forget(&self.bundle);
        Ok(DeleteResponse {
            pid: made.pid,
            exit_status,
            ..Default::default()
        })
    }

    async fn shutdown(
        &self,
        _context: &TtrpcContext,
        request: ShutdownRequest,
    ) -> ttrpc::Result<Empty> {
        self.act("Shutdown", &request.id, None).await?;
        if self.lock().is_none() {
            self.shut_down.notify_one();
        }
        Ok(Empty::new())
    }
}
