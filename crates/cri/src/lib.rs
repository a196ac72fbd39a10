//! CRI v1 over the engine: what kubelet and crictl speak.
//!
//! A client asks for a pod, and asks again when it has heard nothing. What it may rely on is
//! the engine's: a retry joins, a caller that goes away changes nothing, a pod on its way up is in no
//! list. This crate is the words:
//!
//! 1. [`config`] reads a PodSandboxConfig, from a file or over gRPC, and says every field of it as a
//!    [`PodSpec`](podwalk_engine::PodSpec), or refuses it by name.
//! 2. [`proto`] has the generated types and the way to and from them.
//! 3. [`node`] is the port: what the services must know of the machine and the engine does not.
//! 4. [`routes`] gives both services for whoever has a socket:
//!
//! ```text
//! let api = podwalk_cri::routes(engine, Arc::new(node));
//! axum::serve(listener, api).await
//! ```
//!
//! Containers and images are not there yet. Their lists are empty; to stop or remove an unknown one
//! succeeds, as CRI demands; what would make one is `UNIMPLEMENTED`, with a sentence.
//!
//! What holds:
//!
//! - **Status and list are read from memory**, and never wait for a walk, a plugin or a runtime.
//! - **An event comes after its record is durable**, and carries the whole status.
//! - **A message is one line** of at most [`MOST_WORDS`] bytes, so that it fits into a header.
#![forbid(unsafe_code)]

pub mod config;
#[cfg(feature = "server")]
mod images;
#[cfg(feature = "server")]
pub mod node;
#[cfg(feature = "server")]
pub mod proto;
#[cfg(feature = "server")]
mod refusal;
#[cfg(feature = "server")]
mod service;
#[cfg(feature = "server")]
mod told;

#[cfg(feature = "server")]
pub use refusal::MOST_WORDS;

/// Both services, below `/runtime.v1.RuntimeService/` and `/runtime.v1.ImageService/`. Any other path
/// is the caller's to answer.
#[cfg(feature = "server")]
pub fn routes(
    engine: podwalk_engine::Engine,
    node: std::sync::Arc<dyn node::Node>,
) -> axum::Router {
    use proto::v1::image_service_server::{ImageServiceServer, SERVICE_NAME as IMAGES};
    use proto::v1::runtime_service_server::{RuntimeServiceServer, SERVICE_NAME as RUNTIME};
    let images = ImageServiceServer::new(images::Images { node: node.clone() });
    let runtime = RuntimeServiceServer::new(service::Runtime { engine, node });
    axum::Router::new()
        .route_service(
            &format!("/{RUNTIME}/{{*method}}"),
            runtime.max_decoding_message_size(MOST_BYTES),
        )
        .route_service(
            &format!("/{IMAGES}/{{*method}}"),
            images.max_decoding_message_size(MOST_BYTES),
        )
}

/// The largest message, as kubelet's own limit is.
#[cfg(feature = "server")]
const MOST_BYTES: usize = 16 << 20;
