//! What happens to pods, in CRI's four words.

use std::sync::Arc;

use futures_util::stream::{self, Stream, StreamExt};
use podwalk_engine::Engine;
use podwalk_engine::engine::PodView;
use podwalk_engine::event::Event;
use podwalk_engine::record::Goal;
use podwalk_engine::step::Step;
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
        let told: Vec<_> = words(&view, &event)
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

/// A pod on its way up is nobody's yet: it is created when it is started, and one that never was is
/// not told to be gone, nor to be stopped. A sandbox that has exited was told to be stopped, and is not told so again
/// when it is taken down. A Remove that is answered while something is owed is the end of it, for its
/// clients.
fn words(view: &PodView, event: &Event) -> &'static [ContainerEventType] {
    let ended_by_stop = event.what == "undone"
        && event.detail == Step::Start.to_string()
        && view.pod.exited.is_none()
        && view.is_listed();
    match event.what {
        "started" => &[
            ContainerEventType::ContainerCreatedEvent,
            ContainerEventType::ContainerStartedEvent,
        ],
        "exited" if view.is_listed() => &[ContainerEventType::ContainerStoppedEvent],
        "undone" if ended_by_stop => &[ContainerEventType::ContainerStoppedEvent],
        "removed" if view.is_listed() => &[ContainerEventType::ContainerDeletedEvent],
        "answered-owing" if view.pod.outlived == Some(Goal::Remove) => {
            &[ContainerEventType::ContainerDeletedEvent]
        }
        _ => &[],
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
