//! The event stream, and what it must have told of what the lists show.
//!
//! A stream has no gaps for a client that stays: while one is open, whatever changes between two lists
//! that were both asked for during it is also told by it. Events come in order, so that one that is
//! younger than a list proves what was missed before; nothing depends on how fast they come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use k8s_cri::v1;
use k8s_cri::v1::ContainerEventType::{
    self, ContainerCreatedEvent, ContainerDeletedEvent, ContainerStartedEvent,
    ContainerStoppedEvent,
};

use crate::pods::{Listed, is_ready, uid_of};
use crate::shared::{Call, Shared};

/// A change is visible a moment before it is told. It is missed when an event comes that was made
/// after so many further lists were asked for.
const GRACE: u32 = 2;

/// What was heard of events.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Streams that were opened.
    pub(crate) streams: u64,
    /// What came over them.
    pub(crate) messages: u64,
    /// Events that had to come because of a list, and came.
    pub(crate) awaited: u64,
    /// Sandboxes that came as stopped, and were never started.
    pub(crate) never_up: BTreeSet<String>,
    open: Option<Stream>,
}

#[derive(Debug, Default)]
struct Stream {
    number: u64,
    heard: BTreeSet<(String, ContainerEventType)>,
    /// How sandboxes are by the lists; nothing before the first one.
    known: Option<BTreeMap<String, Known>>,
    missing: Vec<Missing>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// It was ready, and nobody was told yet that it is stopped.
    Up,
    Down,
}

/// An event that must come.
#[derive(Debug)]
struct Missing {
    id: String,
    word: ContainerEventType,
    /// How many lists were asked for since.
    lists: u32,
    /// An event that is younger than this, in nanoseconds since 1970, comes too early.
    due: Option<i64>,
}

/// Listens to events, and again after the daemon was gone.
pub(crate) async fn listen(shared: Arc<Shared>) {
    let mut relisted = shared.relisted.subscribe();
    loop {
        listen_once(&shared).await;
        shared.told().open = None;
        // Not before there is somebody to connect to.
        if relisted.changed().await.is_err() {
            return;
        }
    }
}

async fn listen_once(shared: &Shared) {
    let begun = shared.begin();
    let mut client = shared.client.clone();
    let request = v1::GetEventsRequest::default();
    let opened = shared.call(Call::Events, client.get_container_events(request));
    let Ok(mut events) = opened.await else {
        return;
    };
    shared.told().begin();
    loop {
        match events.message().await {
            Ok(Some(event)) => {
                let broken = shared.told().hear(&event);
                broken.into_iter().for_each(|what| shared.accuse(what));
            }
            Ok(None) => return shared.accuse("an event stream ended without an error".to_owned()),
            Err(status) => return shared.judge(begun, &Call::Events, &status),
        }
    }
}

impl Told {
    fn begin(&mut self) {
        self.streams += 1;
        self.open = Some(Stream {
            number: self.streams,
            ..Stream::default()
        });
    }

    /// The stream that is open.
    pub(crate) fn stream(&self) -> Option<u64> {
        self.open.as_ref().map(|stream| stream.number)
    }

    /// What must come and did not yet.
    pub(crate) fn missing(&self) -> Vec<String> {
        let missing = self.open.iter().flat_map(|stream| &stream.missing);
        missing.map(|event| format!("{event:?}")).collect()
    }

    /// Takes an event; what is wrong with it.
    fn hear(&mut self, event: &v1::ContainerEventResponse) -> Vec<String> {
        self.messages += 1;
        let Some(stream) = &mut self.open else {
            return vec![format!("an event without a stream: {event:?}")];
        };
        let mut broken = Vec::new();
        let (id, word) = (event.container_id.clone(), event.container_event_type());
        if !tells_of_its_pod(event) {
            broken.push(format!(
                "an event without its pod, or with another: {event:?}"
            ));
        }
        if !stream.heard.insert((id.clone(), word)) {
            broken.push(format!("{word:?} of {id} comes twice over one stream"));
        }
        let heard = |word| stream.heard.contains(&(id.clone(), word));
        if word == ContainerStoppedEvent
            && heard(ContainerCreatedEvent)
            && !heard(ContainerStartedEvent)
        {
            self.never_up.insert(id.clone());
        }
        let before = stream.missing.len();
        let came = |missing: &Missing| missing.id == id && missing.word == word;
        stream.missing.retain(|missing| !came(missing));
        self.awaited += (before - stream.missing.len()) as u64;
        let is_late = |due: i64| due < event.created_at;
        let late = stream
            .missing
            .extract_if(.., |missing| missing.due.is_some_and(is_late));
        broken.extend(late.map(|missing| {
            format!("no event over a stream that was there: {missing:?}, and then {event:?}")
        }));
        broken
    }

    /// Takes a list that was asked for while this stream was open. Stops of `stopped` were granted.
    pub(crate) fn compare(
        &mut self,
        stream: Option<u64>,
        asked: i64,
        listed: &Listed,
        stopped: &BTreeSet<String>,
    ) {
        let open = self.open.as_mut();
        let Some(open) = open.filter(|open| Some(open.number) == stream) else {
            return;
        };
        for missing in &mut open.missing {
            missing.lists += 1;
            if missing.lists == GRACE {
                missing.due = Some(asked);
            }
        }
        let (now, words) = changes(open.known.as_ref(), listed, stopped);
        open.known = Some(now);
        self.expect(words);
    }

    fn expect(&mut self, words: Vec<(String, ContainerEventType)>) {
        let Some(open) = &mut self.open else {
            return;
        };
        for (id, word) in words {
            if open.heard.contains(&(id.clone(), word)) {
                self.awaited += 1;
                continue;
            }
            open.missing.push(Missing {
                id,
                word,
                lists: 0,
                due: None,
            });
        }
    }
}

/// How sandboxes are by this list, and the events that tell what is different from before; the first
/// list tells no difference.
fn changes(
    before: Option<&BTreeMap<String, Known>>,
    listed: &Listed,
    stopped: &BTreeSet<String>,
) -> (BTreeMap<String, Known>, Vec<(String, ContainerEventType)>) {
    let mut gone = before.cloned().unwrap_or_default();
    let (mut now, mut words) = (BTreeMap::new(), Vec::new());
    for sandbox in listed.values().flatten() {
        let id = sandbox.id.clone();
        let (state, told): (_, &[_]) = match gone.remove(&id) {
            // Whether it was ever ready, lists do not say: of a start that failed they show what owes.
            None if !is_ready(sandbox) => (Known::Down, &[ContainerCreatedEvent]),
            None => (Known::Up, &[ContainerCreatedEvent, ContainerStartedEvent]),
            // It is not ready as soon as it is to stop, and stopped a while later.
            Some(Known::Up) if !is_ready(sandbox) && stopped.contains(&id) => {
                (Known::Down, &[ContainerStoppedEvent])
            }
            Some(state) => (state, &[]),
        };
        words.extend(told.iter().map(|word| (id.clone(), *word)));
        now.insert(id, state);
    }
    for (id, state) in gone {
        if state == Known::Up {
            words.push((id.clone(), ContainerStoppedEvent));
        }
        words.push((id, ContainerDeletedEvent));
    }
    if before.is_none() {
        words.clear();
    }
    (now, words)
}

/// An event without the pod's status is dropped by kubelet.
fn tells_of_its_pod(event: &v1::ContainerEventResponse) -> bool {
    let Some(status) = &event.pod_sandbox_status else {
        return false;
    };
    let Some(metadata) = &status.metadata else {
        return false;
    };
    let is_over = matches!(
        event.container_event_type(),
        ContainerStoppedEvent | ContainerDeletedEvent
    );
    let is_ready = status.state() == v1::PodSandboxState::SandboxReady;
    status.id == event.container_id
        && metadata.uid == uid_of(&metadata.name)
        && !(is_over && is_ready)
}

/// Nanoseconds since 1970.
pub(crate) fn wall_clock() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(now.unwrap_or_default().as_nanos()).unwrap_or(i64::MAX)
}
