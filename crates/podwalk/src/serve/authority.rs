//! Clients that put the socket's path into `:authority`.
//!
//! On a Unix socket there is no host to name, and gRPC clients send its path:
//! raw (grpc-go, and so kubelet and crictl up to 1.30) or percent-encoded (the
//! C core, and so Python). Neither is an authority (RFC 3986, section 3.2), and
//! the HTTP library resets such streams, with no option to do otherwise.
//!
//! So the client's bytes are looked through on their way in. Only a value that
//! would be refused is replaced, by one of the same length: the entry that it
//! makes in the decoder's dynamic table has the size that the encoder counts
//! with (RFC 7541, section 4.1). Whatever is not understood is passed on as it
//! is, with all that follows: refusing is the HTTP library's task.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixListener;
use tokio::net::unix::SocketAddr;

use frames::Mending;

mod block;
mod frames;
#[cfg(test)]
mod tests;

/// Accepts as the socket does; what a client names as authority is mended.
pub(super) struct Listener(UnixListener);

impl Listener {
    pub(super) fn new(socket: UnixListener) -> Listener {
        Listener(socket)
    }
}

impl axum::serve::Listener for Listener {
    type Io = Connection<tokio::net::UnixStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = axum::serve::Listener::accept(&mut self.0).await;
        (Connection::new(stream), address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

/// A connection whose reading side is looked through.
pub(super) struct Connection<S> {
    stream: S,
    mending: Mending,
    /// What is to be read next; up to `given` it has been.
    mended: Vec<u8>,
    given: usize,
}

impl<S> Connection<S> {
    fn new(stream: S) -> Connection<S> {
        Connection {
            stream,
            mending: Mending::new(),
            mended: Vec::new(),
            given: 0,
        }
    }

    /// Gives what is there to be read, if anything.
    fn give(&mut self, to: &mut ReadBuf<'_>) -> bool {
        let waiting = &self.mended[self.given..];
        let now = &waiting[..waiting.len().min(to.remaining())];
        to.put_slice(now);
        self.given += now.len();
        let gave = !now.is_empty();
        if self.given == self.mended.len() {
            self.mended.clear();
            self.given = 0;
        }
        gave
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while to.remaining() > 0 && !this.give(to) {
            if this.mending.is_over() {
                return Pin::new(&mut this.stream).poll_read(context, to);
            }
            let mut space = [MaybeUninit::uninit(); 4096];
            let mut read = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut read))?;
            match read.filled() {
                [] => this.mending.give_up(&mut this.mended),
                bytes => this.mending.take(bytes, &mut this.mended),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
