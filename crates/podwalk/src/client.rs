//! The client's side of the socket.

use std::path::{Path, PathBuf};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::api::ErrorAnswer;

/// A daemon's address.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

/// Why a call got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no daemon answers on {}: {source} (start it with: podwalk serve; or name its socket with --address)", path.display())]
    NoDaemon {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The daemon refuses.
    #[error("{}", .0.message)]
    Refused(ErrorAnswer),
    /// The connection broke, or what came was not an answer.
    #[error("the daemon's answer on {} could not be read: {detail}", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What went wrong.
        detail: String,
    },
}

impl ClientError {
    /// Whether there is no daemon, or one that died while it was asked: then
    /// what can be read of its journal is an answer too.
    pub fn is_down(&self) -> bool {
        matches!(self, Self::NoDaemon { .. } | Self::Broken { .. })
    }
}

impl Client {
    /// Of the daemon that listens on `socket`.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Asks, and reads the JSON answer.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<T, ClientError> {
        let response = self.send(method, path, body).await?;
        let body = response.into_body().collect().await;
        let bytes = body.map_err(|error| self.broken(error))?.to_bytes();
        serde_json::from_slice(&bytes).map_err(|error| self.broken(error))
    }

    /// Asks, and hands the answer out as it comes.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = UnixStream::connect(&self.socket).await;
        let stream = stream.map_err(|source| ClientError::NoDaemon {
            path: self.socket.clone(),
            source,
        })?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| self.broken(error))?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "podwalk")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| self.broken(error))?;
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| self.broken(error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let body = response.into_body().collect().await;
        let bytes = body.map_err(|error| self.broken(error))?.to_bytes();
        match serde_json::from_slice(&bytes) {
            Ok(refused) => Err(ClientError::Refused(refused)),
            Err(_) => Err(self.broken(String::from_utf8_lossy(&bytes))),
        }
    }

    fn broken(&self, detail: impl ToString) -> ClientError {
        ClientError::Broken {
            path: self.socket.clone(),
            detail: detail.to_string(),
        }
    }
}

/// A pod's name as it stands in a path: everything but plain characters is
/// escaped, so that a slash in it does not lead elsewhere.
pub fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let mut escaped = String::new();
    for byte in text.bytes() {
        match plain(byte) {
            true => escaped.push(char::from(byte)),
            false => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_does_not_lead_elsewhere() {
        assert_eq!(escaped("../a b"), "..%2Fa%20b");
        assert_eq!(escaped("web-1.x_2"), "web-1.x_2");
    }
}
