//! What a start is doing, on one line of a terminal.

use std::io::{IsTerminal, Write};

use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;

use crate::api::EventLine;
use crate::client::Client;

/// Waits for `work`. Meanwhile, if stderr is a terminal, tells what happens to
/// pods of this name; elsewhere nothing is written.
pub(super) async fn told<T>(client: &Client, name: &str, work: impl Future<Output = T>) -> T {
    if !std::io::stderr().is_terminal() {
        return work.await;
    }
    let stream = client.send(Method::GET, "/v1/events", None).await;
    let tell = async {
        if let Ok(response) = stream {
            tell(response.into_body(), name).await;
        }
        // Whatever becomes of the telling, the work is what is waited for.
        std::future::pending::<std::convert::Infallible>().await
    };
    let end = tokio::select! {
        end = work => end,
        never = tell => match never {},
    };
    write("");
    end
}

async fn tell(mut body: Incoming, name: &str) {
    let mut open = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        open.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        while let Some(end) = open.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = open.drain(..=end).collect();
            let event = serde_json::from_slice::<EventLine>(&line).ok();
            let of_ours = event.filter(|e| e.pod.as_ref().is_some_and(|pod| pod.name == name));
            if let Some(event) = of_ours {
                write(&format!("{name}: {} {}", event.event, event.detail));
            }
        }
    }
}

/// In the place of what stood on the line before.
fn write(text: &str) {
    let short: String = text.chars().filter(|c| !c.is_control()).take(78).collect();
    let mut stderr = std::io::stderr().lock();
    let _ = write!(stderr, "\r\x1b[K{short}").and_then(|()| stderr.flush());
}
