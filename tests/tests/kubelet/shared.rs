//! What kubelet's loops share: the connection, what they know, and the judgement of an error.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_cri::v1::image_service_client::ImageServiceClient;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use podwalk_tests::cri::{Cri, is_of_transport};
use tokio::sync::watch;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use crate::events::Told;
use crate::node::Connects;
use crate::plugin::{self, Unsteady};
use crate::pods::{Listed, Memory};

/// Kubelet's deadline of a call (its `--runtime-request-timeout`). RunPodSandbox has twice that, and
/// the stream of events has none.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// A request with that deadline.
pub(crate) fn bounded<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}

/// A list, and when it was asked for.
#[derive(Clone)]
pub(crate) struct Relist {
    pub(crate) number: u64,
    pub(crate) asked: Instant,
    pub(crate) listed: Arc<Listed>,
    /// Which daemon is known to have been there then, the first one being 0.
    pub(crate) daemon: u64,
}

pub(crate) struct Shared {
    pub(crate) client: RuntimeServiceClient<Channel>,
    pub(crate) images: ImageServiceClient<Channel>,
    pub(crate) relisted: watch::Sender<Relist>,
    /// The names of pods that are wanted.
    pub(crate) wanted: watch::Sender<BTreeSet<String>>,
    pub(crate) seed: u64,
    pub(crate) plugin: Unsteady,
    memory: Mutex<Memory>,
    told: Mutex<Told>,
    connects: Mutex<Connects>,
    life: Mutex<Life>,
}

/// What is asked, so far as it decides which errors may come.
pub(crate) enum Call<'a> {
    Run(&'a str, u32),
    Stop(&'a str),
    Remove(&'a str),
    Status(&'a str),
    Events,
    /// What never fails while there is a daemon.
    Plain(&'static str),
}

impl fmt::Display for Call<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(name, attempt) => write!(out, "RunPodSandbox of {name}, attempt {attempt}"),
            Self::Stop(id) => write!(out, "StopPodSandbox of {id}"),
            Self::Remove(id) => write!(out, "RemovePodSandbox of {id}"),
            Self::Status(id) => write!(out, "PodSandboxStatus of {id}"),
            Self::Events => write!(out, "GetContainerEvents"),
            Self::Plain(name) => write!(out, "{name}"),
        }
    }
}

/// Whether there is a daemon, by who kills it and by who has heard of it.
#[derive(Debug, Default)]
struct Life {
    kills: u64,
    restarts: u64,
    /// The restarts of the daemon that has last answered.
    answered: u64,
}

/// The beginning of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun {
    kills: u64,
    /// The daemon of the time had answered, so that no older connection can be meant.
    connected: bool,
    /// Who had been started last.
    pub(crate) daemon: u64,
}

impl Shared {
    pub(crate) fn new(cri: &Cri, seed: u64, plugin: Unsteady) -> Self {
        let nothing = Relist {
            number: 0,
            asked: Instant::now(),
            listed: Arc::default(),
            daemon: 0,
        };
        Self {
            client: cri.client(),
            images: ImageServiceClient::new(cri.channel()),
            relisted: watch::Sender::new(nothing),
            wanted: watch::Sender::default(),
            seed,
            plugin,
            memory: Mutex::default(),
            told: Mutex::default(),
            connects: Mutex::default(),
            life: Mutex::default(),
        }
    }

    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        locked(&self.memory)
    }

    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        locked(&self.told)
    }

    pub(crate) fn connects(&self) -> MutexGuard<'_, Connects> {
        locked(&self.connects)
    }

    pub(crate) fn accuse(&self, what: String) {
        self.memory().broken.push(what);
    }

    /// The daemon is about to be killed.
    pub(crate) fn note_kill(&self) {
        locked(&self.life).kills += 1;
    }

    /// There is another daemon.
    pub(crate) fn note_restart(&self) {
        locked(&self.life).restarts += 1;
    }

    /// A call that began so was answered.
    pub(crate) fn note_answer(&self, begun: Begun) {
        let mut life = locked(&self.life);
        life.answered = life.answered.max(begun.daemon);
    }

    /// Which daemon there is.
    pub(crate) fn daemon(&self) -> u64 {
        locked(&self.life).restarts
    }

    pub(crate) fn begin(&self) -> Begun {
        let life = locked(&self.life);
        Begun {
            kills: life.kills,
            connected: life.answered == life.kills,
            daemon: life.restarts,
        }
    }

    /// Makes a call, and accuses the daemon of an error that it may not answer with.
    pub(crate) async fn call<T>(
        &self,
        call: Call<'_>,
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Status> {
        let begun = self.begin();
        match answer.await {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) => {
                self.judge(begun, &call, &status);
                Err(status)
            }
        }
    }

    /// Accuses the daemon of an error that it may not answer with (docs/cri.md has the codes), and of
    /// a connection that broke although nobody had killed it.
    pub(crate) fn judge(&self, begun: Begun, call: &Call<'_>, status: &Status) {
        let broke = is_of_transport(status);
        let excused = match broke {
            true => !begun.connected || locked(&self.life).kills != begun.kills,
            false => self.may_answer(call, status),
        };
        let text = format!("{call}: {:?}: {:?}", status.code(), status.message());
        match (excused, broke) {
            (false, _) => self.accuse(text),
            (true, false) => self.memory().excused.push(text),
            (true, true) => {}
        }
    }

    fn may_answer(&self, call: &Call<'_>, status: &Status) -> bool {
        match (call, status.code()) {
            (Call::Run(..), Code::Internal) => status.message().contains(plugin::WORDS),
            // A start was interrupted by so many deaths that it was undone.
            (Call::Run(..), Code::Unavailable) => true,
            // Something is owed.
            (Call::Stop(_) | Call::Remove(_), Code::Unavailable) => true,
            // Who fell behind lists anew.
            (Call::Events, Code::Unavailable | Code::Aborted) => true,
            (Call::Status(id), Code::NotFound) => self.memory().removed.contains(*id),
            _ => false,
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
