//! What happens to pods, in CRI's four words.

use std::sync::Arc;

use futures_util::stream::{self, Stream, StreamExt};
use podwalk_engine::Engine;
use podwalk_engine::engine::PodView;
use podwalk_engine::event::Event;
use podwalk_engine::pod::Listing;
use tonic::{Code, Status};

use crate::node::Node;
use crate::proto::v1::{self, ContainerEventType};
use crate::refusal::refuse;
use crate::service::usage::nanoseconds;
use crate::told::status;

/// The events of a stream that begins now. It ends with an error when its client falls behind: what
/// it has missed, only a list can tell.
pub(super) fn told(
    live: impl Stream<Item = Event> + Send + 'static,
    engine: Engine,
    node: Arc<dyn Node>,
) -> impl Stream<Item = Result<v1::ContainerEventResponse, Status>> + Send + 'static {
    let told = live.flat_map(move |event| {
        let view = node.seen(engine.view_after(&event));
        let told: Vec<_> = words(&event)
            .iter()
            .map(|word| Ok(response(&*node, &view, &event, *word)))
            .collect();
        stream::iter(told)
    });
    let message = "events came faster than they were read: list the pods, and listen anew";
    told.chain(stream::once(
        async move { Err(refuse(Code::Aborted, message)) },
    ))
}

/// A pod comes when it comes into the list, and goes when it goes out of it, whatever brings that
/// about: one on its way up is nobody's yet, a failed start is somebody's as long as it owes, and a
/// Remove that is answered while something is owed is the end of it. What of that a client has not
/// heard, since its stream is younger, it has seen in its list.
fn words(event: &Event) -> &'static [ContainerEventType] {
    use ContainerEventType::{
        ContainerCreatedEvent, ContainerDeletedEvent, ContainerStartedEvent, ContainerStoppedEvent,
    };
    match (event.was, event.is) {
        (Listing::Unlisted, Listing::Unlisted)
        | (Listing::Down, Listing::Down)
        | (Listing::Up, Listing::Up) => &[],
        (Listing::Unlisted, Listing::Up) => &[ContainerCreatedEvent, ContainerStartedEvent],
        // Kubelet looks at a pod again because it has stopped, not because it was created.
        (Listing::Unlisted, Listing::Down) => &[ContainerCreatedEvent, ContainerStoppedEvent],
        (Listing::Down, Listing::Up) => &[ContainerStartedEvent],
        (Listing::Up, Listing::Down) => &[ContainerStoppedEvent],
        (Listing::Down, Listing::Unlisted) => &[ContainerDeletedEvent],
        (Listing::Up, Listing::Unlisted) => &[ContainerStoppedEvent, ContainerDeletedEvent],
    }
}

fn response(
    node: &dyn Node,
    view: &PodView,
    event: &Event,
    word: ContainerEventType,
) -> v1::ContainerEventResponse {
    v1::ContainerEventResponse {
        container_id: view.pod.id.to_string(),
        container_event_type: word.into(),
        created_at: nanoseconds(event.stamp.wall_ns),
        pod_sandbox_status: Some(status(node, view)),
        containers_statuses: Vec::new(),
    }
}
