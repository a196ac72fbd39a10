//! A client that sends bytes as they are, whatever message they may be.

use std::time::Duration;

use podwalk_tests::cri::Cri;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Response, Status};

/// What a call may take. A start that a bent message happens to ask for is a walk.
const PATIENCE: Duration = Duration::from_secs(60);

/// The one method whose answer is a stream.
pub(super) const EVENTS: &str = "/runtime.v1.RuntimeService/GetContainerEvents";

/// Sends bytes as a message, and takes any for an answer.
pub(super) fn call(cri: &Cri, method: &str, message: Vec<u8>) -> Result<Vec<u8>, Status> {
    let path = method.parse().map_err(|_| Status::internal("a path"))?;
    let call = async {
        let mut grpc = Grpc::new(cri.channel());
        let ready = grpc.ready().await;
        ready.map_err(|error| Status::from_error(error.into()))?;
        if method == EVENTS {
            let heard = grpc.server_streaming(Request::new(message), path, Bytes);
            return first(heard.await?.into_inner()).await;
        }
        let answer = grpc.unary(Request::new(message), path, Bytes).await;
        answer.map(Response::into_inner)
    };
    let bounded = async { tokio::time::timeout(PATIENCE, call).await };
    let answer = cri.tasks().block_on(bounded);
    answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("silence")))
}

/// What a stream that was granted begins with, if there is something yet: it stays open while
/// nothing happens. It ends when it is dropped.
async fn first(mut stream: tonic::Streaming<Vec<u8>>) -> Result<Vec<u8>, Status> {
    let Ok(heard) = tokio::time::timeout(Duration::ZERO, stream.message()).await else {
        return Ok(Vec::new());
    };
    heard?.ok_or_else(|| Status::unknown("the stream has ended"))
}

/// Bytes as they are.
#[derive(Debug, Clone, Copy)]
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        prost::bytes::BufMut::put_slice(out, &item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut bytes = vec![0; prost::bytes::Buf::remaining(from)];
        prost::bytes::Buf::copy_to_slice(from, &mut bytes);
        Ok(Some(bytes))
    }
}
