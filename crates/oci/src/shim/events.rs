//! Where shims report what happened. Nothing is decided by it: the order of events is not to be
//! relied on (an exit may come before the answer of Start), and the end of a sandbox is seen by
//! its pidfd. They are told in the log.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use containerd_shim_protos::events::task::TaskExit;
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::empty::Empty;
use containerd_shim_protos::shim::events::ForwardRequest;
use containerd_shim_protos::shim_async::{Events as Service, create_events};
use containerd_shim_protos::ttrpc;
use containerd_shim_protos::ttrpc::r#async::{Server, TtrpcContext};
use tokio::sync::Mutex;

/// The topic of a process's end.
const EXIT: &str = "/tasks/exit";

/// The server of events, which listens from its first use on.
pub(crate) struct Events {
    socket: PathBuf,
    server: Mutex<Option<Server>>,
}

impl Events {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            server: Mutex::new(None),
        }
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Listens, if it does not yet. A socket that an earlier life left is replaced; shims that
    /// have it connect anew.
    pub(crate) async fn listen(&self) -> io::Result<()> {
        let mut server = self.server.lock().await;
        if server.is_some() {
            return Ok(());
        }
        if let Some(directory) = self.socket.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o711)
                .create(directory)?;
        }
        match fs::remove_file(&self.socket) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let address = format!("unix://{}", self.socket.display());
        let mut made = Server::new()
            .bind(&address)
            .map_err(io::Error::other)?
            .register_service(create_events(Arc::new(Told)));
        made.start().await.map_err(io::Error::other)?;
        *server = Some(made);
        Ok(())
    }
}

/// Tells each event to the log.
struct Told;

#[async_trait::async_trait]
impl Service for Told {
    async fn forward(
        &self,
        _context: &TtrpcContext,
        request: ForwardRequest,
    ) -> ttrpc::Result<Empty> {
        let envelope = request.envelope.unwrap_or_default();
        let value = &envelope.event.value;
        match TaskExit::parse_from_bytes(value) {
            Ok(exit) if envelope.topic == EXIT => tracing::info!(
                sandbox = exit.container_id,
                process = exit.id,
                pid = exit.pid,
                status = exit.exit_status,
                "a shim tells that a process has ended"
            ),
            _ => tracing::debug!(topic = envelope.topic, "a shim tells an event"),
        }
        Ok(Empty::new())
    }
}
