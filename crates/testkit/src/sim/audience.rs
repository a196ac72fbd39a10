//! A client that lists once, and then only listens.

use std::collections::BTreeMap;

use futures_util::{FutureExt, StreamExt};
use podwalk_engine::engine::Engine;
use podwalk_engine::event::{Event, Subscription};
use podwalk_engine::id::PodId;
use podwalk_engine::pod::Listing;

/// What it knows of the pods that are listed.
#[derive(Debug)]
pub(crate) struct Audience {
    events: Subscription,
    known: BTreeMap<PodId, Listing>,
    complaints: Vec<String>,
}

impl Audience {
    /// Lists, and listens from now on.
    pub(crate) fn of(engine: &Engine) -> Self {
        Self {
            events: engine.subscribe(None),
            known: listed(engine),
            complaints: Vec::new(),
        }
    }

    /// Hears what came since, and compares what it makes of it with the list, while nothing moves.
    pub(crate) fn compare(&mut self, engine: &Engine) {
        while let Some(event) = self.events.live.next().now_or_never().flatten() {
            self.hear(&event);
        }
        let listed = listed(engine);
        if self.known != listed {
            let complaint = format!("events tell of {:?}, the list of {listed:?}", self.known);
            self.complaints.push(complaint);
        }
    }

    fn hear(&mut self, event: &Event) {
        let (id, what) = (event.pod.id, event.what);
        let known = self.known.remove(&id).unwrap_or(Listing::Unlisted);
        if known != event.was {
            let complaint = format!("{id} was {:?} before {what}, told was {known:?}", event.was);
            self.complaints.push(complaint);
        }
        if event.is != Listing::Unlisted {
            self.known.insert(id, event.is);
        }
    }

    /// Where events and lists did not agree.
    pub(crate) fn complaints(self) -> Vec<String> {
        self.complaints
    }
}

fn listed(engine: &Engine) -> BTreeMap<PodId, Listing> {
    let pods = engine.list().into_iter().map(|view| view.pod);
    let listed = pods.map(|pod| (pod.id, pod.listing()));
    listed
        .filter(|(_, listing)| *listing != Listing::Unlisted)
        .collect()
}
